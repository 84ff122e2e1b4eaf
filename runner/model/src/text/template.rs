//! [`Template`]: a text with paths such as `{{a.b.c}}`.

use std::{borrow::Cow, fmt};

use serde_json::Value;
use thiserror::Error;

use crate::enum_text::as_text;

/// A text in which paths such as `{{root.key.0}}` are replaced by values. `{{{{` is the text `{{`. It has no logic.
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
    /// The path of a value that is a part of a regular expression, as in `{{row.x|regex}}`.
    Expression(Vec<String>),
}

/// The reason why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is never closed by `}}}}`; the text `{{{{` is written `{{{{{{{{`")]
    Unclosed,
    /// The text between the braces is not a path of keys.
    #[error(
        "`{{{{{0}}}}}` is not a path of keys such as `{{{{row.name}}}}`; the text `{{{{` is written `{{{{{{{{`"
    )]
    Path(String),
    /// A root that has no value in this place.
    #[error("`{{{{{path}}}}}` starts with `{root}`, which has no value here; use {known}")]
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
            if !before.is_empty() {
                pieces.push(TemplatePiece::Text(before.to_owned()));
            }
            if let Some(after) = after.strip_prefix("{{") {
                pieces.push(TemplatePiece::Text("{{".to_owned()));
                rest = after;
                continue;
            }
            let (path, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            pieces.push(match without_filter(path) {
                Some(path) => TemplatePiece::Expression(parse_path(path)?),
                None => TemplatePiece::Path(parse_path(path)?),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(TemplatePiece::Text(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// Returns the path if the template is only a placeholder.
    pub fn only_path(&self) -> Option<&[String]> {
        match self.pieces.as_slice() {
            [piece] => piece.path(),
            _ => None,
        }
    }

    pub fn pieces(&self) -> &[TemplatePiece] {
        &self.pieces
    }

    /// Returns the paths of all placeholders.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.pieces.iter().filter_map(TemplatePiece::path)
    }

    /// Checks that all paths start with one of `roots`.
    pub fn check_roots(&self, roots: &[&str]) -> Result<(), TemplateError> {
        for path in self.paths() {
            if !roots.contains(&path[0].as_str()) {
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
        self.paths().filter_map(move |path| {
            path.split_first().filter(|(first, _)| *first == root).map(|(_, keys)| keys)
        })
    }

    /// Renders the template as text. Values that are not strings are inserted as JSON.
    pub fn render_text(&self, roots: &[(&str, &Value)]) -> Result<String, MissingKey> {
        self.render_pattern(roots, str::to_owned)
    }

    /// Renders the template as a regular expression. `escape` makes values literal, except those of [`TemplatePiece::Expression`].
    pub fn render_pattern(
        &self,
        roots: &[(&str, &Value)],
        escape: fn(&str) -> String,
    ) -> Result<String, MissingKey> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                TemplatePiece::Text(literal) => text.push_str(literal),
                TemplatePiece::Path(path) => text.push_str(&escape(&text_at(roots, path)?)),
                TemplatePiece::Expression(path) => text.push_str(&text_at(roots, path)?),
            }
        }
        Ok(text)
    }
}

impl TemplatePiece {
    /// Returns the path of a placeholder.
    pub fn path(&self) -> Option<&[String]> {
        match self {
            Self::Text(_) => None,
            Self::Path(path) | Self::Expression(path) => Some(path),
        }
    }
}

fn text_at<'a>(roots: &[(&str, &'a Value)], path: &[String]) -> Result<Cow<'a, str>, MissingKey> {
    Ok(match find(roots, path)? {
        Value::String(string) => string.into(),
        other => other.to_string().into(),
    })
}

/// Returns the path without its filter `regex`, which makes it a part of a regular expression.
pub fn without_filter(path: &str) -> Option<&str> {
    let (path, filter) = path.split_once('|')?;
    (filter.trim() == "regex").then_some(path)
}

/// Replaces the placeholders in all texts of a value. A text that is only a placeholder becomes its value.
///
/// # Errors
///
/// A path without a value. A text without placeholders stays as it is.
pub fn fill(value: &Value, roots: &[(&str, &Value)]) -> Result<Value, MissingKey> {
    Ok(match value {
        Value::String(text) => match Template::parse(text) {
            Ok(template) => match template.only_path() {
                Some(path) => find(roots, path)?.clone(),
                None => Value::String(template.render_text(roots)?),
            },
            Err(_) => value.clone(),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, roots)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let filled = map.iter().map(|(key, item)| Ok((key.clone(), fill(item, roots)?)));
            Value::Object(filled.collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Writes the source without white space inside the braces.
impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            TemplatePiece::Text(text) => formatter.write_str(&text.replace("{{", "{{{{")),
            TemplatePiece::Path(path) => write!(formatter, "{{{{{}}}}}", path.join(".")),
            TemplatePiece::Expression(path) => {
                write!(formatter, "{{{{{}|regex}}}}", path.join("."))
            }
        })
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

/// Returns the value at a path of a template. `roots` has the values of first keys.
///
/// # Errors
///
/// The value does not exist.
pub fn find<'a>(roots: &[(&str, &'a Value)], path: &[String]) -> Result<&'a Value, MissingKey> {
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
    use serde_json::json;

    use super::{MissingKey, Template, TemplateError};

    fn rendered(template: &str) -> Result<String, MissingKey> {
        let row = json!({"n": 1, "s": "x", "deep": {"list": [10, {"k": true}]}});
        let template = Template::parse(template).unwrap();
        assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
        template.render_text(&[("row", &row)])
    }

    #[test]
    fn filter_makes_a_path_an_expression() {
        let template = Template::parse("{{ row.x | regex }}-{{row.x}}").unwrap();
        assert_eq!(template.to_string(), "{{row.x|regex}}-{{row.x}}");
        let row = json!({"x": "a.b"});
        let pattern = template.render_pattern(&[("row", &row)], |text| text.replace('.', r"\."));
        assert_eq!(pattern.as_deref(), Ok(r"a.b-a\.b"));
        for text in ["{{row.x|upper}}", "{{row.x|regex|regex}}", "{{|regex}}", "{{row.|regex}}"] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Path(_))), "{text}");
        }
        assert!(template.check_roots(&["other"]).is_err());
    }

    #[test]
    fn paths_are_replaced_by_values() {
        for (template, text) in [
            ("{{row.n}} ", "1 "),
            ("a{{row.s}}-{{ row.deep }}", "ax-{\"list\":[10,{\"k\":true}]}"),
            ("plain } text", "plain } text"),
            ("{{{{row.n}} {{row.n}}", "{{row.n}} 1"),
            ("{\"a\":{\"b\":{{row.n}}}}", "{\"a\":{\"b\":1}}"),
            ("{{{{{{row.n}}}", "{{1}"),
            ("{{{{{", "{{{"),
            ("{{{{", "{{"),
        ] {
            assert_eq!(rendered(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn path_without_a_value_is_named() {
        assert_eq!(rendered("{{row.deep.list.2}}"), Err(MissingKey("row.deep.list.2".into())));
        assert_eq!(rendered("{{other}}"), Err(MissingKey("other".into())));
    }

    #[test]
    fn invalid_paths_are_refused() {
        assert_eq!(Template::parse("a {{row"), Err(TemplateError::Unclosed));
        for bad in ["{{}}", "{{a..b}}", "{{a b}}", "{{a | upper}}", "{{{a}}"] {
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
