//! [`compact`]: checks a guest's JSON and puts it on one line.

use std::fmt;
use std::sync::Arc;

use runner_model::ErrorClass;
use runner_model::json::{Numbers, find_fault};
use runner_model::row::{Raw, RowError};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::message::{failure, with_excerpt};
use crate::redact::Redactor;

/// Checks that every reader reads the same in `text`: at most 127 levels, finite numbers, Unicode
/// strings, and no key twice. Integers may have any length. Removes white space between tokens, because a row is one line.
///
/// # Errors
///
/// Returns the problem, and `text` itself.
fn compact(text: String) -> Result<Raw<'static>, (serde_json::Error, String)> {
    let checked = serde_json::from_str::<Valid>(&text).and_then(|Valid| {
        find_fault(&text, Numbers::Any).map_or(Ok(()), |fault| Err(Error::custom(fault)))
    });
    match checked {
        Ok(()) => Raw::from_string(without_spaces(text)).map_err(|error| (error, String::new())),
        Err(error) => Err((error, text)),
    }
}

/// Parses JSON of a guest. `what` names it in the error.
pub(crate) fn read_json(
    what: &str,
    text: String,
    redactor: Option<&Arc<Redactor>>,
) -> Result<Raw<'static>, RowError<'static>> {
    compact(text).map_err(|(error, text)| {
        let message = format!("the {what} is not JSON: {error}");
        let error = failure(ErrorClass::Protocol, "json", message);
        with_excerpt(error, text.as_bytes(), redactor)
    })
}

/// Removes white space between the tokens of valid JSON.
fn without_spaces(text: String) -> String {
    let mut is_text = false;
    let mut is_escaped = false;
    let mut is_space = |byte: u8| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ => return !is_text && matches!(byte, b' ' | b'\n' | b'\r' | b'\t'),
        }
        false
    };
    let Some(first) = text.bytes().position(&mut is_space) else {
        return text;
    };
    let mut compact = text.as_bytes()[..first].to_vec();
    compact.extend(text.bytes().skip(first + 1).filter(|byte| !is_space(*byte)));
    // Without some ASCII characters it is still UTF-8.
    String::from_utf8(compact).unwrap_or(text)
}

/// A valid JSON value that is not kept.
struct Valid;

impl<'de> Deserialize<'de> for Valid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Valid {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn white_space_between_tokens_is_removed() {
        for (text, expected) in [
            ("{\"a\": [1,\r\n\t2]}\n", "{\"a\":[1,2]}"),
            (r#" "a b \" c\\" "#, r#""a b \" c\\""#),
            ("[\"ä ö\" , null]", "[\"ä ö\",null]"),
            ("true", "true"),
            ("[ 123456789012345678901234567890, 1.10 ]", "[123456789012345678901234567890,1.10]"),
        ] {
            assert_eq!(compact(text.to_owned()).unwrap().get(), expected);
        }
    }

    #[test]
    fn json_that_some_readers_refuse_is_refused() {
        for text in [
            "",
            "{",
            "1 2",
            "1e999",
            "NaN",
            "\"\\ud800\"",
            "{\"a\" 1}",
            "[{\"a\": 1, \"\\u0061\": 1}]",
            &("[".repeat(128) + &"]".repeat(128)),
        ] {
            assert!(compact(text.to_owned()).is_err(), "{text}");
        }
        let deep = "[".repeat(127) + &"]".repeat(127);
        assert_eq!(compact(deep.clone()).unwrap().get(), deep);
    }
}
