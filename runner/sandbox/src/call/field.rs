//! [`wrong_field`]: names the field of a JSON reply that has a wrong type.

use serde_json::error::Category;

/// Returns the message of a reply that is JSON but not of the protocol, with the path of its wrong value. `None` for other errors.
pub(crate) fn wrong_field(text: &[u8], error: &serde_json::Error) -> Option<String> {
    if error.classify() != Category::Data {
        return None;
    }
    // Columns count bytes from 1, so this is the end of the value.
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.by_ref().take(error.line() - 1).map(<[u8]>::len).sum();
    let path = path_at(text.get(..before + error.column())?);
    let message = error.to_string();
    let (message, _) = message.rsplit_once(" at line ")?;
    let fault = match message.split_once(' ') {
        _ if path.is_empty() => return None,
        Some(("missing", field)) => format!("has no {field}"),
        Some(("unknown", field)) => format!("has an unknown {field}"),
        Some(("invalid", text)) => {
            let (found, expected) = text.split_once(": ")?.1.rsplit_once(", expected ")?;
            format!("must be {}, not {}", kind(expected), kind(found))
        }
        _ => format!("has a wrong value: {message}"),
    };
    Some(format!("in the standard output, `{path}` {fault}"))
}

/// Translates serde's name of a kind of value.
fn kind(name: &str) -> String {
    match name {
        "f64" => "a number".to_owned(),
        "u32" => format!("a number from 0 to {}", u32::MAX),
        "sequence" | "a sequence" => "an array".to_owned(),
        "map" | "a map" => "an object".to_owned(),
        _ if name.starts_with("struct ") => "an object".to_owned(),
        _ if name.contains(['`', '"']) => format!("the {name}"),
        _ => name.to_owned(),
    }
}

/// A step from a container into its current value.
enum Step<'a> {
    /// Empty before the colon.
    Key(&'a [u8]),
    Index(usize),
}

/// Returns the path of the last value in the start of a JSON text, such as `ok.metrics[1]`.
fn path_at(text: &[u8]) -> String {
    // serde refuses an array at its bracket.
    let text = text.strip_suffix(b"[").unwrap_or(text);
    let mut steps = Vec::new();
    let mut string = &text[..0];
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, steps.last_mut()) {
            (b'"', _) => {
                let start = at;
                while text.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                string = text.get(start..at).unwrap_or_default();
                at += 1;
            }
            (b'{', _) => steps.push(Step::Key(b"")),
            (b'[', _) => steps.push(Step::Index(0)),
            (b'}' | b']', _) => drop(steps.pop()),
            (b':', Some(Step::Key(key))) => *key = string,
            (b',', Some(Step::Key(key))) => *key = b"",
            (b',', Some(Step::Index(index))) => *index += 1,
            _ => {}
        }
    }
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(b"") => {}
            Step::Key(key) => {
                path += if path.is_empty() { "" } else { "." };
                path += &String::from_utf8_lossy(key);
            }
            Step::Index(index) => path += &format!("[{index}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::wrong_field;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Reply {
        #[serde(rename = "a\\b")]
        _score: f64,
        #[serde(default, rename = "parts")]
        _parts: Vec<Self>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Answer {
        Ok(#[expect(dead_code, reason = "only read")] Reply),
    }

    #[test]
    fn wrong_fields_are_named_with_their_path() {
        for (text, fault) in [
            (r#"{"ok": {"a\\b": "1"}}"#, Some(r#"`ok.a\\b` must be a number, not the string "1""#)),
            ("{\"ok\":\n {\"a\\\\b\":\n null}}", Some(r"`ok.a\\b` must be a number, not null")),
            (r#"{"ok": {"parts": []}}"#, Some(r"`ok` has no field `a\b`")),
            (
                r#"{"ok": {"a\\b": 1, "parts": {}}}"#,
                Some("`ok.parts` must be an array, not an object"),
            ),
            (
                r#"{"ok": {"parts": [{"a\\b": 1}, {"a\\b": []}]}}"#,
                Some(r"`ok.parts[1].a\\b` must be a number, not an array"),
            ),
            (
                r#"{"ok": {"a\\b": 1, "more": 2}}"#,
                Some("`ok` has an unknown field `more`, expected"),
            ),
            (r#"{"okay": {}}"#, None),
            (r#"{"ok": "#, None),
            ("1", None),
        ] {
            let error = serde_json::from_str::<Answer>(text).unwrap_err();
            let found = wrong_field(text.as_bytes(), &error);
            let is_right = match fault {
                Some(fault) => found.as_ref().is_some_and(|found| found.contains(fault)),
                None => found.is_none(),
            };
            assert!(is_right, "{text}: {found:?}");
        }
    }
}
