//! Values with templates: [`TemplateValue`], and texts that only look like templates.

use runner_model::template::{MissingKey, Template, TemplateError, TemplatePiece, find};
use serde_json::Value;

use crate::reading::{At, LIST_ROOTS, Reader};

/// A value in which every string may be a template.
#[derive(Clone, Debug)]
pub(crate) enum TemplateValue {
    /// A value without templates.
    Constant(Value),
    Text(Template),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl TemplateValue {
    /// Parses all strings in `value` that contain `{{`.
    pub(crate) fn parse(value: &Value) -> Result<Self, TemplateError> {
        match value {
            Value::String(text) if text.contains("{{") => Template::parse(text).map(Self::Text),
            Value::Array(items) => {
                items.iter().map(Self::parse).collect::<Result<_, _>>().map(Self::List)
            }
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| Ok((key.clone(), Self::parse(value)?)))
                .collect::<Result<_, _>>()
                .map(Self::Table),
            constant => Ok(Self::Constant(constant.clone())),
        }
    }

    /// Returns the value as it was written.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Constant(value) => value,
            Self::Text(template) => Value::String(template.to_string()),
            Self::List(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Table(entries) => {
                entries.into_iter().map(|(key, value)| (key, value.into_value())).collect()
            }
        }
    }

    /// Returns whether any string has a placeholder.
    pub(crate) fn is_template(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(template) => {
                template.pieces().iter().any(|piece| matches!(piece, TemplatePiece::Path(_)))
            }
            Self::List(items) => items.iter().any(Self::is_template),
            Self::Table(entries) => entries.iter().any(|(_, value)| value.is_template()),
        }
    }

    /// Renders all templates. A text that is only one placeholder keeps the type of its value.
    pub(crate) fn render(&self, roots: &[(&str, &Value)]) -> Result<Value, MissingKey> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Text(template) => match template.pieces() {
                [TemplatePiece::Path(path)] => find(roots, path).cloned(),
                _ => template.render_text(roots).map(Value::String),
            },
            Self::List(items) => items.iter().map(|item| item.render(roots)).collect(),
            Self::Table(entries) => {
                entries.iter().map(|(key, value)| Ok((key.clone(), value.render(roots)?))).collect()
            }
        }
    }
}

/// Visits every string that contains `{{`.
pub(crate) fn visit_templates(
    value: &mut Value,
    at: &At<'_>,
    visit: &mut dyn FnMut(&mut Value, &At<'_>),
) {
    match value {
        Value::String(text) if text.contains("{{") => visit(value, at),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                visit_templates(item, &at.index(index), visit);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                visit_templates(value, &at.key(key), visit);
            }
        }
        _ => {}
    }
}

/// Converts texts of tests and lists that no record fills: `{{{{` becomes `{{`. Reports placeholders of records.
pub(crate) fn read_literals(root: &mut Value, reader: &mut Reader<'_>) {
    const FILLED: [&str; 5] = ["id", "input", "expect", "reference", "meta"];
    let mut read = |value: &mut Value, at: &At<'_>| {
        visit_templates(value, at, &mut |value, at| {
            let read = value.as_str().map(literal);
            match read {
                Some(Ok(text)) => *value = Value::String(text),
                Some(Err(path)) => {
                    let message = format!(
                        "`{{{{{path}}}}}` has a value only in `id`, `input`, `expect`, `reference` and `meta` of a test list"
                    );
                    let help = format!("for the text itself, write `{{{{{{{{{path}}}}}`");
                    reader.refuse(at, message, "this template").help = Some(help);
                }
                None => {}
            }
        });
    };
    for key in ["defaults", "tests"] {
        if let Some(value) = root.get_mut(key) {
            read(value, &At::ROOT.key(key));
        }
    }
    let at = At::ROOT.key("test_lists");
    let lists = root.get_mut("test_lists").and_then(Value::as_array_mut);
    for (index, list) in lists.into_iter().flatten().enumerate() {
        let at = at.index(index);
        for (key, value) in list.as_object_mut().into_iter().flatten() {
            if !FILLED.contains(&key.as_str()) {
                read(value, &at.key(key));
            }
        }
    }
}

/// Returns the text of a string. Placeholders of other roots stay: a provider or the host may fill them.
///
/// # Errors
///
/// The path of a placeholder that only records of test lists fill.
fn literal(text: &str) -> Result<String, String> {
    let (mut literal, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        literal.push_str(before);
        literal.push_str("{{");
        rest = after.strip_prefix("{{").unwrap_or(after);
        if rest.len() == after.len()
            && let Some((path, _)) = after.split_once("}}")
            && LIST_ROOTS.contains(&path.trim().split('.').next().unwrap_or_default())
        {
            return Err(path.trim().to_owned());
        }
    }
    Ok(literal + rest)
}

#[cfg(test)]
mod tests {
    use runner_model::template::MissingKey;
    use serde_json::{Value, json};

    use super::{TemplateValue, literal};

    fn value(template: &str) -> Result<Value, MissingKey> {
        let row = json!({"n": 1, "s": "x", "deep": {"list": [10, {"k": true}]}});
        TemplateValue::parse(&json!(template)).unwrap().render(&[("row", &row)])
    }

    #[test]
    fn a_template_that_is_one_path_keeps_the_type() {
        assert_eq!(value("{{row.n}}"), Ok(json!(1)));
        assert_eq!(value("{{ row.deep.list.1.k }}"), Ok(json!(true)));
        assert_eq!(value("{{row.n}} "), Ok(json!("1 ")));
        assert_eq!(value("{{{{row.n}}"), Ok(json!("{{row.n}}")));
    }

    #[test]
    fn four_braces_are_the_text_of_two() {
        for (text, expected) in [
            ("Bearer {{secret.KEY}} {{ x", "Bearer {{secret.KEY}} {{ x"),
            ("{{{{row.x}} {{{{{", "{{row.x}} {{{"),
            ("{{row", "{{row"),
            ("{{rows}}", "{{rows}}"),
        ] {
            assert_eq!(literal(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["a {{row.x}}", "{{ file.name }}", "{{row_number}}", "{{{{{{row}}"] {
            assert!(literal(text).is_err(), "{text}");
        }
    }
}
