//! The keys of scenarios. This file checks them against each other.
//!
//! The checks read the scenario's JSON, not its types, so an invalid key in a table hides no other problem of it.

pub(crate) mod files;
mod grant_keys;
mod known_keys;
mod list_keys;
pub(crate) mod matrix;
mod matrix_files;
mod notify_keys;
mod provider_keys;
mod report_keys;
pub(crate) mod template_inputs;
mod test_keys;
mod tool_keys;
pub(crate) mod vars;
mod workspace_keys;

use std::collections::{HashMap, HashSet};

use runner_model::{Limits, globs, grants::FsMode, units::show_size};
use serde_json::{Map, Value};

use self::grant_keys::{check_grants, granted_secrets, granted_tools};
use self::workspace_keys::{check_graded, check_tool_folders, check_workspace};
use crate::problem::Problem;
use crate::reading::{At, MAX_GLOBS, Reader, TEXT, Text, similar, size, suggest};

pub(crate) use self::files::{FilePlace, ListFiles, ListFormat, NamedFile};
pub(crate) use self::grant_keys::{GRANTS, LIST_GRANTS, SECRET};
pub(crate) use self::known_keys::{KNOWN, KNOWN_LIST, WrittenKnown};
pub(crate) use self::list_keys::{LIST, TestList};
pub(crate) use self::matrix::{MATRIX, MATRIX_NAME};
pub(crate) use self::notify_keys::{NOTIFY, ROOT_NOTIFY};
pub use self::notify_keys::{Notify, NotifyCommand, NotifyEvents, Webhook, WebhookUrl};
pub(crate) use self::provider_keys::{
    BUDGET, CONCURRENCY, GRADERS, PRICES, PROVIDERS, add_prices, budget_of,
};
pub(crate) use self::report_keys::{GATE, REPORT};
pub(crate) use self::test_keys::{
    DEFAULT_TIMEOUT, DEFAULTS, FILES, MAX_META, RETRIES, Repeat, TEST, TestSettings, WrittenExpect,
    WrittenTest,
};
pub(crate) use self::tool_keys::TOOLS;
pub(crate) use self::vars::VARS;
pub use self::vars::Vars;

// A suite has 16 bits for a provider, and each provider has a lane. More than this are a mistake.
const MAX_PROVIDERS: usize = 1000;
/// Bytes of a scenario's name. A file's name may have as many.
const MAX_NAME: usize = 255;
/// A scenario's name.
pub(crate) const NAME: Text<String> = Text {
    words: "one line that starts with a letter or a digit",
    schema: r#"{"type": "string", "pattern": "^[\\p{L}\\p{N}].*$"}"#,
    parse: |text| check_name(text).map(|()| text.to_owned()),
    ..TEXT
};

/// Returns the problems of a scenario without providers or tests.
pub(crate) fn missing_parts(path: &str, root: &Value) -> Vec<Problem> {
    let is_empty = |key| match root.get(key) {
        // A misspelt key is reported once, and not as a missing key, too.
        None => !root.as_object().into_iter().flat_map(Map::keys).any(|other| {
            let known = ["providers", "tests", "test_lists"];
            !known.contains(&&**other) && similar(other, known.into_iter()) == Some(key)
        }),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    };
    let mut missing = Vec::new();
    if is_empty("providers") {
        let help = "write `[providers.NAME]` with `plugin = \"FILE.wasm\"`";
        missing.push(("providers", help));
    }
    if is_empty("tests") && is_empty("test_lists") {
        missing.push(("tests", "write `[[tests]]` or `[[test_lists]]`"));
    }
    let problems = missing.into_iter().map(|(noun, help)| {
        Problem::for_file(path, format!("the scenario has no {noun}")).with_help(help)
    });
    problems.collect()
}

/// Checks a scenario's name. It becomes an argument and a line of programs that notifications start. An error continues a
/// sentence about the form of names.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.contains(|one| matches!(one, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')) {
        return Err("it has a line break".to_owned());
    }
    name.starts_with(char::is_alphanumeric).then_some(()).ok_or_else(|| format!("this is `{name}`"))
}

/// Reports contradictions between keys.
pub(crate) fn check_keys(root: &Value, reader: &mut Reader<'_>) {
    let providers = root.get("providers").and_then(Value::as_object);
    let names: Vec<_> = providers.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    for table in ["providers", "graders", "tools"] {
        let count = root.get(table).and_then(Value::as_object).map_or(0, Map::len);
        if count > MAX_PROVIDERS {
            let message = format!("a scenario has at most {MAX_PROVIDERS} {table}, not {count}");
            reader.refuse(&At::ROOT.key(table), message, "here");
        }
    }
    let name = root.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.len() > MAX_NAME {
        let message = format!(
            "the scenario's name has {} bytes, and at most {MAX_NAME} are allowed",
            name.len()
        );
        reader.refuse(&At::ROOT.key("name"), message, "too long");
    }
    for (table, name, provider) in all_providers(root) {
        let at = At::ROOT.key(table);
        check_grants(provider, &at.key(name), reader);
        if table != "tools" {
            check_workspace(provider, &at.key(name), reader);
        }
        check_scores(provider, &at.key(name), reader);
        if table == "graders" {
            check_graded(provider, &at.key(name), root, reader);
        }
        let others = ["providers", "graders"].into_iter().take_while(|other| *other != table);
        for other in others.filter(|other| root[other].get(name).is_some()) {
            let [noun, other_noun] = [table, other].map(|table| table.trim_end_matches('s'));
            let message = format!("a {other_noun} and a {noun} are both named `{name}`");
            reader.refuse_key(&at.key(name), message, "rename one of them");
            reader.add_place(&At::ROOT.key(other).key(name), &format!("the {other_noun}"));
        }
    }
    check_tools(root, reader);
    check_signatures(root, reader);
    check_gate(root, reader);
    check_memory(root, reader);
    check_deterministic(root, reader);
    check_prices(root, reader);
    check_ids(items(root, "tests"), reader);
    for key in ["tests", "test_lists"] {
        let at = At::ROOT.key(key);
        for (index, table) in items(root, key).iter().enumerate() {
            check_provider_globs(table, &names, &at.index(index), reader);
            check_grants(table, &at.index(index), reader);
        }
    }
}

/// Reports granted tools that do not exist, and folders of tools that are in the workspaces of their callers.
fn check_tools(root: &Value, reader: &mut Reader<'_>) {
    let empty = Map::new();
    let tools = root.get("tools").and_then(Value::as_object).unwrap_or(&empty);
    for (table, name, caller) in all_providers(root).filter(|(table, ..)| *table != "tools") {
        let at = At::ROOT.key(table);
        let at = at.key(name);
        let at = at.key("grants");
        let at = at.key("tools");
        let mut seen = HashSet::new();
        for (index, name) in granted_tools(caller) {
            let at = at.index(index);
            if !tools.contains_key(name) {
                let message = format!("the scenario has no tool `{name}`");
                reader.refuse(&at, message, "here").help = Some(if tools.is_empty() {
                    format!("add a table for it: `[tools.{name}]`")
                } else {
                    suggest(name, tools.keys().map(String::as_str))
                });
            } else if !seen.insert(name) {
                reader.refuse(&at, format!("the tool `{name}` is granted twice"), "again here");
            }
        }
    }
    let at = At::ROOT.key("tools");
    for (name, tool) in tools {
        check_tool_folders(name, tool, &at.key(name), root, reader);
    }
}

/// Returns the name of the table, the name and the keys of each provider, grader and tool.
fn all_providers(root: &Value) -> impl Iterator<Item = (&'static str, &String, &Value)> {
    ["providers", "graders", "tools"].into_iter().flat_map(move |table| {
        let named = root.get(table).and_then(Value::as_object).into_iter().flatten();
        named.map(move |(name, keys)| (table, name, keys))
    })
}

fn items<'v>(table: &'v Value, key: &str) -> &'v [Value] {
    table.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Reports webhooks that sign with a secret that the scenario is not granted: the receiver can try values until one fits.
fn check_signatures(root: &Value, reader: &mut Reader<'_>) {
    let granted: HashSet<_> =
        all_providers(root).flat_map(|(.., provider)| granted_secrets(provider)).collect();
    let at = At::ROOT.key("notify");
    let at = at.key("webhooks");
    let webhooks = root.pointer("/notify/webhooks").and_then(Value::as_array);
    for (index, webhook) in webhooks.into_iter().flatten().enumerate() {
        let name = webhook.pointer("/secret/env").and_then(Value::as_str);
        let Some(name) = name.filter(|name| !granted.contains(*name)) else { continue };
        let message =
            format!("no provider is granted the secret `{name}`, so no webhook may sign with it");
        reader.refuse(&at.index(index).key("secret"), message, "not granted").help = Some(format!(
            "put the webhook into `runner.toml` of the results root, or grant the secret to a provider that needs it: secrets = [\"{name}\"]"
        ));
    }
}

/// Reports a `[gate]` in which no condition is written.
fn check_gate(root: &Value, reader: &mut Reader<'_>) {
    let Some(gate) = root.get("gate").and_then(Value::as_object) else { return };
    let has_condition = gate.iter().any(|(key, value)| match key.as_str() {
        "tags" | "providers" => value.as_object().is_none_or(|rules| {
            rules.values().any(|rule| rule.as_object().is_none_or(|keys| !keys.is_empty()))
        }),
        _ => true,
    });
    if !has_condition {
        let message = "`[gate]` has no condition; write one, such as `pass_rate = 0.9`";
        reader.refuse_key(&At::ROOT.key("gate"), message, "has no effect");
    }
}

/// Reports a `run.memory` that is smaller than the limits of a provider and its largest tool: its attempts would never start.
fn check_memory(root: &Value, reader: &mut Reader<'_>) {
    let Some(memory) = size(root.pointer("/run/memory")) else { return };
    let limit_of = |provider: &Value| {
        size(provider.pointer("/limits/memory")).unwrap_or(Limits::default().memory)
    };
    let callers = all_providers(root).filter(|(table, ..)| *table != "tools");
    let limits = callers.map(|(table, name, provider)| {
        let tools = granted_tools(provider).filter_map(|(_, tool)| root["tools"].get(tool));
        let tool = tools.map(limit_of).max();
        let limit = limit_of(provider).saturating_add(tool.unwrap_or(0));
        (limit, tool.is_some(), table.trim_end_matches('s'), name)
    });
    if let Some((limit, has_tool, noun, name)) = limits.max_by_key(|(limit, ..)| *limit)
        && limit > memory
    {
        let message = format!("no attempt of {noun} `{name}` fits into this memory");
        let with_tool = if has_tool { " with that of its largest tool" } else { "" };
        let at = At::ROOT.key("run");
        reader.refuse(&at.key("memory"), message, "too small").help = Some(format!(
            "its limit{with_tool} is {}: raise `run.memory`, or set `limits.memory` of the {noun}",
            show_size(limit)
        ));
    }
}

/// Reports keys without effect, and what a deterministic run, also one with a journal, cannot repeat.
fn check_deterministic(root: &Value, reader: &mut Reader<'_>) {
    let run = At::ROOT.key("run");
    let switch = |key| root.pointer(&format!("/run/{key}")).and_then(Value::as_bool);
    let [is_deterministic, has_journal] =
        ["deterministic", "journal"].map(|key| switch(key) == Some(true));
    for (key, is_used, needed) in [
        ("clock", is_deterministic || has_journal, "`deterministic = true` or `journal = true`"),
        ("in_flight", has_journal, "`journal = true`"),
        (
            "judge_seed",
            is_deterministic || has_journal,
            "`deterministic = true` or `journal = true`",
        ),
    ] {
        let value = root.pointer(&format!("/run/{key}"));
        // `judge_seed` of another type has an error already.
        if !is_used && value.is_some_and(|value| key != "judge_seed" || value.is_object()) {
            let message = format!("`{key}` has no effect without {needed}");
            reader.refuse_key(&run.key(key), message, "has no effect");
        }
    }
    if !is_deterministic && !has_journal {
        return;
    }
    let without = if has_journal { "run without `journal`" } else { "remove `deterministic`" };
    if has_journal && switch("deterministic") == Some(false) {
        let message = "`journal` needs deterministic attempts";
        let problem = reader.refuse(&run.key("deterministic"), message, "remove it");
        problem.help = Some(format!("or {without}"));
    }
    for (table, name, provider) in all_providers(root) {
        let at = At::ROOT.key(table);
        let at = at.key(name);
        if provider.get("reuse").is_some() {
            let message = "an instance that earlier tests have used is not deterministic";
            let problem = reader.refuse_key(&at.key("reuse"), message, "remove it");
            problem.help = Some(format!("or {without}"));
        }
        let grants = at.key("grants");
        let texts = [at.key("args"), at.key("stdin"), grants.key("env")];
        let values = ["/args", "/stdin", "/grants/env"].map(|path| provider.pointer(path));
        for (at, value) in texts.iter().zip(values) {
            if value.is_some_and(|value| value.to_string().contains("{{run.")) {
                let message = "`{{run.…}}` differs in each run";
                let problem = reader.refuse(at, message, "here");
                problem.help = Some(format!("remove it, or {without}"));
            }
        }
        let at = grants.key("fs");
        let folders = provider.pointer("/grants/fs").and_then(Value::as_array);
        for (index, folder) in folders.into_iter().flatten().enumerate() {
            if folder.get("mode").and_then(Value::as_str) == Some(FsMode::ReadWrite.as_str()) {
                let message = "a folder that attempts change is not deterministic";
                let problem = reader.refuse(&at.index(index).key("mode"), message, "writable");
                problem.help = Some(format!("use `/scratch`, or {without}"));
            }
        }
    }
}

/// Reports a grader's `min_score` that none of its scores reaches.
fn check_scores(grader: &Value, at: &At<'_>, reader: &mut Reader<'_>) {
    let scores = ["min_score", "max_score"].map(|key| grader.get(key).and_then(Value::as_f64));
    if let [Some(min), Some(max)] = scores
        && min > max
    {
        let message = "no score of this grader passes: `min_score` is above `max_score`";
        reader.refuse(&at.key("min_score"), message, "too high");
        reader.add_place(&at.key("max_score"), "the highest score");
    }
}

/// Reports globs of `[prices]` that match nothing, and metrics with two prices.
fn check_prices(root: &Value, reader: &mut Reader<'_>) {
    let names = all_providers(root).filter(|(table, ..)| *table != "tools");
    let names: Vec<_> = names.map(|(_, name, _)| name.as_str()).collect();
    let at = At::ROOT.key("prices");
    let mut priced = HashMap::new();
    for (glob, prices) in root.get("prices").and_then(Value::as_object).into_iter().flatten() {
        let Ok(set) = globs::over_ids(&[glob]) else { continue };
        let own = at.key(glob);
        let unmatched = unmatched_glob(glob, &names).filter(|_| !may_match_missing(glob, reader));
        if let Some((_, help)) = unmatched {
            let message = format!("no provider or grader matches `{glob}`");
            reader.refuse_key(&own, message, "no match").help = Some(help);
        }
        for metric in prices.as_object().into_iter().flat_map(Map::keys) {
            let twice = names.iter().filter(|name| set.is_match(name)).find_map(|name| {
                Some((name, priced.insert((name, metric), glob).filter(|other| *other != glob)?))
            });
            if let Some((name, other)) = twice {
                let message = format!("`{name}` has two prices for `{metric}`");
                reader.refuse_key(&own.key(metric), message, "here");
                reader.add_place(&at.key(other).key(metric), "and here");
            }
        }
    }
}

fn check_ids(tests: &[Value], reader: &mut Reader<'_>) {
    let at = At::ROOT.key("tests");
    let mut seen = HashMap::new();
    for (index, test) in tests.iter().enumerate() {
        let Some(id) = test.get("id").and_then(Value::as_str) else { continue };
        let first = *seen.entry(id).or_insert(index);
        if first != index {
            let message = format!("the id `{id}` is used twice");
            reader.refuse(&at.index(index).key("id"), message, "and again here");
            reader.add_place(&at.index(first).key("id"), "first here");
        }
    }
}

/// Reports globs of a test or list that match no provider.
fn check_provider_globs(table: &Value, names: &[&str], at: &At<'_>, reader: &mut Reader<'_>) {
    let at = at.key("providers");
    for (index, glob) in items(table, "providers").iter().take(MAX_GLOBS).enumerate() {
        let glob = glob.as_str().filter(|glob| !may_match_missing(glob, reader));
        let unmatched = glob.and_then(|glob| unmatched_glob(glob, names));
        if let Some((message, help)) = unmatched.filter(|_| !names.is_empty()) {
            reader.refuse(&at.index(index), message, "no match").help = Some(help);
        }
    }
}

/// Returns whether a glob may match a provider that an invalid matrix has not made.
fn may_match_missing(glob: &str, reader: &Reader<'_>) -> bool {
    let plain = glob.split(['*', '?', '{', '\\']).next().unwrap_or_default();
    reader.missing_names.iter().any(|start| glob.starts_with(start) || start.starts_with(plain))
}

/// Returns a message and a help if a valid glob matches no provider. Invalid ones are reported elsewhere.
pub(crate) fn unmatched_glob(glob: &str, names: &[&str]) -> Option<(String, String)> {
    let matcher = globs::over_ids(&[glob]).ok()?;
    if names.iter().any(|name| matcher.is_match(name)) {
        return None;
    }
    let has_matrix = names
        .iter()
        .any(|name| name.strip_prefix(glob).is_some_and(|values| values.starts_with('[')));
    let help = if has_matrix {
        format!("`{glob}[*]` matches all providers of its matrix")
    } else {
        suggest(glob, names.iter().copied())
    };
    Some((format!("no provider matches `{glob}`"), help))
}
