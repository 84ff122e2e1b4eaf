//! [`Step`]: a part of a path in JSON, such as `$.a.b[0]`.

use std::fmt;

use serde_json::Value;

/// A step from a value to one inside it.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |character: char| character.is_alphanumeric() || "_-".contains(character);
        match self {
            Self::Item(index) => write!(formatter, "[{index}]"),
            Self::Key(key) if !key.is_empty() && key.chars().all(is_plain) => {
                write!(formatter, ".{key}")
            }
            Self::Key(key) => write!(formatter, "[{}]", Value::from(*key)),
        }
    }
}
