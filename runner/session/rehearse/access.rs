//! What a rehearsed plugin may touch: secrets with their values, folders that are checked, a network.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use miette::miette;

use super::request::Rehearse;
use crate::{
    error::Error,
    plugin::{Access, Kind, Network},
    run::{self, Protected},
    session::{Host, Observe, protected, secrets},
};

/// Finds what is granted, and refuses folders that let the plugin get at what the runner reads and writes; `plugin` is the
/// file that was found for it.
pub(super) fn access(
    request: &Rehearse,
    plugin: &Path,
    kind: Kind,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<Access, Error> {
    let values = secret_values(request, host, observe)?;
    let secrets = run::secrets(&request.grants, kind, &values);
    let mounts = run::mounts(&request.grants, Path::new(""));
    let mounts = mounts.map_err(|reason| Error::usage(miette!("{reason}")))?;
    let granted: Vec<_> = mounts.iter().collect();
    let mut refused = run::check_folders(&granted, &protected(request, plugin, host))
        .into_iter()
        .flatten();
    if let Some(error) = refused.next() {
        return Err(Error::usage(error));
    }
    Ok(Access {
        net: Network::new(request.grants.net.clone()),
        secrets: Arc::new(secrets),
        mounts,
        scratch_root: host.scratch_root.clone(),
    })
}

/// Reads the values of the secrets that are granted, all of which must have one.
fn secret_values(
    request: &Rehearse,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<BTreeMap<String, String>, Error> {
    let names = run::secret_names(&request.grants);
    let values = secrets::read(&names, &request.secret_files, host.variable, observe)?;
    let missing = names.iter().filter(|name| !values.contains_key(*name));
    let missing: Vec<_> = missing.map(|name| (name.as_str(), String::new())).collect();
    if missing.is_empty() {
        Ok(values)
    } else {
        Err(secrets::no_value(&missing))
    }
}

/// What the plugin may not write to because this process reads or writes it. The list is made of the whole request, field
/// by field: whoever adds a field is asked by the compiler whether it names something that belongs here.
fn protected(request: &Rehearse, plugin: &Path, host: &Host) -> Vec<Protected> {
    let Rehearse {
        plugin: named,
        attachments,
        secret_files,
        artifacts,
        results,
        read,
        input: _,
        config: _,
        seed: _,
        timeout: _,
        repeat: _,
        protocol: _,
        stdin: _,
        output: _,
        args: _,
        grants: _,
        limits: _,
        fuel: _,
        grading: _,
    } = request;
    let mut kept = Vec::new();
    if named.is_dir() {
        let folders = crate::toolchain::folders(named);
        let folders = folders.iter();
        kept.extend(folders.map(|folder| Protected::folder("the source of the plugin", folder)));
    } else {
        kept.push(Protected::file("the plugin", named));
    }
    // One that was built is in another place than the request says.
    kept.push(Protected::file("the plugin", plugin));
    kept.extend(read.iter().cloned());
    let attachments = attachments.iter();
    kept.extend(attachments.map(|file| Protected::file("an attachment", &file.path)));
    let artifacts = artifacts.iter();
    kept.extend(artifacts.map(|folder| Protected::folder("the folder of its artifacts", folder)));
    kept.extend(protected::of_root(results, host));
    kept.extend(protected::of_secrets(secret_files));
    kept.extend(protected::of_process(host));
    kept
}
