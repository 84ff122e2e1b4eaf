//! Parses JSON with the mistakes that servers and models make.

use serde_json::{Deserializer, Value};

/// Parses the body of an answer. It may have a byte order mark, and the mistakes that [`repaired`] corrects.
pub(crate) fn parse(body: &[u8]) -> serde_json::Result<Value> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text)
        .or_else(|error| serde_json::from_str(&repaired(text)).map_err(|_| error))
}

/// Parses a model's text: the whole text, or else the last block of JSON between fences.
pub(crate) fn in_text(text: &str) -> serde_json::Result<Value> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).or_else(|error| fenced(text).ok_or(error))
}

/// Returns the last value between fences. The end of a value ends its block, because its texts may contain fences.
fn fenced(text: &str) -> Option<Value> {
    let (mut last, mut rest) = (None, text);
    while let Some(fence) = rest.find("```") {
        rest = rest[fence..].trim_start_matches('`');
        // The block starts after the name of its language.
        let block = &rest[rest.find(['\n', '{', '[', '`']).unwrap_or(rest.len())..];
        let mut values = Deserializer::from_str(block).into_iter();
        let value = values.next().and_then(Result::ok);
        let after = block[values.byte_offset()..].trim_start();
        rest = if value.is_some() && (after.is_empty() || after.starts_with("```")) {
            last = value;
            after
        } else {
            rest.find("```").map_or("", |end| &rest[end..])
        };
        rest = rest.trim_start_matches('`');
    }
    last
}

/// Corrects mistakes that programs in Python and JavaScript make in fields such as `logprobs` or in cut texts: `NaN` and infinite
/// numbers become `null`, halves of surrogate pairs become `�`, and control characters are escaped.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted(rest),
            '-' | '0'..='9' | 'A'..='Z' | 'a'..='z' => word(rest),
            _ => first.len_utf8(),
        };
        let (part, after) = rest.split_at(length);
        match first {
            '"' => push_text(&mut repaired, part),
            _ if part.parse().is_ok_and(|number: f64| !number.is_finite()) => repaired += "null",
            _ => repaired += part,
        }
        rest = after;
    }
    repaired
}

/// Returns the length of the JSON string at the start, with its quotes.
fn quoted(json: &str) -> usize {
    let mut is_escaped = true;
    let end = json.find(|character: char| {
        let is_end = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 1)
}

/// Returns the length of the number or word at the start.
fn word(json: &str) -> usize {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
    json.find(|character| !is_part(character)).unwrap_or(json.len())
}

fn push_text(repaired: &mut String, text: &str) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match (first, unit(rest)) {
            ('\\', Some(0xd800..0xdc00))
                if matches!(rest.get(6..).and_then(unit), Some(0xdc00..0xe000)) =>
            {
                12
            }
            ('\\', Some(0xd800..0xe000)) => {
                *repaired += "\\ufffd";
                rest = &rest[6..];
                continue;
            }
            ('\\', _) => rest.chars().take(2).map(char::len_utf8).sum(),
            ('\0'..' ', _) => {
                *repaired += &format!("\\u{:04x}", u32::from(first));
                rest = &rest[1..];
                continue;
            }
            _ => first.len_utf8(),
        };
        let (part, after) = rest.split_at(length);
        *repaired += part;
        rest = after;
    }
}

/// Returns the code unit of an escape such as `\ud83d` at the start.
fn unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{in_text, parse};

    #[test]
    fn loose_bodies_are_read() {
        for (body, value) in [
            ("\u{feff}{\"a\": 1}".as_bytes(), json!({"a": 1})),
            (b"{\"a\": \"\xff\"}", json!({"a": "\u{fffd}"})),
            (
                br#"{"a": [NaN, -Infinity, 1e999, -1.5e3, true]}"#,
                json!({"a": [null, null, null, -1500.0, true]}),
            ),
            (br#"{"a": "NaN \" Infinity", "b": NaN}"#, json!({"a": "NaN \" Infinity", "b": null})),
            (br#"{"a": "x\ud83d", "b": "\ude00y"}"#, json!({"a": "x\u{fffd}", "b": "\u{fffd}y"})),
            (
                br#"{"a": "\ud83d\ude00 \ud83d\\ude00 \\ud83d"}"#,
                json!({"a": "😀 \u{fffd}\\ude00 \\ud83d"}),
            ),
            (b"{\"a\": \"x\ny\tz\"}", json!({"a": "x\ny\tz"})),
        ] {
            assert_eq!(parse(body).unwrap(), value);
        }
        for body in ["", "{", "\"a", "\"a\\", "nan-", "{\"a\": \"\\ud8", "<html>", "\"\\ud83d\\u"] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn last_fenced_block_of_json_is_read() {
        let value = || Some(json!({"a": "1"}));
        for (text, expected) in [
            (" {\"a\": \"1\"}\n", value()),
            ("\u{feff}{\"a\": \"1\"}", value()),
            ("```json\n{\"a\": \"1\"}\n```", value()),
            ("```JSON\r\n{\"a\": \"1\"}\r\n```\r\n", value()),
            ("```json {\"a\": \"1\"} ```", value()),
            ("```{\"a\": \"1\"}```", value()),
            ("````json\n{\"a\": \"1\"}\n````", value()),
            (
                "Sure! Here it is:\n\n```json5 title=x\n  {\"a\": \"1\"}\n  ```\nAnything else?",
                value(),
            ),
            ("```json\n{\"a\": \"1\"}", value()),
            ("```py\nprint({})\n```\n```\n{\"a\": \"1\"}\n```", value()),
            ("First\n```json\n{\"a\": \"0\"}\n```\nbetter\n```json\n{\"a\": \"1\"}\n```", value()),
            ("```json\n{\"a\": \"```py\\nx\\n```\"}\n```", Some(json!({"a": "```py\nx\n```"}))),
            ("```json\n[1]\n```", Some(json!([1]))),
            ("```\n42\n```", Some(json!(42))),
            ("Sure! {\"a\": \"1\"}", None),
            ("```json\n{\"a\": \"1\"} or so\n```", None),
            ("```json\n{\"a\": \n```", None),
            ("```py\nx\n```\n[1]", None),
            ("", None),
            ("```", None),
        ] {
            let read: Option<Value> = in_text(text).ok();
            assert_eq!(read, expected, "{text}");
        }
        // The time is not quadratic for a hostile text.
        assert!(in_text(&"```a".repeat(500_000)).is_err());
    }
}
