//! `--grant`: what a plugin may touch, as the command line says it, and back.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use miette::miette;
use toml::Table;

use crate::{
    error::Error,
    model::{FsGrant, FsMode, Grants, Limits, NetGrant, is_secret_name},
    output,
    plugin::{Access, Network, Secrets},
    run, scenario,
};

/// How a grant is written.
const FORMS: &str = "a grant is `net=https://api.example.com`, `secret=API_KEY`, `fs=fixtures:/fixtures`, \
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

/// Finds what is granted. `scratch` is where a call's own files may be made.
pub(super) fn access(
    grants: &Grants,
    secrets: BTreeMap<String, String>,
    scratch: &Path,
) -> Result<Access, Error> {
    let mounts = run::mounts(grants, Path::new(""));
    Ok(Access {
        net: Network::new(grants.net.clone()),
        secrets: Arc::new(Secrets::new(secrets)),
        mounts: mounts.map_err(|reason| Error::usage(miette!("{reason}")))?,
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

/// The flags that grant what a line of a scenario's `grants` does, such as `secrets = ["API_KEY"]`.
pub(super) fn flags(line: &str) -> Vec<String> {
    let Ok(table) = line.parse::<Table>() else {
        return Vec::new();
    };
    let mut flags = Vec::new();
    for (key, value) in &table {
        let elements = value.as_array().into_iter().flatten();
        match key.as_str() {
            "net" => flags.extend(words(value, "net")),
            "secrets" => flags.extend(words(value, "secret")),
            "fs" => flags.extend(elements.filter_map(folder_flag)),
            "env" => {
                let variables = value.as_table().into_iter().flatten();
                flags.extend(
                    variables.filter_map(|(name, value)| {
                        Some(format!("env={name}={}", value.as_str()?))
                    }),
                );
            }
            _ => {}
        }
    }
    flags
}

/// A flag for each text of an array.
fn words(array: &toml::Value, kind: &str) -> Vec<String> {
    let words = array.as_array().into_iter().flatten();
    let words = words.filter_map(toml::Value::as_str);
    words.map(|word| format!("{kind}={word}")).collect()
}

fn folder_flag(folder: &toml::Value) -> Option<String> {
    let text = |key| folder.get(key)?.as_str();
    let mode = match text("mode") {
        Some("rw") => FsMode::ReadWrite,
        _ => FsMode::ReadOnly,
    };
    Some(fs_flag(text("path")?, text("mount")?, mode))
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
    use super::{flags, read};
    use crate::model::Limits;

    #[test]
    fn a_denied_call_names_the_flag_that_grants_it() {
        for (line, flag) in [
            (r#"secrets = ["API_KEY"]"#, "secret=API_KEY"),
            (
                r#"net = ["https://api.example.com:8443"]"#,
                "net=https://api.example.com:8443",
            ),
            (r#"env = { LANG = "C" }"#, "env=LANG=C"),
            (r#"fs = [{ path = "/", mount = "/data" }]"#, "fs=/:/data"),
            (
                r#"fs = [{ path = "/", mount = "/data", mode = "rw" }]"#,
                "fs=/:/data:rw",
            ),
        ] {
            assert_eq!(flags(line), [flag]);
            let limits = Limits {
                scratch: 1,
                ..Limits::default()
            };
            read(&[flag.to_owned()], &limits).unwrap();
        }
        assert_eq!(flags("no TOML"), [""; 0]);
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in [
            "",
            "net",
            "net=example.com",
            "secret=a-b",
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
