//! Forms of texts and numbers.

use std::fmt::Display;

use regex::Regex;
use runner_model::{
    Micros, TestId,
    test::ExpectedError,
    units::{parse_duration, parse_size},
};
use serde_json::{Value, json};

use crate::{
    form::Form,
    globs,
    reading::{At, Part, Reading, kind_label, suggest},
};

/// Why a value is not of a form.
pub(crate) enum Refusal {
    /// It is of another kind.
    Kind,
    /// The rest of a sentence.
    Because(String),
}

/// Reports why a value is not of a form.
///
/// `words` is as in "must be a string"; `example` stands behind it if no reason does.
fn refuse(
    refusal: Refusal,
    (words, example): (&str, &str),
    at: &At<'_>,
    value: &Value,
    reading: &mut Reading,
) {
    let expected = format!("{} must be {words}", at.subject());
    match refusal {
        Refusal::Kind => reading.refuse(at, expected + example, kind_label(value)),
        Refusal::Because(reason) => reading.refuse(at, format!("{expected}: {reason}"), "here"),
    }
}

/// A text that is parsed.
pub(crate) struct Text<T> {
    name: &'static str,
    /// As in "must be a string", and what stands behind it if nothing else does.
    words: (&'static str, &'static str),
    schema: fn() -> Value,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Form for Text<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<T> {
        let parsed = match value {
            Value::String(text) if text.is_empty() => Err(Refusal::Because("it is empty".into())),
            Value::String(text) => (self.parse)(text).map_err(Refusal::Because),
            _ => Err(Refusal::Kind),
        };
        parsed
            .map_err(|refusal| refuse(refusal, self.words, at, value, reading))
            .ok()
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}

fn any_text() -> Value {
    json!({"type": "string", "minLength": 1})
}

/// A text that is not empty.
pub(crate) const TEXT: Text<String> = Text {
    name: "string",
    words: ("a string", ""),
    schema: any_text,
    parse: |text| Ok(text.to_owned()),
};

/// A duration, which may be zero.
pub(crate) const DURATION: Text<Micros> = Text {
    name: "duration",
    words: ("a duration", " such as \"10s\", \"200ms\" or \"1h30m\""),
    schema: || json!({"type": "string", "pattern": "[0-9]", "examples": ["10s", "200ms", "1h30m"]}),
    parse: |text| match parse_duration(text) {
        Ok(duration) => Ok(duration.into()),
        Err(reason) => Err(format!("`{text}` {reason}")),
    },
};

/// A duration of at least a microsecond.
pub(crate) const TIMEOUT: Text<Micros> = Text {
    parse: |text| match (DURATION.parse)(text) {
        Ok(Micros(0)) => Err("it cannot be zero".to_owned()),
        parsed => parsed,
    },
    ..DURATION
};

/// A test's id.
pub(crate) const TEST_ID: Text<TestId> = Text {
    name: "string",
    words: ("a test id", ""),
    schema: || {
        json!({
            "type": "string",
            "maxLength": 200,
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        })
    },
    parse: |text| TestId::parse(text).map_err(|error| format!("in `{text}`, {error}")),
};

/// A regular expression.
pub(crate) struct Pattern;

const PATTERN: Text<String> = Text {
    name: "string",
    words: ("a regular expression", ""),
    schema: || json!({"type": "string", "format": "regex"}),
    parse: |text| match Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        // The lines before show the expression, which the problem's place does, too.
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            Err(reason.trim_start_matches("error: ").to_owned())
        }
    },
};

impl Form for Pattern {
    type Out = String;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<String> {
        // Compiling takes longer than all else of a record, and mostly the record before has the same.
        if let Value::String(text) = value
            && reading.last_pattern == *text
        {
            return Some(text.clone());
        }
        let pattern = PATTERN.read(at, value, reading)?;
        reading.last_pattern.clone_from(&pattern);
        Some(pattern)
    }

    fn schema(&self) -> Value {
        PATTERN.schema()
    }

    fn name(&self) -> String {
        PATTERN.name()
    }
}

/// A glob over test ids or names of providers.
pub(crate) const GLOB: Text<String> = Text {
    name: "string",
    words: ("a glob", ""),
    schema: any_text,
    parse: |text| {
        checked(
            text,
            globs::over_ids(text).map_err(|error| error.kind().to_string()),
        )
    },
};

/// A glob over files.
pub(crate) const FILE_GLOB: Text<String> = Text {
    parse: |text| {
        checked(
            text,
            globs::over_files(text).map_err(|error| error.kind().to_string()),
        )
    },
    ..GLOB
};

fn checked<T>(text: &str, parsed: Result<T, String>) -> Result<String, String> {
    parsed.map(|_| text.to_owned())
}

/// One of some words.
pub(crate) struct Word<T: 'static> {
    pub(crate) all: fn() -> Vec<&'static str>,
    pub(crate) parse: fn(&str) -> Option<T>,
}

impl<T> Form for Word<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<T> {
        let Value::String(word) = value else {
            refuse(Refusal::Kind, ("a string", ""), at, value, reading);
            return None;
        };
        let parsed = (self.parse)(word);
        if parsed.is_none() {
            let message = format!("`{word}` is not one of the words for `{}`", at.name());
            let help = suggest(word, (self.all)().into_iter());
            reading.refuse_with_help(at, Part::Value, message, "unknown", help);
        }
        parsed
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "enum": (self.all)()})
    }

    fn name(&self) -> String {
        const MAX_NAMED: usize = 4;
        if (self.all)().len() > MAX_NAMED {
            return "a word".to_owned();
        }
        let words = (self.all)().into_iter().map(|word| format!("`\"{word}\"`"));
        words.collect::<Vec<_>>().join(" or ")
    }
}

/// A way in which an attempt can come to no verdict.
pub(crate) const EXPECTED_ERROR: Word<ExpectedError> = Word {
    all: || {
        let classes = runner_model::ErrorClass::ALL.iter();
        classes
            .filter(|class| class.can_be_named())
            .map(|class| class.as_str())
            .chain(["timeout"])
            .collect()
    },
    parse: ExpectedError::parse,
};

/// A number between two others, both included.
pub(crate) struct Number<T> {
    pub(crate) min: T,
    pub(crate) max: T,
}

/// What [`Number`] is made for.
pub(crate) trait Numeric: Copy + PartialOrd + Display + serde::Serialize {
    const NAME: &'static str;
    const WORDS: &'static str;
    /// `None` if it is of another kind.
    fn of(value: &Value) -> Option<Self>;
    /// Whether there is nothing above it.
    fn is_top(self) -> bool;
}

impl Numeric for i64 {
    const NAME: &'static str = "integer";
    const WORDS: &'static str = "an integer";

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) if !number.is_f64() => Some(number.as_i64().unwrap_or(Self::MAX)),
            _ => None,
        }
    }

    fn is_top(self) -> bool {
        self == Self::MAX
    }
}

impl Numeric for f64 {
    const NAME: &'static str = "number";
    const WORDS: &'static str = "a number";

    fn of(value: &Value) -> Option<Self> {
        value.as_f64()
    }

    fn is_top(self) -> bool {
        self == Self::MAX
    }
}

impl<T: Numeric> Form for Number<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<T> {
        let refusal = match T::of(value) {
            Some(number) if self.min <= number && number <= self.max => return Some(number),
            Some(_) => Refusal::Because(format!("{value} is out of range")),
            None => Refusal::Kind,
        };
        let words = if self.max.is_top() {
            format!("{} of at least {}", T::WORDS, self.min)
        } else {
            format!("{} from {} to {}", T::WORDS, self.min, self.max)
        };
        refuse(refusal, (&words, ""), at, value, reading);
        None
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": T::NAME, "minimum": self.min});
        if !self.max.is_top() {
            schema["maximum"] = json!(self.max);
        }
        schema
    }

    fn name(&self) -> String {
        T::NAME.to_owned()
    }
}

/// A whole number that fits into 32 bits.
pub(crate) struct Count {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Count {
    fn number(&self) -> Number<i64> {
        Number {
            min: self.min.into(),
            max: self.max.into(),
        }
    }
}

impl Form for Count {
    type Out = u32;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<u32> {
        let number = self.number().read(at, value, reading)?;
        number.try_into().ok()
    }

    fn schema(&self) -> Value {
        self.number().schema()
    }

    fn name(&self) -> String {
        self.number().name()
    }
}

/// A number of bytes, or a text such as `64MiB`.
pub(crate) struct Size;

impl Form for Size {
    type Out = u64;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<u64> {
        let parsed = match value {
            Value::String(text) => {
                parse_size(text).map_err(|reason| Refusal::Because(format!("`{text}` {reason}")))
            }
            // The same bounds for numbers.
            Value::Number(number) => parse_size(&number.to_string())
                .map_err(|reason| Refusal::Because(format!("{number} {reason}"))),
            _ => Err(Refusal::Kind),
        };
        let words = ("a size", " such as \"64MiB\", or a number of bytes");
        parsed
            .map_err(|refusal| refuse(refusal, words, at, value, reading))
            .ok()
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "integer"], "minimum": 0, "pattern": "^[0-9]", "examples": ["64MiB"]})
    }

    fn name(&self) -> String {
        "size".to_owned()
    }
}
