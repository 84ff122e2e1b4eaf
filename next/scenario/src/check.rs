//! What contradicts itself in a scenario, or names a file that is not there. Every look is at the scenario's value, so a
//! wrong key elsewhere in a table hides nothing.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io,
    path::{Display, Path},
};

use runner_model::{
    Limits,
    units::{parse_size, show_size},
};
use serde_json::{Map, Value};

use crate::{
    files, globs, grant_keys,
    lists::ListFormat,
    problem::Problem,
    reading::{At, Reading, suggest},
};

/// A suite names providers by numbers of 16 bits, and each provider has a lane; more are a slip.
const MAX_PROVIDERS: usize = 1000;

/// Reports that a scenario has no providers or no tests.
pub(crate) fn missing_parts(path: &str, root: &Value) -> Vec<Problem> {
    let is_empty = |key| match root.get(key) {
        None => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    };
    let mut problems = Vec::new();
    if is_empty("providers") {
        problems.push(
            Problem::of_file(path, "the scenario has no providers")
                .with_help("write `[providers.NAME]` with `plugin = \"FILE.wasm\"`"),
        );
    }
    if is_empty("tests") && is_empty("test_lists") {
        problems.push(
            Problem::of_file(path, "the scenario has no tests")
                .with_help("write `[[tests]]` or `[[test_lists]]`"),
        );
    }
    problems
}

/// Checks a scenario, and finds the files of each of its lists if there is a folder to look in.
pub(crate) fn check(root: &Value, reading: &mut Reading<'_>) -> Vec<Vec<String>> {
    let providers = root.get("providers").and_then(Value::as_object);
    let names: Vec<_> = providers
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    let at = At::ROOT.key("providers");
    if names.len() > MAX_PROVIDERS {
        let message = format!(
            "a scenario has at most {MAX_PROVIDERS} providers, and this one {}",
            names.len()
        );
        reading.refuse(&at, message, "here");
    }
    for (name, table) in providers.into_iter().flatten() {
        let at = at.key(name);
        plugin(table, &at.key("plugin"), reading);
        grant_keys::check(table, &at, reading);
    }
    memory(root, reading);
    let tests = items(root, "tests");
    duplicate_ids(tests, reading);
    let at = At::ROOT.key("tests");
    for (index, test) in tests.iter().enumerate() {
        let at = at.index(index);
        provider_globs(test, &names, &at, reading);
        schema(test, &at, reading);
        let at = at.key("files");
        let files = test.get("files").and_then(Value::as_object);
        for (name, file) in files.into_iter().flatten() {
            named_file(
                "attachment",
                Metadata::is_file,
                Some(file),
                &at.key(name),
                reading,
            );
        }
    }
    let at = At::ROOT.key("test_lists");
    let mut found = Vec::new();
    for (index, list) in items(root, "test_lists").iter().enumerate() {
        let at = at.index(index);
        provider_globs(list, &names, &at, reading);
        schema(list, &at, reading);
        found.push(list_files(items(list, "files"), &at.key("files"), reading));
    }
    found
}

fn items<'v>(table: &'v Value, key: &str) -> &'v [Value] {
    let items = table.get(key).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

/// Reports a file that a scenario names and that is not there, or is of another kind.
pub(crate) fn named_file(
    noun: &str,
    is_it: fn(&Metadata) -> bool,
    file: Option<&Value>,
    at: &At<'_>,
    reading: &mut Reading<'_>,
) {
    let is_name = |file: &&str| !file.is_empty() && !file.contains("{{");
    let file = file.and_then(Value::as_str).filter(is_name);
    let (Some(file), Some(folder)) = (file, reading.folder) else {
        return;
    };
    let path = folder.join(file);
    let message = match fs::metadata(&path) {
        Ok(metadata) if is_it(&metadata) => return,
        Ok(metadata) if metadata.is_dir() => format!("{noun} `{file}` is a folder"),
        Ok(metadata) if metadata.is_file() => format!("{noun} `{file}` is a file"),
        Ok(_) => format!("{noun} `{file}` is neither a file nor a folder"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{noun} `{file}` does not exist")
        }
        Err(error) => format!("{noun} `{file}` cannot be read: {error}"),
    };
    let help = format!(
        "paths are relative to the scenario: this is {}",
        shown(&path)
    );
    reading.refuse(at, message, "here").help = Some(help);
}

fn plugin(provider: &Value, at: &At<'_>, reading: &mut Reading<'_>) {
    let file = provider.get("plugin");
    let name = file.and_then(Value::as_str).unwrap_or_default();
    if !name.starts_with("bundled:") {
        let is_plugin = |metadata: &Metadata| metadata.is_file() || metadata.is_dir();
        named_file("plugin", is_plugin, file, at, reading);
    }
}

fn schema(test: &Value, at: &At<'_>, reading: &mut Reading<'_>) {
    let (file, at) = (test.pointer("/expect/schema"), at.key("expect"));
    named_file(
        "schema",
        Metadata::is_file,
        file,
        &at.key("schema"),
        reading,
    );
}

/// A size as a limit writes it; none if there is none, or a wrong one.
pub(crate) fn size(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => parse_size(text).ok(),
        number => number.as_u64(),
    }
}

/// Refuses a sum of memory into which a provider never fits.
fn memory(root: &Value, reading: &mut Reading<'_>) {
    let Some(memory) = size(root.pointer("/run/memory")) else {
        return;
    };
    let providers = root.get("providers").and_then(Value::as_object);
    let limits = providers.into_iter().flatten().map(|(name, table)| {
        let limit = size(table.pointer("/limits/memory"));
        (limit.unwrap_or(Limits::default().memory), name)
    });
    if let Some((limit, name)) = limits.max_by_key(|(limit, _)| *limit)
        && limit > memory
    {
        let message = format!("provider `{name}` would never fit into this memory");
        let at = At::ROOT.key("run");
        let problem = reading.refuse(&at.key("memory"), message, "too small");
        problem.help = Some(format!(
            "its limit is {}: give more, or set `limits.memory` of the provider",
            show_size(limit)
        ));
    }
}

/// A path as the user would write it.
pub(crate) fn shown(path: &Path) -> Display<'_> {
    match path.strip_prefix(".") {
        Ok(rest) if rest != Path::new("") => rest.display(),
        _ => path.display(),
    }
}

fn duplicate_ids(tests: &[Value], reading: &mut Reading<'_>) {
    let at = At::ROOT.key("tests");
    let mut seen = HashMap::new();
    for (index, test) in tests.iter().enumerate() {
        let Some(id) = test.get("id").and_then(Value::as_str) else {
            continue;
        };
        let first = *seen.entry(id).or_insert(index);
        if first != index {
            let message = format!("the id `{id}` is used twice");
            reading.refuse(&at.index(index).key("id"), message, "and again here");
            reading.also(&at.index(first).key("id"), "first here");
        }
    }
}

/// Reports globs of a test or list that match no provider.
fn provider_globs(table: &Value, names: &[&str], at: &At<'_>, reading: &mut Reading<'_>) {
    let at = at.key("providers");
    for (index, glob) in items(table, "providers").iter().enumerate() {
        let unmatched = glob.as_str().and_then(|glob| unmatched(glob, names));
        if let Some((message, help)) = unmatched.filter(|_| !names.is_empty()) {
            reading
                .refuse(&at.index(index), message, "matches nothing")
                .help = Some(help);
        }
    }
}

/// Says that a glob matches no provider. One that cannot be understood is reported elsewhere.
pub(crate) fn unmatched(glob: &str, names: &[&str]) -> Option<(String, String)> {
    let matcher = globs::over_ids(glob).ok()?.compile_matcher();
    if names.iter().any(|name| matcher.is_match(name)) {
        return None;
    }
    let is_table = names.iter().any(|name| {
        let values = name.strip_prefix(glob);
        values.is_some_and(|values| values.starts_with('['))
    });
    let help = match is_table {
        true => format!("`{glob}[*]` matches all that its matrix makes"),
        false => suggest(glob, names.iter().copied()),
    };
    Some((format!("no provider matches `{glob}`"), help))
}

/// Finds the files of a list: for each glob sorted, each file once.
fn list_files(globs: &[Value], at: &At<'_>, reading: &mut Reading<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let Some(folder) = reading.folder else {
        return found;
    };
    for (index, glob) in globs.iter().enumerate() {
        let at = at.index(index);
        let Some(glob) = glob.as_str().filter(|glob| globs::over_files(glob).is_ok()) else {
            continue;
        };
        let names = match files::find(folder, glob) {
            Ok(names) => names,
            Err(error) => {
                let message = format!("`{glob}` cannot be searched: {error}");
                reading.refuse(&at, message, "this glob");
                continue;
            }
        };
        if names.is_empty() {
            let help = format!("it is relative to the scenario, in {}", shown(folder));
            let message = format!("no file matches `{glob}`");
            reading.refuse(&at, message, "matches nothing").help = Some(help);
        }
        for name in names {
            if ListFormat::of(&name).is_none() {
                let message = format!("`{name}` is not a test list");
                let help = "a test list ends in `.jsonl`, `.json`, `.csv` or `.toml`".to_owned();
                reading.refuse(&at, message, "matches it").help = Some(help);
            } else if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
