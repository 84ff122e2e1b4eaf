//! `--grant`: what a plugin may touch, as the command line says it.

use std::path::Path;

use runner_model::{
    Grants, Limits, NetGrant,
    grants::{BoundSecret, FsGrant, FsMode, is_secret_name},
    template::Template,
};

use crate::text::CommandError;

/// How a grant is written.
const FORMS: &str = "a grant is `net=https://api.example.com`, `secret=API_KEY`, `secret=API_KEY,host=api.example.com,header=authorization`, `fs=fixtures:/fixtures`, `fs=work:/work:rw` or `env=LANG=C.UTF-8`";

/// Reads what the command line grants; `limits` are those of the call.
pub fn parse(texts: &[String], limits: &Limits) -> Result<Grants, CommandError> {
    let mut grants = Grants::default();
    for text in texts {
        add(&mut grants, text, limits).map_err(|reason| {
            CommandError::usage(format!("`--grant {text}` is not understood: {reason}\n{FORMS}"))
        })?;
    }
    grants.env.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(grants)
}

fn add(grants: &mut Grants, text: &str, limits: &Limits) -> Result<(), String> {
    let (kind, what) = text.split_once('=').ok_or("it has no `=`")?;
    match kind {
        "net" => grants.net.push(NetGrant::parse(what)?),
        "secret" => match BoundSecret::of_flag(what) {
            Some(bound) => grants.bound_secrets.push(bound?),
            None if is_secret_name(what) => grants.secrets.push(what.into()),
            None => return Err("secrets are named with letters, digits and `_`".into()),
        },
        "fs" => {
            let folder = folder(what, limits)?;
            if grants.fs.iter().any(|known| known.mount == folder.mount) {
                return Err(format!("two folders are mounted at `{}`", folder.mount));
            }
            grants.fs.push(folder);
        }
        "env" => {
            let (name, value) = what.split_once('=').ok_or("its variable has no value")?;
            if name.is_empty() || name.contains('\0') {
                return Err("its variable has no name".into());
            }
            if grants.env.iter().any(|(known, _)| known == name) {
                return Err(format!("the variable `{name}` has a value already"));
            }
            let value = Template::parse(value).map_err(|error| error.to_string())?;
            value.check_roots(&["input", "config", "secret"]).map_err(|error| error.to_string())?;
            grants.env.push((name.into(), value));
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
    let (path, mount) = text.rsplit_once(':').ok_or("its folder has no place in the guest")?;
    if !mount.starts_with('/') {
        return Err(format!("`{mount}` is not an absolute path"));
    }
    if !Path::new(path).is_dir() {
        return Err(format!("there is no folder `{path}`"));
    }
    if mode == FsMode::ReadWrite && limits.scratch == 0 {
        return Err("a writable folder needs `--limit scratch=16MiB`".into());
    }
    Ok(FsGrant { path: path.into(), mount: mount.into(), mode })
}

/// Reads `--limit KEY=VALUE`.
pub fn limits(texts: &[String]) -> Result<Limits, CommandError> {
    let mut limits = Limits::default();
    for text in texts {
        limits.set(text).map_err(|reason| {
            CommandError::usage(format!("`--limit {text}` is not understood: {reason}"))
        })?;
    }
    Ok(limits)
}
