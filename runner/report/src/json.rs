//! JSON that is safe to show: characters that control a terminal are escaped, and the values stay the same.

use std::{borrow::Cow, io};

use runner_model::visible::steers;
use runner_record::RecordError;
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

/// Writes a document with indentation and a line break at its end.
///
/// # Errors
///
/// The writer fails, or the source of a value that is read while it is written.
pub fn write_document(
    mut writer: impl io::Write,
    document: &impl Serialize,
) -> Result<(), serde_json::Error> {
    serde_json::to_writer_pretty(Visible(&mut writer), document)?;
    writer.write_all(b"\n").map_err(serde_json::Error::io)
}

/// Formats a value as one line. For values that always serialize: text keys, nothing read from disk.
pub fn one_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    visible_json(&json).into_owned()
}

/// Serializes items one by one while they are read from disk.
pub(crate) struct Items<S: Serializer> {
    list: S::SerializeSeq,
    failed: Option<S::Error>,
}

impl<S: Serializer> Items<S> {
    pub(crate) fn new(serializer: S) -> Result<Self, S::Error> {
        Ok(Self { list: serializer.serialize_seq(None)?, failed: None })
    }

    /// Adds an item, unless an earlier one has failed.
    pub(crate) fn add(&mut self, item: &(impl Serialize + ?Sized)) {
        if self.failed.is_none() {
            self.failed = self.list.serialize_element(item).err();
        }
    }

    /// Ends the list. `read` is the result of reading all items.
    pub(crate) fn end(self, read: Result<(), RecordError>) -> Result<S::Ok, S::Error> {
        read.map_err(S::Error::custom)?;
        self.failed.map_or_else(|| self.list.end(), Err)
    }
}

/// A writer of JSON that escapes control characters. No call of serde_json splits a character.
struct Visible<W>(W);

impl<W: io::Write> io::Write for Visible<W> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(json).map_err(io::Error::other)?;
        self.0.write_all(visible_json(text).as_bytes())?;
        Ok(json.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes characters that steer in JSON, such as `\u009b`, without changing its value. JSON itself requires escapes only
/// below U+0020. Also escapes `##[`, the start of a command in a line that a job of GitHub prints.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    const COMMAND: &str = "##[";
    if json.contains(COMMAND) {
        return visible_json(&json.replace(COMMAND, r"\u0023#[")).into_owned().into();
    }
    if !json.contains(steers) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if character == '\r' {
            // White space between values: in a string it would be escaped already.
            shown.push(' ');
        } else if steers(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::{one_line, visible_json, write_document};

    #[test]
    fn what_steers_is_escaped_everywhere() {
        let raw = RawValue::from_string("{\"b\":\"\u{202e}\"}".into()).unwrap();
        let document = (json!({"\u{9b}k": "a\u{9b}\u{1b}\n✓"}), raw);
        let mut bytes = Vec::new();
        write_document(&mut bytes, &document).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected =
            "[\n  {\n    \"\\u009bk\": \"a\\u009b\\u001b\\n✓\"\n  },\n  {\"b\":\"\\u202e\"}\n]\n";
        assert_eq!(text, expected);
        assert_eq!(one_line(&document), r#"[{"\u009bk":"a\u009b\u001b\n✓"},{"b":"\u202e"}]"#);
        assert_eq!(
            visible_json("{\"a\":\"\u{9b}✓\u{e0041}\"}\r\n"),
            "{\"a\":\"\\u009b✓\\udb40\\udc41\"} \n"
        );
        assert_eq!(visible_json("\"##[b\""), "\"\\u0023#[b\"");
    }
}
