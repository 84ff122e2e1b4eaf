//! `--grant`: what a plugin may touch, as the command line says it, and back.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use miette::miette;
use serde_json::{Map, Value};
use toml::Table;

use crate::{
    error::Error,
    model::{FsGrant, FsMode, Grants, Limits, NetGrant, is_secret_name},
    plugin::{Access, Mount, Network, Secrets},
    run::{self, Protected},
    scenario::{self, Template},
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
    Ok(grants)
}

/// Finds what is granted, and refuses folders that let the plugin get at what is `protected`. `scratch` is where a
/// call's own files may be made.
pub(super) fn access(
    grants: &Grants,
    secrets: &BTreeMap<String, String>,
    scratch: &Path,
    protected: &[Protected],
) -> Result<Access, Error> {
    let mounts = grants.fs.iter().map(|grant| {
        Mount::find(
            grant.path.as_ref(),
            &grant.mount,
            grant.mode == FsMode::ReadWrite,
        )
        .map_err(|error| Error::usage(miette!("a granted folder: {error}")))
    });
    let mounts = mounts.collect::<Result<Vec<_>, Error>>()?;
    for mount in &mounts {
        run::check_folder(mount, &mounts, protected).map_err(Error::usage)?;
    }
    Ok(Access {
        net: Network::new(grants.net.clone()),
        secrets: Arc::new(Secrets::new(secrets.clone())),
        mounts,
        scratch_root: scratch.into(),
    })
}

/// Fills in the environment variables.
pub(super) fn environment(
    grants: &Grants,
    input: &Value,
    config: &Value,
    secrets: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, Error> {
    let secrets = secrets.iter();
    let secrets = secrets.map(|(name, value)| (name.clone(), Value::from(value.clone())));
    let secrets = Value::from(secrets.collect::<Map<_, _>>());
    let roots = [("input", input), ("config", config), ("secret", &secrets)];
    let variables = grants.env.iter().map(|(name, text)| {
        let value = render(text, &roots).map_err(|reason| {
            Error::usage(miette!(
                "`--grant env={name}={text}` has no value: {reason}"
            ))
        })?;
        Ok((name.clone(), value))
    });
    variables.collect()
}

/// The names of all secrets that are granted: those to be asked for, and those in environment variables.
pub(super) fn secret_names(grants: &Grants) -> BTreeSet<String> {
    let templates = grants.env.iter();
    let templates = templates.filter_map(|(_, text)| Template::parse(text).ok());
    let in_variables = templates.flat_map(|template| {
        let keys = template.keys_of("secret");
        keys.flatten().cloned().collect::<Vec<_>>()
    });
    grants.secrets.iter().cloned().chain(in_variables).collect()
}

/// Fills in a template.
pub(super) fn render(text: &str, roots: &[(&str, &Value)]) -> Result<String, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let names: Vec<_> = roots.iter().map(|(name, _)| *name).collect();
    template
        .check_roots(&names)
        .map_err(|error| error.to_string())?;
    template
        .render_text(roots)
        .map_err(|missing| missing.to_string())
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
    let mode = if text("mode") == Some("rw") {
        ":rw"
    } else {
        ""
    };
    Some(format!("fs={}:{}{mode}", text("path")?, text("mount")?))
}

fn add(grants: &mut Grants, text: &str, limits: &Limits) -> Result<(), String> {
    let (kind, what) = text.split_once('=').ok_or("it has no `=`")?;
    match kind {
        "net" => grants.net.push(NetGrant::parse(what)?),
        "secret" if is_secret_name(what) => grants.secrets.push(what.into()),
        "secret" => return Err("secrets are named with letters, digits and `_`".into()),
        "fs" => grants.fs.push(folder(what, limits)?),
        "env" => {
            let (name, value) = what.split_once('=').ok_or("its variable has no value")?;
            if let Some(error) = scenario::variable_error(name) {
                return Err(error);
            }
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
            "root=/",
        ] {
            let error = read(&[text.to_owned()], &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("is not understood"), "{text}");
        }
    }
}
