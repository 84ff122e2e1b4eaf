//! Forms of texts and numbers.

use std::{mem, time::Duration};

use regex::Regex;
use runner_model::units::{parse_age, parse_duration, parse_size};
use runner_model::{
    Digest, ErrorClass, FailFast, Micros, TestId, globs, parse_stack, provider::Rate,
    test::ExpectedError,
};
use serde_json::{Value, json};

use crate::reading::{At, Form, Reader, suggest};

/// A text that `parse` accepts.
pub(crate) struct Text<T> {
    /// Ends a message with "must be …".
    pub(crate) words: &'static str,
    /// Text after `words` in messages without a reason.
    pub(crate) example: &'static str,
    /// The schema as JSON. If it contains `integer`, a number may replace the text.
    pub(crate) schema: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

impl<T> Form for Text<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<T> {
        let parsed = match value {
            Value::String(text) if text.is_empty() => Err("it is empty".to_owned()),
            Value::String(text) => (self.parse)(text),
            Value::Number(number) if self.schema.contains("integer") && !number.is_f64() => {
                (self.parse)(&number.to_string())
            }
            _ => return reader.refuse_kind(at, value, &format!("{}{}", self.words, self.example)),
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(reason) => reader.refuse_value(at, self.words, &reason),
        }
    }

    fn schema(&self) -> Value {
        serde_json::from_str(self.schema).expect("schemas are JSON")
    }
}

/// A text that is not empty.
pub(crate) const TEXT: Text<String> = Text {
    words: "a string",
    example: "",
    schema: r#"{"type": "string", "minLength": 1}"#,
    parse: |text| Ok(text.to_owned()),
};

/// A text that may be empty.
pub(crate) struct WholeText;

impl Form for WholeText {
    type Out = String;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<String> {
        match value {
            Value::String(text) => Some(mem::take(text)),
            _ => reader.refuse_kind(at, value, "a string"),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": "string"})
    }
}

/// A duration, which may be zero.
pub(crate) const DURATION: Text<Micros> = Text {
    words: "a duration",
    example: " such as \"10s\", \"200ms\" or \"1h30m\"",
    schema: r#"{"title": "duration", "type": "string", "pattern": "[0-9]", "examples": ["10s", "200ms", "1h30m"]}"#,
    parse: |text| match parse_duration(text) {
        Ok(duration) => Ok(duration.into()),
        Err(reason) => Err(format!("`{text}` {reason}")),
    },
};

/// A duration of at least a microsecond.
pub(crate) const TIMEOUT: Text<Micros> = Text {
    parse: |text| match (DURATION.parse)(text) {
        Ok(Micros(0)) => Err("the shortest is \"1us\", a microsecond".to_owned()),
        parsed => parsed,
    },
    ..DURATION
};

/// The age of a run.
pub(crate) const AGE: Text<Duration> = Text {
    words: "an age",
    example: " such as \"30d\", \"2w\" or \"12h\"",
    schema: r#"{"title": "age", "type": "string", "pattern": "[0-9]", "examples": ["30d", "2w", "12h"]}"#,
    parse: |text| parse_age(text).map_err(|reason| format!("`{text}` {reason}")),
};

/// A number of bytes, or a text such as `64MiB`.
pub(crate) const SIZE: Text<u64> = Text {
    words: "a size",
    example: " such as \"64MiB\", or a number of bytes",
    schema: r#"{"title": "size", "type": ["string", "integer"], "minimum": 0, "pattern": "^[0-9]", "examples": ["64MiB"]}"#,
    parse: |text| parse_size(text).map_err(|reason| format!("`{text}` {reason}")),
};

/// The size of a call stack.
pub(crate) const STACK: Text<u64> = Text {
    words: "a size from 512KiB to 16MiB",
    example: " such as \"8MiB\", or a number of bytes",
    schema: r#"{"title": "size", "type": ["string", "integer"], "minimum": 524288, "maximum": 16777216, "pattern": "^[0-9]", "examples": ["8MiB"]}"#,
    parse: |text| parse_stack(text).map_err(|reason| format!("`{text}` {reason}")),
};

/// Returns a size without reporting an invalid one. `None` if it is absent or invalid.
pub(crate) fn size(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => parse_size(text).ok(),
        number => number.as_u64(),
    }
}

/// A number of attempts that may start in a time.
pub(crate) const RATE: Text<Rate> = Text {
    words: "a rate",
    example: " such as \"60/min\", \"5/s\" or \"100/h\"",
    schema: r#"{"title": "such as `\"60/min\"`", "type": "string", "pattern": "^[0-9]+ */ *(s|sec|second|m|min|minute|h|hour)$", "examples": ["60/min", "5/s", "100/h"]}"#,
    parse: |text| {
        Rate::parse(text).ok_or_else(|| format!("write `60/min`, `5/s` or `100/h`, not `{text}`"))
    },
};

pub(crate) const TEST_ID: Text<TestId> = Text {
    words: "a test id",
    example: "",
    schema: r#"{"type": "string", "maxLength": 200, "pattern": "^[^\\s@#]$|^[^\\s@#][^\\r\\n\\t@#]*[^\\s@#]$"}"#,
    parse: |text| {
        TestId::parse(text).map_err(|error| {
            let plain =
                text.trim().replace(|letter| TestId::parse(&format!("a{letter}b")).is_err(), "-");
            // An id cannot have `.` or `..` as a part.
            let parts = plain.split('/').map(|part| match part {
                "." | ".." => part.replace('.', "dot"),
                part => part.to_owned(),
            });
            match TestId::parse(&parts.collect::<Vec<_>>().join("/")) {
                Ok(plain) => format!("in `{text}`, {error}; try `{plain}`"),
                Err(_) => format!("in `{text}`, {error}"),
            }
        })
    },
};

/// A glob over test ids or names of providers.
pub(crate) const GLOB: Text<String> = Text {
    words: "a glob",
    parse: |text| {
        // Compiling takes longer than the rest of an entry of a list of 10,000.
        let is_plain = !text.contains(['*', '?', '[', ']', '{', '}', '\\']);
        if is_plain || globs::around_star(text).is_some() {
            Ok(text.to_owned())
        } else {
            globs::over_ids(&[text]).map(|_| text.to_owned())
        }
    },
    ..TEXT
};

/// A glob over files.
pub(crate) const FILE_GLOB: Text<String> =
    Text { parse: |text| globs::over_files(&[text]).map(|_| text.to_owned()), ..GLOB };

/// A glob over paths of a workspace.
pub(crate) const WORKSPACE_GLOB: Text<String> =
    Text { parse: |text| globs::over_workspace(&[text]).map(|_| text.to_owned()), ..GLOB };

/// The SHA-256 of a file.
pub(crate) const DIGEST: Text<Digest> = Text {
    words: "a SHA-256 of 64 hexadecimal digits",
    example: "",
    schema: r#"{"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}"#,
    parse: |text| {
        Digest::parse(&text.to_ascii_lowercase()).ok_or_else(|| format!("this is `{text}`"))
    },
};

/// A regular expression.
pub(crate) struct Pattern;

const PATTERN: Text<String> = Text {
    words: "a regular expression",
    schema: r#"{"type": "string", "format": "regex"}"#,
    parse: |text| match Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        // The lines before repeat the expression, which the problem's place shows.
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            // A line with a mark is below the expression, which is indented by four.
            let mark = error.lines().find_map(|line| line.strip_prefix("    ")?.find('^'));
            let rest: String = text.chars().skip(mark.unwrap_or(usize::MAX)).collect();
            let is_line = !rest.is_empty() && !text.contains(['\n', '^']);
            Err(if is_line { format!("{reason} at `{rest}`") } else { reason.to_owned() })
        }
    },
    ..TEXT
};

impl Form for Pattern {
    type Out = String;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<String> {
        // Compiling takes longer than the rest of a record, and most records repeat the one before.
        let pattern = match reader.last_pattern.take() {
            Some(last) if *value == *last => last,
            _ => PATTERN.read(at, value, reader)?,
        };
        reader.last_pattern = Some(pattern.clone());
        Some(pattern)
    }

    fn schema(&self) -> Value {
        PATTERN.schema()
    }
}

/// One of some words: the functions that list and parse them.
pub(crate) struct Word<T: 'static>(
    pub(crate) fn() -> Vec<&'static str>,
    pub(crate) fn(&str) -> Option<T>,
);

impl<T> Form for Word<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<T> {
        let Value::String(word) = value else {
            let words: Vec<_> = (self.0)().iter().map(|word| format!("`{word:?}`")).collect();
            let expected = match &words[..] {
                [word] => word.clone(),
                words => format!("one of {}", words.join(", ")),
            };
            return reader.refuse_kind(at, value, &expected);
        };
        let parsed = (self.1)(word);
        if parsed.is_none() {
            let message = match (word.as_str(), at.name()) {
                ("failed", "on") => "a failed expectation is not retried".to_owned(),
                (_, name) => format!("`{word}` is not a value of `{name}`"),
            };
            let help = suggest(word, (self.0)().into_iter());
            reader.refuse(at, message, "unknown").help = Some(help);
        }
        parsed
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "enum": (self.0)()})
    }
}

/// An error class, or `timeout`.
pub(crate) const EXPECTED_ERROR: Word<ExpectedError> = Word(
    || {
        let classes = ErrorClass::ALL.iter().filter(|class| class.can_be_named());
        classes.map(|class| class.as_str()).chain(["timeout"]).collect()
    },
    ExpectedError::parse,
);

/// A whole number in an inclusive range.
pub(crate) struct Integer<T>(pub(crate) T, pub(crate) T);

impl<T: TryFrom<i128> + Into<i128> + Copy> Form for Integer<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<T> {
        let range: (i128, i128) = (self.0.into(), self.1.into());
        let words = format!("an integer from {} to {}", range.0, range.1);
        match value {
            Value::Number(number) if !number.is_f64() => {
                let number = number.as_i128();
                match number.filter(|number| (range.0..=range.1).contains(number)) {
                    Some(number) => number.try_into().ok(),
                    None => reader.refuse_value(at, &words, &format!("{value} is out of range")),
                }
            }
            _ => reader.refuse_kind(at, value, &words),
        }
    }

    fn schema(&self) -> Value {
        let [least, most] = [self.0, self.1].map(Into::<i128>::into);
        json!({"type": "integer", "minimum": least as i64, "maximum": most as i64})
    }
}

/// The value of `fail_fast`.
pub(crate) struct FailFastForm;

impl Form for FailFastForm {
    type Out = FailFast;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<FailFast> {
        const WORDS: &str = "`true`, `false`, a count, or a fraction from 0 to 1";
        match (FailFast::of_json(value), &*value) {
            (Some(read), _) => Some(read),
            (None, Value::Number(number)) => {
                reader.refuse_value(at, WORDS, &format!("{number} is not one of these"))
            }
            (None, _) => reader.refuse_kind(at, value, WORDS),
        }
    }

    fn schema(&self) -> Value {
        json!({"title": "boolean or number", "type": ["boolean", "number"], "minimum": 0})
    }
}

pub(crate) struct Boolean;

impl Form for Boolean {
    type Out = bool;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<bool> {
        match value {
            Value::Bool(boolean) => Some(*boolean),
            _ => reader.refuse_kind(at, value, "`true` or `false`"),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

/// A number in an inclusive range.
pub(crate) struct Number(pub(crate) f64, pub(crate) f64);

impl Form for Number {
    type Out = f64;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<f64> {
        let words = match (self.0, self.1) {
            (f64::MIN, f64::MAX) => "a number".to_owned(),
            (least, f64::MAX) if 0.0 < least && least < 1e-6 => "a number above 0".to_owned(),
            (least, f64::MAX) => format!("a number of at least {least}"),
            (least, most) => format!("a number from {least} to {most}"),
        };
        match value.as_f64() {
            Some(number) if (self.0..=self.1).contains(&number) => Some(number),
            Some(_) => reader.refuse_value(at, &words, &format!("{value} is out of range")),
            None => reader.refuse_kind(at, value, &words),
        }
    }

    fn schema(&self) -> Value {
        match (self.0, self.1) {
            (f64::MIN, f64::MAX) => json!({"type": "number"}),
            (least, f64::MAX) => json!({"type": "number", "minimum": least}),
            (least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
        }
    }
}

/// A text, with its greatest number of bytes, a number or a boolean.
pub(crate) struct Scalar(pub(crate) usize);

impl Form for Scalar {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Value> {
        const WORDS: &str = "a string, a number or a boolean";
        let reason = match value {
            Value::String(text) if text.is_empty() => "it is empty".to_owned(),
            Value::String(text) if text.len() > self.0 => {
                format!("it has {} bytes; at most {} are allowed", text.len(), self.0)
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => return Some(value.clone()),
            _ => return reader.refuse_kind(at, value, WORDS),
        };
        reader.refuse_value(at, WORDS, &reason)
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": ["string", "number", "boolean"], "minLength": 1});
        if self.0 < usize::MAX {
            schema["maxLength"] = json!(self.0);
        }
        schema
    }
}
