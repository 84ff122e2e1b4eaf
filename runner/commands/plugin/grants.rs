//! `--grant`: what a plugin may touch, as the command line says it, and back.

use std::{path::Path, sync::Arc};

use miette::miette;

use crate::{
    error::Error,
    model::{BoundSecret, FsGrant, FsMode, Grants, Limits, NetGrant, is_secret_name},
    output,
    plugin::{Access, Network, Secrets},
    run::{self, Protected},
    scenario::{self, Template},
};

/// How a grant is written.
const FORMS: &str = "a grant is `net=https://api.example.com`, `secret=API_KEY`, \
                     `secret=API_KEY,host=api.example.com,header=authorization`, `fs=fixtures:/fixtures`, \
                     `fs=work:/work:rw` or `env=LANG=C.UTF-8`";

/// Reads what the command line grants; `limits` are those of the call.
pub(super) fn read(texts: &[String], limits: &Limits) -> Result<Grants, Error> {
    let mut grants = Grants::default();
    for text in texts {
        add(&mut grants, text, limits).map_err(|reason| {
            Error::usage(miette!(
                help = FORMS,
                "`--grant {text}` is not understood: {reason}"
            ))
        })?;
    }
    grants.env.sort();
    Ok(grants)
}

/// Finds what is granted, and refuses folders that let the plugin get at what is `protected`. `scratch` is where a
/// call's own files may be made.
pub(super) fn access(
    grants: &Grants,
    secrets: Secrets,
    scratch: &Path,
    protected: &[Protected],
) -> Result<Access, Error> {
    let mounts = run::mounts(grants, Path::new(""));
    let mounts = mounts.map_err(|reason| Error::usage(miette!("{reason}")))?;
    let granted: Vec<_> = mounts.iter().collect();
    let mut refused = run::check_folders(&granted, protected)
        .into_iter()
        .flatten();
    if let Some(error) = refused.next() {
        return Err(Error::usage(error));
    }
    Ok(Access {
        net: Network::new(grants.net.clone()),
        secrets: Arc::new(secrets),
        mounts,
        scratch_root: scratch.into(),
    })
}

/// What `--grant` has to say for `wanted` where `granted` is not enough, and `--limit` with it.
pub(super) fn missing_flags(granted: &Grants, wanted: &Grants, limits: &Limits) -> Vec<String> {
    let net = wanted.net.iter().filter(|net| !granted.net.contains(net));
    let secrets = wanted.secrets.iter();
    let secrets = secrets.filter(|name| !granted.secrets.contains(name));
    let folders: Vec<_> = wanted
        .fs
        .iter()
        .filter(|folder| !granted.fs.contains(folder))
        .collect();
    let grants = net
        .map(|net| format!("net={net}"))
        .chain(secrets.map(|name| format!("secret={name}")))
        .chain(
            folders
                .iter()
                .map(|folder| fs_flag(&folder.path, &folder.mount, folder.mode)),
        );
    let mut flags: Vec<_> = grants
        .map(|grant| format!("--grant {}", output::quoted(&grant)))
        .collect();
    let writes = folders
        .iter()
        .any(|folder| folder.mode == FsMode::ReadWrite);
    if writes && limits.scratch == 0 {
        flags.push("--limit scratch=16MiB".to_owned());
    }
    flags
}

/// Tells whether a template has a path that begins with `root`.
pub(super) fn uses(text: &str, root: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.keys_of(root).next().is_some())
}

fn fs_flag(path: &str, mount: &str, mode: FsMode) -> String {
    let mode = match mode {
        FsMode::ReadOnly => "",
        FsMode::ReadWrite => ":rw",
    };
    format!("fs={path}:{mount}{mode}")
}

fn add(grants: &mut Grants, text: &str, limits: &Limits) -> Result<(), String> {
    let (kind, what) = text.split_once('=').ok_or("it has no `=`")?;
    match kind {
        "net" => grants.net.push(NetGrant::parse(what)?),
        "secret" if what.contains(',') => {
            let bound = BoundSecret::of_flag(what).ok_or("it binds nothing")??;
            grants.bound_secrets.push(bound);
        }
        "secret" if is_secret_name(what) => grants.secrets.push(what.into()),
        "secret" => return Err("secrets are named with letters, digits and `_`".into()),
        "fs" => {
            let folder = folder(what, limits)?;
            if grants.fs.iter().any(|known| known.mount == folder.mount) {
                return Err(format!("two folders are mounted at `{}`", folder.mount));
            }
            grants.fs.push(folder);
        }
        "env" => {
            let (name, value) = what.split_once('=').ok_or("its variable has no value")?;
            if let Some(error) = scenario::variable_error(name) {
                return Err(error);
            }
            if grants.env.iter().any(|(known, _)| known == name) {
                return Err(format!("the variable `{name}` has a value already"));
            }
            scenario::check_variable(value)?;
            grants.env.push((name.into(), value.into()));
        }
        _ => return Err(format!("there is no grant `{kind}`")),
    }
    Ok(())
}

fn folder(text: &str, limits: &Limits) -> Result<FsGrant, String> {
    let (text, mode) = match text.strip_suffix(":rw") {
        Some(text) => (text, FsMode::ReadWrite),
        None => (text.strip_suffix(":ro").unwrap_or(text), FsMode::ReadOnly),
    };
    let (path, mount) = text
        .rsplit_once(':')
        .ok_or("its folder has no place in the guest")?;
    scenario::check_mount(mount).map_err(|reason| format!("`{mount}` {reason}"))?;
    if !Path::new(path).is_dir() {
        return Err(format!("there is no folder `{path}`"));
    }
    if mode == FsMode::ReadWrite && limits.scratch == 0 {
        return Err("a writable folder needs `--limit scratch=16MiB`".into());
    }
    Ok(FsGrant {
        path: path.into(),
        mount: mount.into(),
        mode,
    })
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::model::Limits;

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in [
            "",
            "net",
            "net=example.com",
            "secret=a-b",
            "secret=A,host=a.example",
            "secret=A,host=/,header=x",
            "fs=/",
            "fs=/:data",
            "fs=/nowhere:/data",
            "fs=/:/data:rw",
            "env=LANG",
            "env==x",
            "env=A={{x.y}}",
            "env=A={{secret.a-b}}",
            "env=A={{",
            "root=/",
        ] {
            let error = read(&[text.to_owned()], &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("is not understood"), "{text}");
        }
        for twice in [["fs=/:/data", "fs=/tmp:/data"], ["env=A=1", "env=A=2"]] {
            read(&twice.map(str::to_owned), &Limits::default()).unwrap_err();
        }
    }
}
