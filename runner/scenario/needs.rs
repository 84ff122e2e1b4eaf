//! What the templates of a scenario take from its tests, so that what a test lacks is found before anything runs.

use serde_json::{Map, Value};

use super::{
    Template,
    check::{self, At, FormError, Part, kind},
    keys, settings,
    source::RecordRefusal,
    template::lookup,
};

const NUL: &str = "neither an argument nor a variable can have a NUL in it";

/// What one key of a provider takes from every test that runs on it.
#[derive(Clone, Debug)]
pub(super) struct TestNeed {
    /// Which provider's key it is, such as `args[0]` of provider `p`, and where.
    whose: String,
    what: NeededValue,
}

#[derive(Clone, Debug)]
enum NeededValue {
    /// A value behind these keys of the input.
    Input { keys: Vec<String>, takes_nul: bool },
    /// An attachment.
    File(String),
}

/// A key of a provider that is filled in for each attempt.
enum Filled<'a> {
    Text { text: &'a str, takes_nul: bool },
    File(&'a str),
}

/// Finds what each of the named providers takes from its tests; `place_of` tells where something stands, as
/// `scenario.toml:7`.
pub(super) fn of_providers(
    scenario: &Map<String, Value>,
    names: &[&str],
    place_of: &mut dyn FnMut(&At<'_>) -> String,
) -> Vec<Vec<TestNeed>> {
    let root = At::ROOT;
    let at = root.key("providers");
    let table = |name: &str| scenario.get("providers")?.get(name)?.as_object();
    let tables = names.iter().filter_map(|name| Some((*name, table(name)?)));
    tables
        .map(|(name, table)| of_provider(name, table, &at.key(name), place_of))
        .collect()
}

fn of_provider(
    name: &str,
    table: &Map<String, Value>,
    at: &At<'_>,
    place_of: &mut dyn FnMut(&At<'_>) -> String,
) -> Vec<TestNeed> {
    let mut needs = Vec::new();
    each_filled(table, at, &mut |at, filled| {
        // Behind `providers` and the name.
        let key = check::show(&at.path()[2..]);
        let whose = format!("`{key}` of provider `{name}` ({})", place_of(at));
        let mut add = |what| {
            let whose = whose.clone();
            needs.push(TestNeed { whose, what });
        };
        match filled {
            Filled::File(file) => add(NeededValue::File(file.to_owned())),
            Filled::Text { text, takes_nul } => {
                let template = Template::parse(text).ok();
                for keys in template
                    .iter()
                    .flat_map(|template| template.keys_of("input"))
                {
                    let keys = keys.to_vec();
                    add(NeededValue::Input { keys, takes_nul });
                }
            }
        }
    });
    needs
}

/// Reports what templates of a scenario want and will never have, whatever its tests are.
pub(super) fn check(scenario: &Map<String, Value>, findings: &mut Vec<FormError>) {
    let root = At::ROOT;
    for (group, who) in [
        ("providers", "the provider has"),
        ("graders", "the grader has"),
    ] {
        let at = root.key(group);
        let tables = scenario.get(group).and_then(Value::as_object);
        for (name, table) in tables.into_iter().flatten() {
            if let Some(table) = table.as_object() {
                check_config(table, who, &at.key(name), findings);
            }
        }
    }
    let at = root.key("test_lists");
    let lists = scenario.get("test_lists").and_then(Value::as_array);
    for (index, list) in lists.into_iter().flatten().enumerate() {
        let at = at.index(index);
        for key in ["id", "input", "reference", "expect"] {
            if let Some(value) = list.get(key) {
                check_texts(value, &at.key(key), findings);
            }
        }
    }
}

/// Looks for what the own configuration of whoever has it does not have, and for what can stand in no argument.
fn check_config(
    table: &Map<String, Value>,
    who_has: &str,
    at: &At<'_>,
    findings: &mut Vec<FormError>,
) {
    let nothing = Value::Object(Map::new());
    let config = table.get("config").unwrap_or(&nothing);
    each_filled(table, at, &mut |at, filled| {
        let Filled::Text { text, takes_nul } = filled else {
            return;
        };
        let mut report = |refusal: RecordRefusal| {
            let mut finding = at.finding(Part::Value, refusal.message, "this template");
            finding.help = refusal.help;
            findings.push(finding);
        };
        if text.contains('\0') && !takes_nul {
            report(NUL.to_owned().into());
        }
        let template = Template::parse(text).ok();
        for keys in template
            .iter()
            .flat_map(|template| template.keys_of("config"))
        {
            match lookup(config, keys) {
                None => report(missing("config", config, keys, who_has)),
                Some(value) if has_nul(value) && !takes_nul => {
                    report(format!("{NUL}: `{}` has one", path("config", keys)).into());
                }
                Some(_) => {}
            }
        }
    });
}

/// Looks through the templates of a test list for what no record will ever have.
fn check_texts(value: &Value, at: &At<'_>, findings: &mut Vec<FormError>) {
    match value {
        Value::String(text) => {
            let template = Template::parse(text).ok();
            let unknown = template.iter().flat_map(unknown_keys);
            findings.extend(unknown.map(|(message, help)| {
                let mut finding = at.finding(Part::Value, message, "this template");
                finding.help = Some(help);
                finding
            }));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_texts(item, &at.index(index), findings);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                check_texts(value, &at.key(key), findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The paths of a list's template that lead nowhere whatever the record is, each with what to do.
fn unknown_keys(template: &Template) -> Vec<(String, String)> {
    let of_file = template.keys_of("file").filter_map(|keys| match keys {
        [] => None,
        [key] if keys::FILE_KEYS.contains(&key.as_str()) => None,
        keys => Some((
            format!("there is no `{}`", path("file", keys)),
            check::suggest(&keys[0], keys::FILE_KEYS),
        )),
    });
    let of_number = template.keys_of("row_number").filter_map(|keys| {
        let message = format!("there is no `{}`", path("row_number", keys));
        (!keys.is_empty()).then(|| (message, "`row_number` is a number".to_owned()))
    });
    of_file.chain(of_number).collect()
}

impl TestNeed {
    /// Tells what a test with this input and these attachments lacks, if it does.
    pub(super) fn lack(
        &self,
        test: &str,
        input: &Value,
        files: &Map<String, Value>,
    ) -> Option<RecordRefusal> {
        let Self { whose, what } = self;
        match what {
            NeededValue::File(name) if files.contains_key(name) => None,
            NeededValue::File(name) => {
                let known: Vec<_> = files.keys().map(String::as_str).collect();
                Some(RecordRefusal {
                    message: format!(
                        "test `{test}` has no attachment `{name}`, which {whose} needs"
                    ),
                    help: (!known.is_empty()).then(|| check::suggest(name, &known)),
                })
            }
            NeededValue::Input { keys, takes_nul } => match lookup(input, keys) {
                None => {
                    let mut refusal = missing("input", input, keys, &format!("test `{test}` has"));
                    refusal.message += &format!(", which {whose} needs");
                    Some(refusal)
                }
                Some(value) if !takes_nul && has_nul(value) => {
                    let path = path("input", keys);
                    let message =
                        format!("test `{test}` has a NUL in `{path}`, which {whose} cannot have");
                    Some(message.into())
                }
                Some(_) => None,
            },
        }
    }
}

/// Says that `keys` lead nowhere in `value`, and how far they led.
fn missing(root: &str, value: &Value, keys: &[String], who_has: &str) -> RecordRefusal {
    let there = (0..keys.len())
        .rev()
        .find_map(|length| Some((length, lookup(value, &keys[..length])?)));
    let (length, found) = there.unwrap_or((0, value));
    let place = path(root, &keys[..length]);
    let help = match found {
        Value::Object(map) if !map.is_empty() => {
            let known: Vec<_> = map.keys().map(String::as_str).collect();
            Some(check::suggest(&keys[length], &known))
        }
        Value::Object(_) | Value::Null => None,
        Value::Array(items) => Some(match items.len() {
            0 => format!("`{place}` has no elements"),
            1 => format!("`{place}` has one element, `{{{{{place}.0}}}}`"),
            count => {
                format!("`{place}` has {count} elements, and the first is `{{{{{place}.0}}}}`")
            }
        }),
        other => Some(format!("`{place}` is {}, with nothing inside", kind(other))),
    };
    RecordRefusal {
        message: format!("{who_has} no `{}`", path(root, keys)),
        help,
    }
}

fn has_nul(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains('\0'))
}

fn path(root: &str, keys: &[String]) -> String {
    let mut path = root.to_owned();
    for key in keys {
        path.extend([".", key]);
    }
    path
}

/// Visits every key of a provider that is filled in for each attempt.
fn each_filled(
    table: &Map<String, Value>,
    at: &At<'_>,
    visit: &mut dyn FnMut(&At<'_>, Filled<'_>),
) {
    let args = at.key("args");
    for (index, text) in settings::strings(table, "args").enumerate() {
        let takes_nul = false;
        visit(&args.index(index), Filled::Text { text, takes_nul });
    }
    let stdin = at.key("stdin");
    match table.get("stdin") {
        Some(Value::String(text)) => {
            let takes_nul = true;
            visit(&stdin, Filled::Text { text, takes_nul });
        }
        Some(Value::Object(table)) => {
            if let Some(Value::String(file)) = table.get("file") {
                visit(&stdin.key("file"), Filled::File(file));
            }
        }
        _ => {}
    }
    let grants = at.key("grants");
    let at = grants.key("env");
    let env = table.get("grants").and_then(|grants| grants.get("env"));
    for (name, value) in env.and_then(Value::as_object).into_iter().flatten() {
        if let Some(text) = value.as_str() {
            let takes_nul = false;
            visit(&at.key(name), Filled::Text { text, takes_nul });
        }
    }
}
