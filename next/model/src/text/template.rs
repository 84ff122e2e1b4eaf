//! [`Template`]: a text with paths such as `{{a.b.c}}`.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::enum_text::as_text;

/// A text in which paths such as `{{root.key.0}}` are replaced by values. It has no logic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<TemplatePiece>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePiece {
    Text(String),
    /// The path of a value: the root, then keys and indexes. Never empty.
    Path(Vec<String>),
}

/// The reason why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is never closed by `}}}}`")]
    Unclosed,
    /// The text between the braces is not a path of keys.
    #[error("`{{{{{0}}}}}` is not a path of keys such as `{{{{row.name}}}}`")]
    Path(String),
    /// A root that has no value in this place.
    #[error("`{{{{{path}}}}}` begins with `{root}`, which has no value here; there is {known}")]
    Root { path: String, root: String, known: String },
}

/// A path without a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no `{0}`")]
pub struct MissingKey(pub String);

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (path, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            if !before.is_empty() {
                pieces.push(TemplatePiece::Text(before.to_owned()));
            }
            pieces.push(TemplatePiece::Path(parse_path(path)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(TemplatePiece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    pub fn pieces(&self) -> &[TemplatePiece] {
        &self.pieces
    }

    /// Checks that all paths start with one of `roots`.
    pub fn check_roots(&self, roots: &[&str]) -> Result<(), TemplateError> {
        for piece in &self.pieces {
            if let TemplatePiece::Path(path) = piece
                && !roots.contains(&path[0].as_str())
            {
                let known: Vec<_> = roots.iter().map(|root| format!("`{root}`")).collect();
                return Err(TemplateError::Root {
                    path: path.join("."),
                    root: path[0].clone(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Returns the further keys of each path that starts with `root`: `["API_KEY"]` for `{{secret.API_KEY}}`.
    pub fn keys_of<'a>(&'a self, root: &'a str) -> impl Iterator<Item = &'a [String]> {
        self.pieces.iter().filter_map(move |piece| match piece {
            TemplatePiece::Path(path) => {
                path.split_first().filter(|(first, _)| *first == root).map(|(_, keys)| keys)
            }
            TemplatePiece::Text(_) => None,
        })
    }

    /// Renders the template. The result is a text, but for a single path without other text it is the path's value.
    pub fn render_value(&self, roots: &[(&str, &Value)]) -> Result<Value, MissingKey> {
        match self.pieces.as_slice() {
            [TemplatePiece::Path(path)] => find(roots, path).cloned(),
            _ => self.render_text(roots).map(Value::String),
        }
    }

    /// Renders the template as text. Values that are not strings are inserted as JSON.
    pub fn render_text(&self, roots: &[(&str, &Value)]) -> Result<String, MissingKey> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Text(literal) => text.push_str(literal),
                TemplatePiece::Path(path) => match find(roots, path)? {
                    Value::String(string) => text.push_str(string),
                    other => text.push_str(&other.to_string()),
                },
            }
        }
        Ok(text)
    }
}

/// Writes the source without white space inside the braces.
impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            TemplatePiece::Text(text) => formatter.write_str(text),
            TemplatePiece::Path(path) => write!(formatter, "{{{{{}}}}}", path.join(".")),
        })
    }
}

/// A value in which every string is a template.
#[derive(Clone, Debug)]
pub enum TemplateValue {
    /// A value without templates.
    Constant(Value),
    Text(Template),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl TemplateValue {
    /// Parses all strings in `value` that contain `{{`.
    pub fn parse(value: &Value) -> Result<Self, TemplateError> {
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

    /// Returns whether any string is a template.
    pub fn is_template(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(_) => true,
            Self::List(items) => items.iter().any(Self::is_template),
            Self::Table(entries) => entries.iter().any(|(_, shape)| shape.is_template()),
        }
    }

    /// Renders all templates.
    pub fn render(&self, roots: &[(&str, &Value)]) -> Result<Value, MissingKey> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Text(template) => template.render_value(roots),
            Self::List(items) => items.iter().map(|item| item.render(roots)).collect(),
            Self::Table(entries) => {
                entries.iter().map(|(key, shape)| Ok((key.clone(), shape.render(roots)?))).collect()
            }
        }
    }
}

as_text!(Template, Template::parse);

fn parse_path(text: &str) -> Result<Vec<String>, TemplateError> {
    let keys: Vec<String> = text.trim().split('.').map(str::to_owned).collect();
    let is_key = |key: &String| {
        !key.is_empty()
            && !key.contains(|character: char| {
                "{}\"'|".contains(character) || character.is_whitespace()
            })
    };
    if keys.iter().all(is_key) { Ok(keys) } else { Err(TemplateError::Path(text.to_owned())) }
}

fn find<'a>(roots: &[(&str, &'a Value)], path: &[String]) -> Result<&'a Value, MissingKey> {
    let missing = || MissingKey(path.join("."));
    let (root, keys) = path.split_first().ok_or_else(missing)?;
    let (_, start) = roots.iter().find(|(name, _)| name == root).ok_or_else(missing)?;
    lookup(start, keys).ok_or_else(missing)
}

/// Returns the value at a path of keys and indexes.
pub fn lookup<'a>(value: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MissingKey, Template, TemplateError};

    fn value(template: &str) -> Result<Value, MissingKey> {
        let row = json!({"n": 1, "s": "x", "deep": {"list": [10, {"k": true}]}});
        Template::parse(template).unwrap().render_value(&[("row", &row)])
    }

    #[test]
    fn a_template_that_is_one_path_keeps_the_type() {
        assert_eq!(value("{{row.n}}"), Ok(json!(1)));
        assert_eq!(value("{{ row.deep.list.1.k }}"), Ok(json!(true)));
        assert_eq!(value("{{row.n}} "), Ok(json!("1 ")));
        assert_eq!(value("a{{row.s}}-{{row.deep}}"), Ok(json!("ax-{\"list\":[10,{\"k\":true}]}")));
        assert_eq!(value("plain } text"), Ok(json!("plain } text")));
    }

    #[test]
    fn path_without_a_value_is_named() {
        assert_eq!(value("{{row.deep.list.2}}"), Err(MissingKey("row.deep.list.2".into())));
        assert_eq!(value("{{other}}"), Err(MissingKey("other".into())));
    }

    #[test]
    fn invalid_paths_are_refused() {
        assert_eq!(Template::parse("a {{row"), Err(TemplateError::Unclosed));
        for bad in ["{{}}", "{{a..b}}", "{{a b}}", "{{a | upper}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_roots_are_refused() {
        let template = Template::parse("{{env.HOME}}").unwrap();
        assert!(template.check_roots(&["row", "file"]).is_err());
        assert!(template.check_roots(&["env"]).is_ok());
    }
}
