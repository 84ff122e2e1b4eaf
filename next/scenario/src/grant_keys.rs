//! The keys of grants, and what contradicts itself in them.

use std::{fs::Metadata, path::Path};

use runner_model::{
    Grants, NetGrant,
    grants::{BoundSecret, FsGrant, FsMode, is_secret_name},
    template::Template,
};
use serde_json::{Map, Value};

use crate::{
    check::size,
    files::NamedFile,
    form::{Either, List, Named, StringOr, Sub, Templated},
    reading::{At, ENV_ROOTS, Reading, dotted},
    scalar::{Text, Word},
    table::Table,
};

pub(crate) const GRANTS: Sub<Grants> = Sub("`grants` of a provider", grants);
const FS: Sub<FsGrant> = Sub("`fs` of its grants", folder);
const BOUND: Sub<BoundSecret> = Sub("a table in `secrets` of its grants", bound);
const SECRET_OR_BOUND: StringOr<Text<String>, Sub<BoundSecret>> =
    StringOr { string: SECRET, table: BOUND, words: "a string or a table" };
const MODE: Word<FsMode> =
    Word(|| FsMode::ALL.iter().map(|mode| mode.as_str()).collect(), FsMode::parse);

const NET: Text<NetGrant> = Text {
    words: "a scheme, a host and perhaps a port",
    example: ", such as \"https://api.example.com\"",
    schema: r#"{"type": "string", "pattern": "^https?://[^/?#@]+/?$", "examples": ["https://api.example.com", "https://*.example.com", "http://127.0.0.1:8080"]}"#,
    parse: |text| NetGrant::parse(text).map_err(|reason| format!("in `{text}`, {reason}")),
};

const SECRET: Text<String> = Text {
    words: "the name of a secret",
    example: " such as \"API_KEY\"",
    schema: r#"{"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}"#,
    parse: |text| match is_secret_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` has other characters than letters, digits and `_`, or begins with a digit"
        )),
    },
};

const HOST: Text<NetGrant> = Text {
    words: "a host, perhaps with a scheme and a port",
    example: ", such as \"api.example.com\"",
    schema: r#"{"title": "such as `\"api.example.com\"`", "type": "string", "examples": ["api.example.com", "http://127.0.0.1:8080"]}"#,
    parse: |text| BoundSecret::parse_host(text).map_err(|reason| format!("in `{text}`, {reason}")),
};

const HEADER: Text<String> = Text {
    words: "the name of a header",
    example: " such as \"authorization\"",
    schema: r#"{"title": "such as `\"authorization\"`", "type": "string", "examples": ["authorization", "x-api-key"]}"#,
    parse: |text| match BoundSecret::is_header(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("`{text}` has characters that no header has")),
    },
};

const MOUNT: Text<String> = Text {
    words: "an absolute path",
    example: " such as \"/fixtures\"",
    schema: r#"{"title": "such as `\"/fixtures\"`", "type": "string", "pattern": "^/", "examples": ["/fixtures"]}"#,
    parse: |text| match mount_error(text) {
        None => Ok(text.to_owned()),
        Some(reason) => Err(format!("`{text}` {reason}")),
    },
};

const ENV: Named<Templated> = Named {
    form: Templated(ENV_ROOTS),
    words: "a table",
    refuse: |name| {
        let is_bad = name.is_empty() || name.contains(['=', '\0']);
        is_bad.then(|| "environment variables have names without `=` and NUL".to_owned())
    },
    pattern: "^[^=]+$",
    count: (0, usize::MAX),
};

/// Only values of `env` are templates: a path or a host that a test's input could choose would be a grant that nobody wrote.
fn grants(table: &mut Table<'_, '_>) -> Option<Grants> {
    let net = table.or("net", &List(0, NET), "[]");
    let secrets = table.or("secrets", &List(0, SECRET_OR_BOUND), "[]");
    let mut grants = Grants {
        net,
        fs: table.or("fs", &List(0, FS), "[]"),
        env: table.or("env", &ENV, "{}"),
        ..Grants::default()
    };
    for secret in secrets {
        match secret {
            Either::String(name) => grants.secrets.push(name),
            Either::Table(bound) => grants.bound_secrets.push(bound),
        }
    }
    Some(grants)
}

fn bound(table: &mut Table<'_, '_>) -> Option<BoundSecret> {
    let name = table.required("name", &SECRET);
    let host = table.required("host", &HOST);
    let header = table.required("header", &HEADER);
    Some(BoundSecret { name: name?, host: host?, header: header? })
}

fn folder(table: &mut Table<'_, '_>) -> Option<FsGrant> {
    let path = table.required("path", &NamedFile("folder", Metadata::is_dir));
    let mount = table.required("mount", &MOUNT);
    let mode = table.or("mode", &MODE, r#""ro""#);
    Some(FsGrant { path: path?, mount: mount?, mode })
}

/// Why a text is no place for a folder in a guest's file system; the rest of a sentence that begins with it.
fn mount_error(text: &str) -> Option<String> {
    /// Where an attempt's own files are.
    const TAKEN: [&str; 3] = ["/scratch", "/files", "/artifacts"];
    let Some(path) = text.strip_prefix('/') else {
        return Some("does not begin with `/`".to_owned());
    };
    // The root itself, where most programs look. What is mounted below it is found first.
    if path.is_empty() {
        return None;
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    if text.contains('\0') || !path.split('/').all(is_plain) {
        return Some("has a part that is empty, `.` or `..`".to_owned());
    }
    let taken = TAKEN.iter().find(|taken| Path::new(text).starts_with(taken))?;
    Some(match text == *taken {
        true => "is the attempt's own".to_owned(),
        false => format!("is inside `{taken}`, which is the attempt's own"),
    })
}

/// Says of a template which of its places want a secret without naming one.
pub(crate) fn unnamed_secrets(template: &Template) -> impl Iterator<Item = String> {
    let wanted = template.keys_of("secret");
    let unnamed = wanted.filter(|keys| !matches!(keys, [name] if is_secret_name(name)));
    unnamed.map(|keys| {
        let path = dotted("secret", keys);
        format!("`{{{{{path}}}}}` names no secret, as `{{{{secret.API_KEY}}}}` does")
    })
}

/// Reports what of a provider's grants contradicts the rest of it.
pub(crate) fn check(provider: &Value, at: &At<'_>, reading: &mut Reading<'_>) {
    let Some(grants) = provider.get("grants").and_then(Value::as_object) else {
        return;
    };
    let at = at.key("grants");
    check_secrets(grants, &at, reading);
    if provider.get("reuse").is_some() {
        check_reuse(grants, &at, reading);
    }
    let scratch = provider.pointer("/limits/scratch");
    let is_limited = scratch.is_some() && size(scratch) != Some(0);
    let at = at.key("fs");
    let mut mounts = Vec::new();
    let folders = grants.get("fs").and_then(Value::as_array);
    for (index, grant) in folders.into_iter().flatten().enumerate() {
        let at = at.index(index);
        if let Some(mount) = text(grant, "mount") {
            if mounts.contains(&mount) {
                let message = format!("two folders are mounted at `{mount}`");
                reading.refuse(&at.key("mount"), message, "used already");
            }
            mounts.push(mount);
        }
        if text(grant, "mode") == Some(FsMode::ReadWrite.as_str()) && !is_limited {
            let message = "`rw` needs a limit of what may be written, and there is none";
            let problem = reading.refuse(&at.key("mode"), message, "writable");
            problem.help = Some("add `scratch = \"16MiB\"` to the provider's `limits`".to_owned());
        }
    }
}

fn text<'v>(table: &'v Value, key: &str) -> Option<&'v str> {
    table.get(key)?.as_str()
}

/// The variables that are templates.
fn variables(grants: &Map<String, Value>) -> impl Iterator<Item = (&String, Template)> {
    let variables = grants.get("env").and_then(Value::as_object);
    let template = |value: &Value| Template::parse(value.as_str()?).ok();
    variables.into_iter().flatten().filter_map(move |(name, value)| Some((name, template(value)?)))
}

/// Refuses to bind a secret that the provider has anyway: then nothing would keep it from sending it elsewhere.
fn check_secrets(grants: &Map<String, Value>, at: &At<'_>, reading: &mut Reading<'_>) {
    let secrets = grants.get("secrets").and_then(Value::as_array);
    let secrets = || secrets.into_iter().flatten();
    let in_env = |name: &str| {
        variables(grants).any(|(_, template)| {
            let mut keys = template.keys_of("secret");
            keys.any(|keys| keys.first().is_some_and(|key| key == name))
        })
    };
    let at = at.key("secrets");
    for (index, grant) in secrets().enumerate() {
        let Some(name) = text(grant, "name") else {
            continue;
        };
        if secrets().any(|secret| secret == name) || in_env(name) {
            let message = format!(
                "the provider has secret `{name}` itself, so that nothing binds it to a host"
            );
            let at = at.index(index);
            let problem = reading.refuse(&at.key("name"), message, "granted whole, too");
            problem.help = Some("grant it here alone, or without `host` and `header`".to_owned());
        }
    }
}

/// Refuses variables that differ from test to test where an instance, with its environment, serves many.
fn check_reuse(grants: &Map<String, Value>, at: &At<'_>, reading: &mut Reading<'_>) {
    let at = at.key("env");
    for (name, template) in variables(grants) {
        if template.keys_of("input").next().is_some() {
            let message = format!("`{name}` is another one for each test, and `reuse` keeps it");
            let problem = reading.refuse(&at.key(name), message, "depends on the test");
            problem.help = Some("remove `reuse`, or use `{{config.KEY}}`".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mount_error;

    #[test]
    fn a_mount_is_an_absolute_path_that_nothing_else_has() {
        for good in ["/", "/data", "/a/b.c", "/scratchpad", "/file", "/..a"] {
            assert_eq!(mount_error(good), None, "{good}");
        }
        for bad in [
            "",
            "data",
            "./data",
            "//",
            "/a//b",
            "/a/",
            "/a/../b",
            "/..",
            "/./a",
            "/a\0",
            "/scratch",
            "/files/a",
            "/artifacts",
        ] {
            assert!(mount_error(bad).is_some(), "{bad:?}");
        }
    }
}
