//! `--grant`: what a plugin may touch, as the command line says it.

use std::path::Path;

use miette::miette;

use crate::{
    error::Error,
    model::{BoundSecret, FsGrant, FsMode, Grants, Limits, NetGrant, is_secret_name},
    scenario,
};

/// How a grant is written.
const FORMS: &str = "a grant is `net=https://api.example.com`, `secret=API_KEY`, \
                     `secret=API_KEY,host=api.example.com,header=authorization`, `fs=fixtures:/fixtures`, \
                     `fs=work:/work:rw` or `env=LANG=C.UTF-8`";

/// Reads what the command line grants; `limits` are those of the call.
///
/// # Errors
///
/// Fails with the first text that is not a grant.
pub fn parse_grants(texts: &[String], limits: &Limits) -> Result<Grants, Error> {
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
    use super::parse_grants;
    use crate::model::Limits;

    #[test]
    fn what_is_not_a_grant_is_refused() {
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
            let error = parse_grants(&[text.to_owned()], &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("is not understood"), "{text}");
        }
        for twice in [["fs=/:/data", "fs=/tmp:/data"], ["env=A=1", "env=A=2"]] {
            parse_grants(&twice.map(str::to_owned), &Limits::default()).unwrap_err();
        }
    }
}
