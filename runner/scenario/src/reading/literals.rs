//! Texts of a scenario that are not templates.

use runner_model::{grants::is_secret_name, visible};
use serde_json::{Map, Value};

use super::placeholders::{MAX_SHOWN, TextPart, escape_help, key_of, parts, places_of};
use crate::reading::{At, Reader, Step};

/// Converts all texts of a scenario that are not templates: `{{{{` becomes `{{`. Reports placeholders of the runner, which
/// would reach providers as text. Placeholders of other template languages stay.
///
/// `[vars]` is converted before its values are inserted, and the matrix of a provider too.
pub(crate) fn read_literals(root: &mut Value, reader: &mut Reader<'_>) {
    for (key, value) in root.as_object_mut().into_iter().flatten() {
        if key != "vars" {
            read_literal(value, &At::ROOT.key(key), reader);
        }
    }
}

/// Converts a value within a scenario as [`read_literals`] does.
pub(crate) fn read_literal(value: &mut Value, at: &At<'_>, reader: &mut Reader<'_>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            let path = at.path();
            let allows_secrets = match place_of(&path) {
                TextPlace::Template => return,
                TextPlace::Literal { allows_secrets } => allows_secrets,
            };
            let is_variable = path.first() == Some(&Step::Key("vars".to_owned()));
            match literal(text, allows_secrets) {
                Ok(text) => *value = text.into(),
                Err((path, places)) => {
                    let places = reader.no_placeholders.unwrap_or(places);
                    let message = format!("`{{{{{path}}}}}` {places}");
                    reader.refuse(at, message, "this template").help = Some(escape_help(&path));
                    // A null is not reported again. A variable without a value would be.
                    if !is_variable {
                        *value = Value::Null;
                    }
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                read_literal(item, &at.index(index), reader);
            }
        }
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                read_literal(value, &at.key(key), reader);
            }
            if map.keys().any(|key| key.contains("{{")) {
                let entries = std::mem::take(map).into_iter();
                let entries = entries.map(|(key, value)| (read_key(key, at, reader), value));
                *map = entries.collect::<Map<_, _>>();
            }
        }
        _ => {}
    }
}

/// Converts a key, in which no placeholder is replaced.
fn read_key(key: String, at: &At<'_>, reader: &mut Reader<'_>) -> String {
    match literal(&key, false) {
        Ok(literal) => literal,
        Err((path, _)) => {
            let message = format!("`{{{{{path}}}}}` is in a key: only values have placeholders");
            reader.refuse_key(&at.key(&key), message, "this key").help = Some(escape_help(&path));
            key
        }
    }
}

/// The way in which a text of a scenario is read.
enum TextPlace {
    Template,
    Literal { allows_secrets: bool },
}

fn place_of(path: &[Step]) -> TextPlace {
    let key = |index: usize| match path.get(index) {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    let is_template = match (key(0), key(2)) {
        ("providers" | "graders" | "tools", "args") => true,
        // A table has the name of an attachment.
        ("providers" | "graders" | "tools", "stdin") => path.len() == 3,
        ("providers" | "graders" | "tools", "grants") => key(3) == "env",
        ("providers", "workspace") => key(3) == "from",
        ("graders", "input" | "hidden") => true,
        ("test_lists", field) => ["id", "input", "expect", "reference", "meta"].contains(&field),
        _ => false,
    };
    if is_template {
        return TextPlace::Template;
    }
    let allows_secrets = match (key(0), key(2)) {
        ("providers" | "graders" | "tools", field) => ["config", "matrix"].contains(&field),
        ("tests", field) => field == "input",
        (table, _) => table == "vars",
    };
    TextPlace::Literal { allows_secrets }
}

/// Returns the text of a string.
///
/// # Errors
///
/// The path of a placeholder that has no value here, and the end of a message about its places.
fn literal(text: &str, allows_secrets: bool) -> Result<String, (String, &'static str)> {
    let mut literal = String::with_capacity(text.len());
    for part in parts(text) {
        literal.push_str(match part {
            TextPart::Text(text) => text,
            TextPart::Braces => "{{",
            TextPart::Placeholder { source, path } => {
                let is_secret =
                    allows_secrets && key_of(path, "secret").is_some_and(is_secret_name);
                if let Some(places) = places_of(path).filter(|_| !is_secret) {
                    return Err((visible::cut(path.trim(), MAX_SHOWN), places));
                }
                source
            }
        });
    }
    Ok(literal)
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn four_braces_are_the_text_of_two() {
        for (text, expected) in [
            ("Bearer {{secret.KEY}} {{ x", "Bearer {{secret.KEY}} {{ x"),
            ("{{{{row.x}} {{{{{", "{{row.x}} {{{"),
            ("{{{{{row.x}}}", "{{{row.x}}}"),
            ("{{row", "{{row"),
        ] {
            assert_eq!(literal(text, true).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn placeholders_of_other_languages_are_text() {
        for text in [
            "{{rows}} {{question}} {{ messages[0]['content'] }} {{#row}}{{/row}} {{}}",
            "{% for message in messages %}{{ message.content | trim }}{% endfor %}",
            "{{inputs.x}} {{ my.row }} {{'row'}} {{ input, 1}, {2}} {{> test}} {{ env() }}",
        ] {
            assert_eq!(literal(text, false).as_deref(), Ok(text));
        }
    }

    #[test]
    fn placeholders_of_the_runner_are_refused() {
        let paths = "row.x|row|row_number|file.stem|var|var.x.y|vars.x|matrix.x|input|input.x|config.x|output|output.x|\
                     reference|metrics.tokens|test|provider|run.id|trial.id|env.HOME|secret.KEY";
        for path in paths.split('|') {
            for text in [
                format!("a {{{{{path}}}}}"),
                format!("{{{{ {path} }}}} {{{{{{{{"),
                format!("{{{{{{{{{{{{{path}}}}}"),
                format!("{{{{{{{path}}}}}}}"),
                format!("{{{{- {path} -}}}}"),
                format!("{{{{{path} | upper}}}}"),
                format!("{{{{ {path}[\"x\"] }}}}"),
                format!("{{{{ x {{{{{path}}}}}"),
            ] {
                assert!(literal(&text, false).is_err(), "{text}");
            }
        }
        assert!(literal("{{secret.KEY}}", true).is_ok());
        for text in ["{{secret.KEY | upper}}", "{{secret}}", "{{secret.KEY}} {{output}}"] {
            assert!(literal(text, true).is_err(), "{text}");
        }
    }
}
