//! What contradicts itself in a scenario, or names a file that is not there. Every look is at the scenario's value, so a
//! wrong key elsewhere in a table hides nothing.

use std::{collections::HashMap, fs, io, path::Path};

use runner_model::template::{Template, lookup};
use serde_json::{Map, Value};

use crate::{
    files, globs,
    problem::Problem,
    reading::{At, Part, Reading, dotted, kind, suggest},
    scenario::items,
};

/// A suite names providers by numbers of 16 bits, and each provider has a lane; more are a slip.
const MAX_PROVIDERS: usize = 1000;

/// Reports that a scenario has no providers or no tests.
pub(crate) fn missing_parts(path: &str, root: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if names(root).next().is_none() && root.get("providers").is_none_or(Value::is_object) {
        problems.push(
            Problem::of_file(path, "the scenario has no providers")
                .with_help("write `[providers.NAME]` with `plugin = \"FILE.wasm\"`"),
        );
    }
    let is_empty = |key| {
        root.get(key)
            .is_none_or(|value| *value == Value::Array(Vec::new()))
    };
    if is_empty("tests") && is_empty("test_lists") {
        problems.push(
            Problem::of_file(path, "the scenario has no tests")
                .with_help("write `[[tests]]` or `[[test_lists]]`"),
        );
    }
    problems
}

/// Checks a scenario, and finds the files of each of its lists if there is a folder to look in.
pub(crate) fn check(
    root: &Value,
    folder: Option<&Path>,
    reading: &mut Reading,
) -> Vec<Vec<String>> {
    let names: Vec<_> = names(root).collect();
    providers(root, folder, reading);
    let tests = At::ROOT.key("tests");
    let mut seen = HashMap::new();
    for (index, test) in items(root, "tests").iter().enumerate() {
        let at = tests.index(index);
        if let Some(id) = test.get("id").and_then(Value::as_str) {
            let first = *seen.entry(id).or_insert(index);
            if first != index {
                let message = format!("the id `{id}` is used twice");
                let mut finding = at.key("id").finding(Part::Value, message, "and again here");
                finding.other = Some((tests.index(first).key("id").path(), "first here"));
                reading.findings.push(finding);
            }
        }
        provider_globs(test, &names, &at, reading);
    }
    let at = At::ROOT.key("test_lists");
    let mut found = Vec::new();
    for (index, list) in items(root, "test_lists").iter().enumerate() {
        let at = at.index(index);
        provider_globs(list, &names, &at, reading);
        let globs = items(list, "files");
        found.push(match folder {
            Some(folder) => list_files(globs, folder, &at.key("files"), reading),
            None => Vec::new(),
        });
    }
    found
}

fn names(root: &Value) -> impl Iterator<Item = &str> {
    let providers = root.get("providers").and_then(Value::as_object);
    providers
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
}

fn providers(root: &Value, folder: Option<&Path>, reading: &mut Reading) {
    let at = At::ROOT.key("providers");
    let tables = root.get("providers").and_then(Value::as_object);
    let count = tables.map_or(0, Map::len);
    if count > MAX_PROVIDERS {
        let message =
            format!("a scenario has at most {MAX_PROVIDERS} providers, and this one {count}");
        reading.refuse(&at, message, "here");
    }
    for (name, table) in tables.into_iter().flatten() {
        let at = at.key(name);
        if let (Some(folder), Some(plugin)) = (folder, table.get("plugin").and_then(Value::as_str))
        {
            plugin_file(plugin, folder, &at.key("plugin"), reading);
        }
        let args = at.key("args");
        for (index, text) in items(table, "args").iter().enumerate() {
            config_keys(table, text, false, &args.index(index), reading);
        }
        if let Some(text) = table.get("stdin") {
            config_keys(table, text, true, &at.key("stdin"), reading);
        }
    }
}

fn plugin_file(plugin: &str, folder: &Path, at: &At<'_>, reading: &mut Reading) {
    if plugin.is_empty() || plugin.starts_with("bundled:") {
        return;
    }
    let path = folder.join(plugin);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) if metadata.is_dir() => {
            let message =
                format!("a folder with a plugin's source, as `{plugin}`, is not supported yet");
            let help = "build it, and name its `.wasm` file".to_owned();
            reading.refuse_with_help(at, Part::Value, message, "a folder", help);
        }
        Ok(_) => reading.refuse(at, format!("plugin `{plugin}` is not a file"), "not a file"),
        Err(error) => {
            let message = match error.kind() {
                io::ErrorKind::NotFound => format!("plugin `{plugin}` does not exist"),
                _ => format!("plugin `{plugin}` cannot be read: {error}"),
            };
            let help = format!(
                "paths are relative to the scenario: this is {}",
                path.display()
            );
            reading.refuse_with_help(at, Part::Value, message, "not found", help);
        }
    }
}

/// Reports what a template of a command takes from the configuration of its provider and is not there.
fn config_keys(table: &Value, text: &Value, takes_nul: bool, at: &At<'_>, reading: &mut Reading) {
    let nothing = Value::Object(Map::new());
    let config = table.get("config").unwrap_or(&nothing);
    let template = text.as_str().and_then(|text| Template::parse(text).ok());
    for keys in template
        .iter()
        .flat_map(|template| template.keys_of("config"))
    {
        match lookup(config, keys) {
            None => {
                let mut finding = at.finding(Part::Value, String::new(), "this template");
                (finding.message, finding.help) = lack("config", config, keys, "the provider");
                reading.findings.push(finding);
            }
            Some(Value::String(value)) if value.contains('\0') && !takes_nul => {
                let path = dotted("config", keys);
                let message = format!("an argument cannot have a NUL in it, and `{path}` has one");
                reading.refuse(at, message, "this template");
            }
            Some(_) => {}
        }
    }
}

/// Says that `keys` lead nowhere in `value`, and what there is.
pub(crate) fn lack(
    root: &str,
    value: &Value,
    keys: &[String],
    who: &str,
) -> (String, Option<String>) {
    let message = format!("{who} has no `{}`", dotted(root, keys));
    let there = (0..keys.len())
        .rev()
        .find_map(|length| Some((length, lookup(value, &keys[..length])?)));
    let (length, found) = there.unwrap_or((0, value));
    let place = dotted(root, &keys[..length]);
    let help = match found {
        Value::Object(map) if map.is_empty() => None,
        Value::Object(map) => Some(suggest(&keys[length], map.keys().map(String::as_str))),
        Value::Null => None,
        Value::Array(items) => Some(match items.len() {
            0 => format!("`{place}` has no elements"),
            1 => format!("`{place}` has one element, `{{{{{place}.0}}}}`"),
            count => {
                format!("`{place}` has {count} elements, and the first is `{{{{{place}.0}}}}`")
            }
        }),
        other => Some(format!("`{place}` is {}, with nothing inside", kind(other))),
    };
    (message, help)
}

/// Reports globs of a test or list that match no provider.
fn provider_globs(table: &Value, names: &[&str], at: &At<'_>, reading: &mut Reading) {
    let at = at.key("providers");
    if names.is_empty() {
        return;
    }
    for (index, glob) in items(table, "providers").iter().enumerate() {
        if let Some(text) = glob.as_str()
            && let Some((message, help)) = unmatched(text, names)
        {
            reading.refuse_with_help(
                &at.index(index),
                Part::Value,
                message,
                "matches nothing",
                help,
            );
        }
    }
}

/// Says that a glob matches no provider. One that cannot be understood is reported elsewhere.
pub(crate) fn unmatched(glob: &str, names: &[&str]) -> Option<(String, String)> {
    let matcher = globs::over_ids(glob).ok()?.compile_matcher();
    if names.iter().any(|name| matcher.is_match(name)) {
        return None;
    }
    let help = suggest(glob, names.iter().copied());
    Some((format!("no provider matches `{glob}`"), help))
}

/// Finds the files of a list: for each glob sorted, each file once.
fn list_files(globs: &[Value], folder: &Path, at: &At<'_>, reading: &mut Reading) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (index, glob) in globs.iter().enumerate() {
        let at = at.index(index);
        let Some(glob) = glob.as_str().filter(|glob| globs::over_files(glob).is_ok()) else {
            continue;
        };
        match files::find(folder, glob) {
            Err(error) => {
                let message = format!("`{glob}` cannot be searched: {error}");
                reading.refuse(&at, message, "this glob");
            }
            Ok(names) if names.is_empty() => {
                let message = format!("no file matches `{glob}`");
                let help = format!("it is relative to the scenario, in {}", folder.display());
                reading.refuse_with_help(&at, Part::Value, message, "matches nothing", help);
            }
            Ok(names) => {
                for name in names {
                    if !name.ends_with(".jsonl") {
                        not_a_list(&name, &at, reading);
                    } else if !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
    }
    found
}

fn not_a_list(name: &str, at: &At<'_>, reading: &mut Reading) {
    let extension = Path::new(name).extension().unwrap_or_default();
    let message = if ["csv", "json", "toml"]
        .iter()
        .any(|later| extension == *later)
    {
        format!("`{name}`: test lists other than `.jsonl` are not supported yet")
    } else {
        format!("`{name}` is not a test list")
    };
    let help = "a test list ends in `.jsonl`".to_owned();
    reading.refuse_with_help(at, Part::Value, message, "matches it", help);
}
