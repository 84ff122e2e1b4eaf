//! Values with templates: [`TemplateValue`].

use std::fmt;

use runner_model::template::{MissingKey, Template, TemplateError, find};
use serde_json::Value;

use crate::reading::At;

/// A value in which every string may be a template.
#[derive(Clone, Debug)]
pub(crate) enum TemplateValue {
    /// A value without templates.
    Constant(Value),
    Text(Template),
    /// A regular expression.
    Pattern(Template),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

/// The reason why a placeholder of a test list has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RenderError {
    Missing(MissingKey),
    /// The path of an empty text in a regular expression.
    Empty(String),
}

impl From<MissingKey> for RenderError {
    fn from(missing: MissingKey) -> Self {
        Self::Missing(missing)
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(formatter),
            Self::Empty(path) => write!(
                formatter,
                "`{path}` is empty, and its regular expression would match more than it should"
            ),
        }
    }
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

    /// Returns the value, which is an `expect`, with its regular expressions.
    pub(crate) fn with_patterns(self) -> Self {
        let Self::Table(entries) = self else { return self };
        let entries = entries.into_iter().map(|(key, value)| {
            let value = match (key.as_str(), value) {
                ("matches", Self::Text(template)) => Self::Pattern(template),
                ("stderr" | "not", value) => value.with_patterns(),
                (_, value) => value,
            };
            (key, value)
        });
        Self::Table(entries.collect())
    }

    /// Returns the value as it was written.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Constant(value) => value,
            Self::Text(template) | Self::Pattern(template) => Value::String(template.to_string()),
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
            Self::Text(template) | Self::Pattern(template) => template.paths().next().is_some(),
            Self::List(items) => items.iter().any(Self::is_template),
            Self::Table(entries) => entries.iter().any(|(_, value)| value.is_template()),
        }
    }

    /// Returns whether a placeholder inserts this key of the record, or the whole record.
    pub(crate) fn uses_row(&self, key: &str) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(template) | Self::Pattern(template) => {
                template.keys_of("row").any(|keys| keys.first().is_none_or(|first| first == key))
            }
            Self::List(items) => items.iter().any(|item| item.uses_row(key)),
            Self::Table(entries) => entries.iter().any(|(_, value)| value.uses_row(key)),
        }
    }

    /// Renders all templates. A text that is only one placeholder keeps the type of its value.
    pub(crate) fn render(&self, roots: &[(&str, &Value)]) -> Result<Value, RenderError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Text(template) => match template.only_path() {
                Some(path) => Ok(find(roots, path)?.clone()),
                None => Ok(Value::String(template.render_text(roots)?)),
            },
            Self::Pattern(template) => match template.only_path() {
                Some(path) => Ok(find(roots, path)?.clone()),
                None => {
                    let is_empty =
                        |path: &&[String]| find(roots, path).is_ok_and(|value| value == "");
                    // `{{row.answer}}$` without an answer would match every output.
                    match template.paths().find(is_empty) {
                        Some(path) => Err(RenderError::Empty(path.join("."))),
                        None => Ok(Value::String(template.render_pattern(roots, regex::escape)?)),
                    }
                }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{RenderError, TemplateValue};

    fn value(template: &str) -> Result<Value, RenderError> {
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
    fn values_are_literal_within_expressions() {
        let row = json!({"price": "29.00", "n": 1.5, "p": "a|b"});
        for (template, expected) in [
            ("{{row.price}}", "29.00"),
            ("{{row.p|regex}}", "a|b"),
            ("#### {{row.price}}$", r"#### 29\.00$"),
            ("^{{row.p}}({{ row.p | regex }}){{row.n}}", r"^a\|b(a|b)1\.5"),
        ] {
            let expect = json!({
                "matches": template, "stderr": {"matches": template, "contains": "{{row.p}}!"}, "json": {"matches": "{{row.p}}!"},
                "not": {"matches": template},
            });
            let value = TemplateValue::parse(&expect).unwrap().with_patterns();
            let json = json!({"matches": "a|b!"});
            let stderr = json!({"matches": expected, "contains": "a|b!"});
            let rendered = value.render(&[("row", &row)]).unwrap();
            let not = json!({"matches": expected});
            let all = json!({"matches": expected, "stderr": stderr, "json": json, "not": not});
            assert_eq!(rendered, all);
        }
    }
}
