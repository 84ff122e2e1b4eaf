//! What a provider may touch: reading `grants`, and refusing what contradicts itself.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Template,
    check::{At, FormError, Part},
    grant_names::SECRET,
    settings,
};
use crate::model::{BoundSecret, FsGrant, FsMode, Grants, Limits, NetGrant, is_secret_name};

/// Reads grants that have been checked.
pub(super) fn read(table: &Map<String, Value>) -> Grants {
    let env = table.get("env").and_then(Value::as_object);
    Grants {
        net: settings::strings(table, "net")
            .filter_map(|text| NetGrant::parse(text).ok())
            .collect(),
        secrets: settings::strings(table, "secrets")
            .map(str::to_owned)
            .collect(),
        bound_secrets: bound(table)
            .filter_map(|(_, grant)| read_bound(grant))
            .collect(),
        fs: folders(table).filter_map(read_folder).collect(),
        env: env
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
    }
}

/// Reports what of a provider's `grants` cannot be granted. Folders are looked for in `directory`, if there is one.
pub(super) fn check(
    provider: &Map<String, Value>,
    limits: &Limits,
    directory: Option<&Path>,
    at: &At<'_>,
    findings: &mut Vec<FormError>,
) {
    let Some(grants) = provider.get("grants").and_then(Value::as_object) else {
        return;
    };
    let at = at.key("grants");
    check_env(grants, &at, findings);
    check_bound(grants, &at, findings);
    if provider.contains_key("reuse") {
        check_reuse(grants, &at, findings);
    }
    let at = at.key("fs");
    let mut mounts: Vec<&str> = Vec::new();
    for (index, folder) in folders(grants).enumerate() {
        let at = at.index(index);
        if let Some(directory) = directory {
            check_folder(folder, directory, &at, findings);
        }
        if let Some(mount) = folder.get("mount").and_then(Value::as_str) {
            if mounts.contains(&mount) {
                let message = format!("two folders are mounted at `{mount}`");
                findings.push(
                    at.key("mount")
                        .finding(Part::Value, message, "used already"),
                );
            }
            mounts.push(mount);
        }
        if mode(folder) == FsMode::ReadWrite && limits.scratch == 0 {
            let message = "`rw` needs a limit of what may be written, and there is none";
            let mut finding = at
                .key("mode")
                .finding(Part::Value, message.to_owned(), "writable");
            finding.help = Some("add `scratch = \"16MiB\"` to the provider's `limits`".to_owned());
            findings.push(finding);
        }
    }
}

/// Tells why `text` is no template that an environment variable can be filled in from.
pub fn check_variable(text: &str) -> Result<(), String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    template
        .check_roots(&["input", "config", SECRET])
        .map_err(|error| error.to_string())?;
    unnamed_secrets(&template).next().map_or(Ok(()), Err)
}

/// Says of each place in a template that wants a secret without naming one.
fn unnamed_secrets(template: &Template) -> impl Iterator<Item = String> {
    let wanted = template.keys_of(SECRET);
    let unnamed = wanted.filter(|keys| !matches!(keys, [name] if is_secret_name(name)));
    unnamed.map(|keys| {
        let path = [&[SECRET.to_owned()], keys].concat().join(".");
        format!("`{{{{{path}}}}}` names no secret, as `{{{{secret.API_KEY}}}}` does")
    })
}

/// Refuses variables that differ from test to test where an instance, with its environment, serves many.
fn check_reuse(grants: &Map<String, Value>, at: &At<'_>, findings: &mut Vec<FormError>) {
    let at = at.key("env");
    let env = grants.get("env").and_then(Value::as_object);
    for (name, value) in env.into_iter().flatten() {
        let template = value.as_str().and_then(|text| Template::parse(text).ok());
        if template.is_some_and(|template| template.keys_of("input").next().is_some()) {
            let message = format!("`{name}` is another one for each test, and `reuse` keeps it");
            let mut finding = at
                .key(name)
                .finding(Part::Value, message, "depends on the test");
            finding.help = Some("remove `reuse`, or use `{{config.KEY}}`".to_owned());
            findings.push(finding);
        }
    }
}

fn check_env(grants: &Map<String, Value>, at: &At<'_>, findings: &mut Vec<FormError>) {
    let at = at.key("env");
    let env = grants.get("env").and_then(Value::as_object);
    for (name, value) in env.into_iter().flatten() {
        let template = value.as_str().and_then(|text| Template::parse(text).ok());
        let Some(template) = template else { continue };
        for message in unnamed_secrets(&template) {
            findings.push(at.key(name).finding(Part::Value, message, "this template"));
        }
    }
}

fn check_folder(
    grant: &Map<String, Value>,
    directory: &Path,
    at: &At<'_>,
    findings: &mut Vec<FormError>,
) {
    let written = grant.get("path").and_then(Value::as_str);
    let Some(written) = written.filter(|written| !written.is_empty()) else {
        return;
    };
    let path = directory.join(written);
    if path.is_dir() {
        return;
    }
    let (message, label, help) = if path.exists() {
        let folder = Path::new(written).parent().map(Path::to_string_lossy);
        let folder = folder.filter(|folder| !folder.is_empty());
        (
            format!("`{written}` is a file, and only folders are granted"),
            "not a folder",
            format!(
                "grant the folder that it is in: `path = \"{}\"`",
                folder.as_deref().unwrap_or(".")
            ),
        )
    } else {
        (
            format!("folder `{written}` does not exist"),
            "not found",
            format!(
                "paths are relative to the scenario: this is {}",
                path.display()
            ),
        )
    };
    let mut finding = at.key("path").finding(Part::Value, message, label);
    finding.help = Some(help);
    findings.push(finding);
}

/// Refuses to bind a secret that the provider has anyway: then nothing would keep it from sending it elsewhere.
fn check_bound(grants: &Map<String, Value>, at: &At<'_>, findings: &mut Vec<FormError>) {
    let at = at.key("secrets");
    let env = grants.get("env").and_then(Value::as_object);
    let templates = env
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| Template::parse(value.as_str()?).ok());
    let in_env: Vec<String> = templates
        .flat_map(|template| {
            let keys = template.keys_of(SECRET);
            keys.flatten().cloned().collect::<Vec<_>>()
        })
        .collect();
    for (index, grant) in bound(grants) {
        let name = grant.get("name").and_then(Value::as_str);
        let Some(name) = name else { continue };
        let is_known = settings::strings(grants, "secrets").any(|known| known == name)
            || in_env.iter().any(|known| known == name);
        if is_known {
            let message = format!(
                "the provider has secret `{name}` itself, so that nothing binds it to a host"
            );
            let at = at.index(index);
            let mut finding = at
                .key("name")
                .finding(Part::Value, message, "granted whole, too");
            finding.help = Some("grant it here alone, or without `host` and `header`".to_owned());
            findings.push(finding);
        }
    }
}

/// The secrets that are bound, each with its place among all.
fn bound(grants: &Map<String, Value>) -> impl Iterator<Item = (usize, &Map<String, Value>)> {
    let secrets = grants.get("secrets").and_then(Value::as_array);
    let secrets = secrets.into_iter().flatten().enumerate();
    secrets.filter_map(|(index, grant)| Some((index, grant.as_object()?)))
}

fn read_bound(grant: &Map<String, Value>) -> Option<BoundSecret> {
    let text = |key| grant.get(key).and_then(Value::as_str);
    BoundSecret::parse(text("name")?, text("host")?, text("header")?).ok()
}

fn folders(grants: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let folders = grants.get("fs").and_then(Value::as_array);
    folders.into_iter().flatten().filter_map(Value::as_object)
}

fn read_folder(grant: &Map<String, Value>) -> Option<FsGrant> {
    Some(FsGrant {
        path: grant.get("path")?.as_str()?.to_owned(),
        mount: grant.get("mount")?.as_str()?.to_owned(),
        mode: mode(grant),
    })
}

fn mode(grant: &Map<String, Value>) -> FsMode {
    match grant.get("mode").and_then(Value::as_str) {
        Some("rw") => FsMode::ReadWrite,
        _ => FsMode::ReadOnly,
    }
}
