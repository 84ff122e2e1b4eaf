//! `[vars]`: values that `{{var.NAME}}` stands for, with those of the command line.
//!
//! They replace the placeholders before anything else is read, so all later steps see ordinary values.

use std::collections::BTreeMap;

use runner_model::{SetVars, template::without_filter};
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::reading::{
    Any, At, FILTER_PLACES, FilledText, Form, Named, Reader, Step, TEXT, TableForm, TextPart,
    escape, is_pattern, key_of, parts, read_literal, suggest, text_of, visit_templates,
};

/// Values by name.
pub type Vars = BTreeMap<String, Value>;

pub(crate) const VARS: Named<VarForm> = Named {
    form: VarForm,
    words: "a table",
    refuse: |name| {
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        (!is_name).then(|| "use 1 to 64 letters, digits, `_` and `-`".to_owned())
    },
    pattern: "^[A-Za-z0-9_-]{1,64}$",
    count: (0, 1000),
};

/// A default value, or a table.
pub(crate) struct VarForm;

const VAR: TableForm<Option<Value>> = TableForm("a variable of `[vars]`, as a table", |table| {
    table.optional("description", &TEXT);
    Some(table.optional("default", &Any))
});

impl Form for VarForm {
    type Out = Option<Value>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        match value {
            Value::Object(_) => VAR.read(at, value, reader),
            _ => Some(Some(value.take())),
        }
    }

    fn schema(&self) -> Value {
        let default = json!({"type": ["string", "number", "boolean", "array"]});
        json!({"anyOf": [default, VAR.schema()]})
    }
}

/// Replaces `{{var.NAME}}` everywhere in a scenario by the values of `[vars]`, or by those that are `set` as text or JSON. Returns
/// all values. If any are set, also returns a message for each text in grants that has a variable.
pub(crate) fn fill(
    root: &mut Value,
    set: &SetVars,
    reader: &mut Reader<'_>,
) -> (Vars, Vec<String>) {
    if let Some(table) = root.get_mut("vars") {
        read_literal(table, &At::ROOT.key("vars"), reader);
    }
    let mut table = root.get("vars").cloned().unwrap_or_default();
    let declared = match &mut table {
        Value::Null => Vec::new(),
        table => VARS.read(&At::ROOT.key("vars"), table, reader).unwrap_or_default(),
    };
    let declared: BTreeMap<_, _> = declared.into_iter().collect();
    for name in set.keys().filter(|name| !declared.contains_key(*name)) {
        let problem =
            Problem::new(format!("`--set {name}`: the scenario has no variable `{name}`"));
        let help = match declared.len() {
            0 => format!("declare it in the scenario: `vars = {{ {name} = \"a default\" }}`"),
            _ => suggest(name, declared.keys().map(String::as_str)),
        };
        reader.problems.push(problem.with_help(help));
    }
    let vars = declared.iter().filter_map(|(name, default)| {
        let value = match (set.get(name), default) {
            (None, default) => default.clone()?,
            // Otherwise `--set version=1.10` would be the number 1.1.
            (Some(text), Some(Value::String(_))) => text.as_str().into(),
            (Some(text), _) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        };
        // A key that is `null` would count as missing.
        (!value.is_null()).then(|| (name.clone(), value))
    });
    let vars: Vars = vars.collect();
    let mut granted = Vec::new();
    for (key, value) in root.as_object_mut().into_iter().flatten() {
        let role = ["provider", "grader"].into_iter().find(|role| *key == format!("{role}s"));
        let role = role.filter(|_| !set.is_empty());
        if key != "vars" {
            visit_templates(value, &At::ROOT.key(key), &mut |value, at| {
                let template = role.map(|_| value.clone());
                fill_text(value, at, &vars, &declared, reader);
                if let (Some(role), Some(template)) = (role, template)
                    && template != *value
                    && let [_, Step::Key(name), Step::Key(part), ..] = &*at.path()
                    && part == "grants"
                {
                    granted.push(format!("{role} `{name}` is granted {value}, by {template}"));
                }
            });
        }
    }
    (vars, granted)
}

/// Returns a warning for each value of `--set` that looks like a secret.
pub(crate) fn secret_warnings(set: &SetVars) -> impl Iterator<Item = String> + '_ {
    const WORDS: [&str; 7] =
        ["key", "apikey", "token", "secret", "password", "passwd", "credential"];
    const STARTS: [&str; 7] = ["sk-", "ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "eyJ"];
    let secret = set.iter().filter(|(name, value)| {
        name.to_lowercase().split(['_', '-']).any(|word| WORDS.contains(&word))
            || STARTS.iter().any(|start| value.starts_with(start))
    });
    secret.map(|(name, _)| {
        format!(
            "the value of `--set {name}` is stored with the run and shown; if it is a secret, write `secrets = [\"{name}\"]` into the provider's grants instead"
        )
    })
}

/// Replaces the placeholders of a text. A text that is only one placeholder becomes the value with its type, except where only
/// text is allowed. In a regular expression, other values are literal text without the filter `regex`.
fn fill_text(
    value: &mut Value,
    at: &At<'_>,
    vars: &Vars,
    declared: &BTreeMap<String, Option<Value>>,
    reader: &mut Reader<'_>,
) {
    let Value::String(text) = &*value else { return };
    let path = at.path();
    let texts = ["args", "stdin", "grants", "workspace"];
    let is_text = matches!(path.get(2), Some(Step::Key(key)) if texts.contains(&&**key));
    let mut filled = FilledText::default();
    let parts = parts(text);
    let is_whole = parts.len() == 1;
    for part in parts {
        let name = match part {
            TextPart::Placeholder { path, .. } => key_of(path, "var"),
            TextPart::Text(_) | TextPart::Braces => None,
        };
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            filled.push_part(part);
            continue;
        };
        let filtered = without_filter(name);
        if filtered.is_some() && !is_pattern(&path) {
            reader.refuse(at, FILTER_PLACES, "this template");
            *value = Value::Null;
            return;
        }
        let name = filtered.unwrap_or(name).trim_end();
        let Some(found) = vars.get(name) else {
            let (message, help) = missing(name, declared);
            reader.refuse(at, message, "this template").help = Some(help);
            *value = Value::Null;
            return;
        };
        let mut found = found.clone();
        if is_pattern(&path) && filtered.is_none() && !is_whole {
            found = regex::escape(&text_of(&found)).into();
        }
        if is_whole && (!is_text || found.is_array() || found.is_object()) {
            // Placeholders are read again later. Braces of a value must stay text.
            escape(&mut found);
            *value = found;
            return;
        }
        filled.push_text(&text_of(&found));
    }
    *value = Value::String(filled.into_text());
}

/// Returns message and help about a placeholder without a value.
fn missing(name: &str, declared: &BTreeMap<String, Option<Value>>) -> (String, String) {
    if declared.contains_key(name) {
        let help = format!("set it with `--set {name}=VALUE`, or write a default in `[vars]`");
        return (format!("`var.{name}` has no value"), help);
    }
    let help = match declared.len() {
        0 => format!("declare it: `vars = {{ {name} = \"a default\" }}`"),
        _ => suggest(name, declared.keys().map(String::as_str)),
    };
    (format!("there is no variable `{name}`"), help)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::fill;
    use crate::reading::Reader;

    fn filled(mut root: Value, set: &[(&str, &str)]) -> Result<Value, String> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut reader = Reader::new(&());
        fill(&mut root, &set.collect::<BTreeMap<_, _>>(), &mut reader);
        let problems = reader.problems.iter().map(|problem| problem.message.clone());
        let problems: Vec<_> = problems.collect();
        if problems.is_empty() { Ok(root) } else { Err(problems.join("; ")) }
    }

    fn config(text: &str, set: &[(&str, &str)]) -> Value {
        let vars = json!({"model": "small", "n": 3, "list": [1], "url": {"description": "d"}});
        let root = json!({"vars": vars, "providers": {"p": {"config": {"x": text}}}});
        filled(root, set).unwrap()["providers"]["p"]["config"]["x"].clone()
    }

    #[test]
    fn placeholders_become_their_values() {
        for (text, set, expected) in [
            ("{{var.model}}", None, json!("small")),
            ("{{ var.n }}", None, json!(3)),
            ("{{var.list}}", None, json!([1])),
            ("a{{var.n}}b{{var.model}}", None, json!("a3bsmall")),
            ("{{{{var.n}} {{input.x}} {{ var", None, json!("{{{{var.n}} {{input.x}} {{ var")),
            ("{{var.n}}", Some(("n", "1000")), json!(1000)),
            ("{{var.n}}", Some(("n", "many")), json!("many")),
            ("{{var.model}}", Some(("model", "1.10")), json!("1.10")),
            ("{{var.url}}", Some(("url", "1.5")), json!(1.5)),
            ("{{var.url}}", Some(("url", "{\"a\": 1}")), json!({"a": 1})),
            ("{{var.model}}", Some(("model", "{{x")), json!("{{{{x")),
        ] {
            assert_eq!(config(text, set.as_slice()), expected, "{text}");
        }
    }

    #[test]
    fn arguments_are_texts() {
        let root = json!({
            "vars": {"n": 3, "all": ["a", "b"]},
            "providers": {"p": {"args": ["{{var.n}}", "-{{var.n}}"]}, "q": {"args": "{{var.all}}"}},
            "tests": [{"repeat": "{{var.n}}", "input": "{{var.n}} {{var.all}}"}],
        });
        let root = filled(root, &[]).unwrap();
        assert_eq!(root["providers"]["p"]["args"], json!(["3", "-3"]));
        assert_eq!(root["providers"]["q"]["args"], json!(["a", "b"]));
        assert_eq!(root["tests"][0], json!({"repeat": 3, "input": "3 [\"a\",\"b\"]"}));
    }

    #[test]
    fn values_are_no_templates() {
        let root = json!({"vars": {"x": "{{{{input}}"}, "tests": [{"input": "a {{var.x}}"}]});
        assert_eq!(filled(root, &[]).unwrap()["tests"][0]["input"], json!("a {{{{input}}"));
    }

    #[test]
    fn values_are_literal_within_expressions() {
        for (text, expected) in [
            ("{{var.x}}", "a.*|{{{{"),
            ("{{ var.x|regex }}", "a.*|{{{{"),
            ("^{{var.x}}$", r"^a\.\*\|\{\{$"),
            ("^({{var.x|regex}}){{var.x | regex}}", "^(a.*|{{{{)a.*|{{{{"),
            ("{{var.n}}!", r"1\.5!"),
        ] {
            let root = json!({
                "vars": {"x": "a.*|{{{{", "n": 1.5},
                "tests": [{"expect": {"matches": text, "stderr": {"matches": text, "not": {"matches": text}}, "json": {"matches": "x{{var.x}}"}}}],
                "test_lists": [{"expect": {"matches": text}}],
            });
            let root = filled(root, &[]).unwrap();
            let expect = &root["tests"][0]["expect"];
            assert_eq!(expect["matches"], expected, "{text}");
            assert_eq!(expect["stderr"]["matches"], expected, "{text}");
            assert_eq!(expect["stderr"]["not"]["matches"], expected, "{text}");
            assert_eq!(root["test_lists"][0]["expect"]["matches"], expected, "{text}");
            assert_eq!(expect["json"]["matches"], "xa.*|{{{{");
        }
        let root = json!({"vars": {"x": "a"}, "tests": [{"input": "{{var.x|regex}}"}]});
        assert!(filled(root, &[]).unwrap_err().contains("only for `matches`"));
    }

    #[test]
    fn unknown_and_missing_values_are_refused() {
        let root = |text| json!({"vars": {"url": {}}, "tests": [{"input": text}]});
        for (text, set, expected) in [
            ("{{var.url}}", &[][..], "`var.url` has no value"),
            ("{{var.utl}}", &[("url", "x")], "there is no variable `utl`"),
            ("x", &[("ulr", "x")], "`--set ulr`: the scenario has no variable `ulr`"),
        ] {
            assert_eq!(filled(root(text), set).unwrap_err(), expected);
        }
    }
}
