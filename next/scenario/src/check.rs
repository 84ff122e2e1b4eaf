//! What contradicts itself in a scenario. Every look is at the scenario's value, so a wrong key elsewhere in a table hides
//! nothing.

use std::collections::HashMap;

use runner_model::{
    Limits,
    units::{parse_size, show_size},
};
use serde_json::{Map, Value};

use crate::{
    globs, grant_keys,
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
    let mut lacks = |noun: &str, help: &str| {
        let problem = Problem::of_file(path, format!("the scenario has no {noun}"));
        problems.push(problem.with_help(help));
    };
    if is_empty("providers") {
        let help = "write `[providers.NAME]` with `plugin = \"FILE.wasm\"`";
        lacks("providers", help);
    }
    if is_empty("tests") && is_empty("test_lists") {
        lacks("tests", "write `[[tests]]` or `[[test_lists]]`");
    }
    problems
}

/// Checks what several keys of a scenario say together.
pub(crate) fn check(root: &Value, reading: &mut Reading<'_>) {
    let providers = root.get("providers").and_then(Value::as_object);
    let names: Vec<_> = providers.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let at = At::ROOT.key("providers");
    if names.len() > MAX_PROVIDERS {
        let message = format!(
            "a scenario has at most {MAX_PROVIDERS} providers, and this one {}",
            names.len()
        );
        reading.refuse(&at, message, "here");
    }
    for (name, table) in providers.into_iter().flatten() {
        grant_keys::check(table, &at.key(name), reading);
    }
    memory(root, reading);
    duplicate_ids(items(root, "tests"), reading);
    for key in ["tests", "test_lists"] {
        let at = At::ROOT.key(key);
        for (index, table) in items(root, key).iter().enumerate() {
            provider_globs(table, &names, &at.index(index), reading);
        }
    }
}

fn items<'v>(table: &'v Value, key: &str) -> &'v [Value] {
    let items = table.get(key).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
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
            reading.refuse(&at.index(index), message, "matches nothing").help = Some(help);
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
