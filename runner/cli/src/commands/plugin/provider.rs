//! A provider outside a scenario: a plugin with the grants and limits of the command line.

use std::path::Path;

use runner_model::grants::{BoundSecret, FsGrant, FsMode, is_secret_name};
use runner_model::provider::{ENV_ROOTS, Provider};
use runner_model::{Grants, Limits, NetGrant, ProviderName, template::Template};
use runner_prepare::source::{Source, is_folder};
use serde_json::json;

use crate::text::{CommandError, mistake};

const FORMS: &str = "a grant is `net=https://api.example.com`, `secret=API_KEY`, `secret=API_KEY,host=api.example.com,header=authorization`, `fs=fixtures:/fixtures`, `fs=work:/work:rw` or `env=LANG=C.UTF-8`";

/// Returns a provider of a plugin, named after its `plugin.toml` or its file, without grants.
pub fn provider(file: &str) -> Result<Provider, CommandError> {
    let path = Path::new(file.strip_prefix("bundled:").unwrap_or(file));
    let name = if is_folder(file, Path::new(".")) {
        // Reading the plugin reports an invalid `plugin.toml`.
        Source::open(path).map(|source| source.name().to_owned()).unwrap_or_default()
    } else {
        path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    };
    let name = ProviderName::parse(&name).map_or("plugin", |_| &name);
    let provider = json!({"name": name, "plugin": file, "config": {}, "limits": Limits::default()});
    serde_json::from_value(provider).map_err(CommandError::usage)
}

/// Parses all `--grant`s. `limits` are those of the call: a writable folder needs `scratch`.
pub fn grants(texts: &[String], limits: &Limits) -> Result<Grants, CommandError> {
    let mut grants = Grants::default();
    for text in texts {
        add(&mut grants, text, limits)
            .map_err(|reason| mistake!("invalid `--grant {text}`: {reason}\n{FORMS}"))?;
    }
    grants.env.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(grants)
}

fn add(grants: &mut Grants, text: &str, limits: &Limits) -> Result<(), String> {
    let (kind, value) = text.split_once('=').ok_or("it has no `=`")?;
    match kind {
        "net" => grants.net.push(NetGrant::parse(value)?),
        "secret" => match BoundSecret::of_flag(value) {
            Some(bound) => grants.bound_secrets.push(bound?),
            None if is_secret_name(value) => grants.secrets.push(value.into()),
            None => return Err("the name of a secret has letters, digits and `_`".into()),
        },
        "fs" => {
            let folder = folder(value, limits)?;
            if grants.fs.iter().any(|known| known.mount == folder.mount) {
                return Err(format!("two folders are mounted at `{}`", folder.mount));
            }
            grants.fs.push(folder);
        }
        "env" => {
            let (name, value) = value.split_once('=').ok_or("the variable has no value")?;
            if name.is_empty() || name.contains('\0') {
                return Err("the variable has no name".into());
            }
            if grants.env.iter().any(|(known, _)| known == name) {
                return Err(format!("the variable `{name}` is set twice"));
            }
            let value = Template::parse(value).map_err(|error| error.to_string())?;
            value.check_roots(ENV_ROOTS).map_err(|error| error.to_string())?;
            grants.env.push((name.into(), value));
        }
        _ => return Err(format!("unknown grant `{kind}`")),
    }
    Ok(())
}

fn folder(text: &str, limits: &Limits) -> Result<FsGrant, String> {
    let (text, mode) = match text.strip_suffix(":rw") {
        Some(text) => (text, FsMode::ReadWrite),
        None => (text.strip_suffix(":ro").unwrap_or(text), FsMode::ReadOnly),
    };
    let (path, mount) = text.rsplit_once(':').ok_or("the folder has no mount: write PATH:MOUNT")?;
    if !mount.starts_with('/') {
        return Err(format!("`{mount}` is not an absolute path"));
    }
    if !Path::new(path).is_dir() {
        return Err(format!("the folder `{path}` does not exist"));
    }
    if mode == FsMode::ReadWrite && limits.scratch == 0 {
        return Err("a writable folder needs `--limit scratch=16MiB`".into());
    }
    Ok(FsGrant { path: path.into(), mount: mount.into(), mode })
}

/// Parses all `--limit`s.
pub fn limits(texts: &[String]) -> Result<Limits, CommandError> {
    let mut limits = Limits::default();
    for text in texts {
        limits.set(text).map_err(|reason| mistake!("invalid `--limit {text}`: {reason}"))?;
    }
    Ok(limits)
}
