//! The keys of grants, and checks between them.

use std::{collections::HashSet, fs::Metadata, path::Path};

use runner_model::grants::{BoundSecret, FsGrant, FsMode, is_secret_name};
use runner_model::{Grants, NetGrant, template::Template};
use serde_json::{Map, Value};

use crate::keys::{FilePlace, NamedFile};
use crate::reading::{
    At, ENV_ROOTS, Either, List, Named, Reader, StringOr, TEXT, Table, TableForm, Templated, Text,
    Word, size,
};

pub(crate) const GRANTS: TableForm<Grants> = TableForm("`grants` of a provider", |table| {
    let grants = grants(table);
    let tools = table.or("tools", &List(0, TEXT), "[]");
    Some(Grants { tools, ..grants? })
});
pub(super) const TOOL_GRANTS: TableForm<Grants> = TableForm("`grants` of a provider", |table| {
    table.forbid("tools", "a tool may not call tools");
    grants(table)
});
/// A plugin that makes records only reads, so that a check of a scenario changes nothing.
pub(crate) const LIST_GRANTS: TableForm<Grants> = TableForm("`grants` of a test list", |table| {
    Some(Grants { fs: table.or("fs", &List(0, LIST_FS), "[]"), ..Grants::default() })
});
const LIST_FS: TableForm<FsGrant> = TableForm("`fs` of a test list's grants", |table| {
    let path = table.required("path", &FOLDER);
    let mount = table.required("mount", &MOUNT);
    Some(FsGrant { path: path?, mount: mount?, mode: FsMode::ReadOnly })
});
const FOLDER: NamedFile = NamedFile("folder", Metadata::is_dir, FilePlace::Stated);
const FS: TableForm<FsGrant> = TableForm("`fs` of its grants", fs);
const BOUND: TableForm<BoundSecret> = TableForm("a table in `secrets` of its grants", bound);
const SECRET_OR_BOUND: StringOr<Text<String>, TableForm<BoundSecret>> =
    StringOr { string: SECRET, table: BOUND, words: "a string or a table" };
const MODE: Word<FsMode> =
    Word(|| FsMode::ALL.iter().map(|mode| mode.as_str()).collect(), FsMode::parse);

const NET: Text<NetGrant> = Text {
    words: "a scheme, a host and an optional port",
    example: ", such as \"https://api.example.com\"",
    schema: r#"{"type": "string", "pattern": "^https?://[^/?#@]+/?$", "examples": ["https://api.example.com", "https://*.example.com", "http://127.0.0.1:8080"]}"#,
    parse: |text| {
        NetGrant::parse(text).map_err(|reason| {
            let secure = format!("https://{text}");
            match NetGrant::parse(&secure) {
                Ok(_) => format!("write `{secure}`"),
                Err(_) => format!("in `{text}`, {reason}"),
            }
        })
    },
};

pub(crate) const SECRET: Text<String> = Text {
    words: "the name of a secret",
    example: " such as \"API_KEY\"",
    schema: r#"{"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}"#,
    parse: |text| {
        is_secret_name(text).then(|| text.to_owned()).ok_or_else(|| {
            format!("use letters, digits and `_` in `{text}`, and no digit at its start")
        })
    },
};

const HOST: Text<NetGrant> = Text {
    words: "a host, optionally with a scheme and a port",
    example: ", such as \"api.example.com\"",
    schema: r#"{"title": "such as `\"api.example.com\"`", "type": "string", "examples": ["api.example.com", "http://127.0.0.1:8080"]}"#,
    parse: |text| BoundSecret::parse_host(text).map_err(|reason| format!("in `{text}`, {reason}")),
};

const HEADER: Text<String> = Text {
    words: "the name of a header",
    example: " such as \"authorization\"",
    schema: r#"{"title": "such as `\"authorization\"`", "type": "string", "examples": ["authorization", "x-api-key"]}"#,
    parse: |text| {
        BoundSecret::is_header(text)
            .then(|| text.to_ascii_lowercase())
            .ok_or_else(|| format!("`{text}` has characters that no header has"))
    },
};

const MOUNT: Text<String> = Text {
    words: "the absolute path of a free folder",
    example: " such as \"/fixtures\"",
    schema: r#"{"title": "such as `\"/fixtures\"`", "type": "string", "pattern": "^/", "examples": ["/fixtures"]}"#,
    parse: |text| {
        check_mount(text).map(|()| text.to_owned()).map_err(|reason| format!("`{text}` {reason}"))
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

// Only values of `env` are templates: if a test's input chose a path or a host, it would be a grant that is not in the
// scenario's text.
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

fn fs(table: &mut Table<'_, '_>) -> Option<FsGrant> {
    let path = table.required("path", &FOLDER);
    let mount = table.required("mount", &MOUNT);
    let mode = table.or("mode", &MODE, r#""ro""#);
    Some(FsGrant { path: path?, mount: mount?, mode })
}

/// Checks a mount point in a guest's file system. An error continues a sentence about it.
pub(super) fn check_mount(text: &str) -> Result<(), String> {
    /// Folders of the attempt itself.
    const TAKEN: [&str; 3] = ["/scratch", "/files", "/artifacts"];
    let path = text.strip_prefix('/').ok_or("does not start with `/`")?;
    // Most programs look into the root itself. Longer mount points win.
    if path.is_empty() {
        return Ok(());
    }
    if text.contains('\0') || !path.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return Err("has a part that is empty, `.` or `..`".to_owned());
    }
    match TAKEN.iter().find(|taken| Path::new(text).starts_with(taken)) {
        Some(taken) if text == *taken => Err("is the attempt's own".to_owned()),
        Some(taken) => Err(format!("is inside `{taken}`, which is the attempt's own")),
        None => Ok(()),
    }
}

/// Reports contradictions between a provider's grants and its other keys.
pub(crate) fn check_grants(provider: &Value, at: &At<'_>, reader: &mut Reader<'_>) {
    let Some(grants) = provider.get("grants").and_then(Value::as_object) else { return };
    let at = at.key("grants");
    check_secrets(grants, &at, reader);
    if provider.get("reuse").is_some() {
        check_reuse(grants, &at, reader);
    }
    let scratch = provider.pointer("/limits/scratch");
    // A table, or the access of a grader.
    let has_workspace = provider.get("workspace").is_some_and(|workspace| workspace != "read");
    let is_limited = has_workspace || scratch.is_some() && size(scratch) != Some(0);
    let at = at.key("fs");
    let mut mounts = HashSet::new();
    let folders = grants.get("fs").and_then(Value::as_array);
    for (index, grant) in folders.into_iter().flatten().enumerate() {
        let at = at.index(index);
        if let Some(mount) = text(grant, "mount").filter(|mount| !mounts.insert(*mount)) {
            let message = format!("two folders are mounted at `{mount}`");
            reader.refuse(&at.key("mount"), message, "used already");
        }
        if text(grant, "mode") == Some(FsMode::ReadWrite.as_str()) && !is_limited {
            let message = "`rw` needs a limit of written bytes";
            let problem = reader.refuse(&at.key("mode"), message, "writable");
            problem.help = Some("add `scratch = \"16MiB\"` to the provider's `limits`".to_owned());
        }
    }
}

fn text<'v>(table: &'v Value, key: &str) -> Option<&'v str> {
    table.get(key)?.as_str()
}

/// Returns the variables whose values are valid templates.
fn variables(grants: &Map<String, Value>) -> impl Iterator<Item = (&String, Template)> {
    let variables = grants.get("env").and_then(Value::as_object).into_iter().flatten();
    variables.filter_map(|(name, value)| Some((name, Template::parse(value.as_str()?).ok()?)))
}

/// Returns the names of the secrets that a provider is granted in any way.
pub(crate) fn granted_secrets(provider: &Value) -> HashSet<String> {
    let Some(grants) = provider.get("grants").and_then(Value::as_object) else {
        return HashSet::new();
    };
    let bound = grants.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let bound = bound.filter_map(|grant| text(grant, "name"));
    bound.map(str::to_owned).chain(own_secrets(grants)).collect()
}

/// Returns the names of the tools that a provider may call, with their indexes.
pub(super) fn granted_tools(caller: &Value) -> impl Iterator<Item = (usize, &str)> {
    let tools = caller.pointer("/grants/tools").and_then(Value::as_array);
    let tools = tools.into_iter().flatten().enumerate();
    tools.filter_map(|(index, name)| Some((index, name.as_str()?)))
}

/// Returns the names of the secrets whose values a provider gets.
fn own_secrets(grants: &Map<String, Value>) -> HashSet<String> {
    let listed = grants.get("secrets").and_then(Value::as_array).into_iter().flatten();
    let mut own: HashSet<_> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
    for (_, template) in variables(grants) {
        own.extend(template.keys_of("secret").filter_map(|keys| keys.first().cloned()));
    }
    own
}

/// Reports bound secrets that the provider also has itself: it could send those to any host.
fn check_secrets(grants: &Map<String, Value>, at: &At<'_>, reader: &mut Reader<'_>) {
    let own = own_secrets(grants);
    let at = at.key("secrets");
    let secrets = grants.get("secrets").and_then(Value::as_array).into_iter().flatten();
    for (index, grant) in secrets.enumerate() {
        let Some(name) = text(grant, "name") else { continue };
        if own.contains(name) {
            let message =
                format!("the provider has secret `{name}` itself, so it is not bound to a host");
            let at = at.index(index);
            let problem = reader.refuse(&at.key("name"), message, "also granted without a host");
            problem.help = Some("grant it only here, or without `host` and `header`".to_owned());
        }
    }
}

/// Reports variables that differ between tests. A reused instance keeps its environment.
fn check_reuse(grants: &Map<String, Value>, at: &At<'_>, reader: &mut Reader<'_>) {
    let at = at.key("env");
    for (name, template) in variables(grants) {
        if template.keys_of("input").next().is_some() {
            let message =
                format!("`{name}` differs between tests, and `reuse` keeps its first value");
            let problem = reader.refuse(&at.key(name), message, "depends on the test");
            problem.help = Some("remove `reuse`, or use `{{config.KEY}}`".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_mount;

    #[test]
    fn mount_is_absolute_path_outside_attempts_folders() {
        for good in ["/", "/data", "/a/b.c", "/scratchpad", "/file", "/..a"] {
            assert_eq!(check_mount(good), Ok(()), "{good}");
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
            assert!(check_mount(bad).is_err(), "{bad:?}");
        }
    }
}
