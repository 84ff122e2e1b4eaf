//! [`StepText`]: the start of a text in a transcript.

use runner_model::Text;
use runner_model::json::{each_item, read_part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The start of a text, or all of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct StepText {
    /// The start of the text. Long ones are folded.
    pub text: String,
    /// Bytes of the whole text.
    pub bytes: u64,
    /// Whether `text` is not the whole one.
    pub folded: bool,
}

/// The result of a command.
#[derive(Deserialize)]
struct CommandOutput {
    exit_code: i32,
    stdout: String,
    stderr: String,
}

/// A part of a message that is not only a text.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

impl StepText {
    /// Reads a result. That of a command is the text that it printed.
    pub(super) fn of_result(json: Option<&RawValue>, (lines, most): (usize, usize)) -> Self {
        let of_command = json.filter(|json| json.get().starts_with("\"{\\\"exit_code\\\":"));
        let text = read_part::<String>(of_command);
        let output = text.and_then(|text| serde_json::from_str(&text).ok());
        let Some(CommandOutput { exit_code, stdout, stderr }) = output else {
            return Self::of(json, (lines, most));
        };
        let exit_code = if exit_code == 0 { "" } else { &format!("exit code {exit_code}") };
        let parts = [exit_code, stdout.trim_end(), stderr.trim_end()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let text = if parts.is_empty() { "no output".to_owned() } else { parts.join("\n") };
        Self::start_of(&text, most).fold(lines)
    }

    /// Reads up to `lines` and `most` bytes of a text, and other JSON as it is written.
    pub(super) fn of(json: Option<&RawValue>, (lines, most): (usize, usize)) -> Self {
        let json = json.map_or("null", RawValue::get);
        let shown = match json.as_bytes() {
            [b'"', ..] => Self::of_string(json, most),
            [b'[', ..] => Self::of_parts(json, most).unwrap_or_else(|| Self::start_of(json, most)),
            b"null" => Self::default(),
            _ => Self::start_of(json, most),
        };
        shown.fold(lines)
    }

    fn fold(mut self, lines: usize) -> Self {
        let end = self.text.match_indices('\n').nth(lines - 1).map(|(at, _)| at);
        // A line break at the end is not a line.
        if let Some(end) = end.filter(|end| end + 1 < self.text.len()) {
            self.text.truncate(end);
        }
        self.folded = (self.text.len() as u64) < self.bytes;
        self
    }

    fn start_of(json: &str, most: usize) -> Self {
        let end = json.floor_char_boundary(most);
        Self { text: json[..end].to_owned(), bytes: json.len() as u64, folded: false }
    }

    /// Reads the parts of a message: texts as they are, and the kinds of others.
    fn of_parts(json: &str, most: usize) -> Option<Self> {
        let parts = serde_json::from_str(json).ok();
        let mut shown = Self::default();
        each_item(parts, &mut |part: Part<'_>| {
            // Once a part is cut, no later one follows.
            let is_whole = shown.text.len() as u64 == shown.bytes;
            let separator = if shown.bytes > 0 { "\n" } else { "" };
            let left = most.saturating_sub(shown.text.len() + separator.len());
            let Self { text, bytes, .. } = match part.text.map(RawValue::get) {
                Some(text) if text.starts_with('"') => Self::of_string(text, left),
                _ => Self::start_of(&format!("[{}]", &*part.r#type), left),
            };
            if is_whole {
                shown.text += separator;
                shown.text += &text;
            }
            shown.bytes += bytes + separator.len() as u64;
        })
        .ok()?;
        Some(shown)
    }

    /// Reads up to `most` bytes of the text of a string in JSON, and counts all of them.
    fn of_string(json: &str, most: usize) -> Self {
        let escaped = json.get(1..json.len() - 1).unwrap_or_default();
        let raw = escaped.as_bytes();
        let (mut at, mut end, mut bytes) = (0, 0, 0);
        while at < raw.len() {
            let (length, size) = match (raw[at], raw.get(at + 1)) {
                (b'\\', Some(b'u')) => match escaped.get(at + 2..at + 6) {
                    Some(code) => match u16::from_str_radix(code, 16) {
                        Ok(0..0x80) => (6, 1),
                        Ok(0x80..0x800) => (6, 2),
                        // The first half of a pair.
                        Ok(0xd800..0xdc00) => (12, 4),
                        _ => (6, 3),
                    },
                    None => (6, 3),
                },
                (b'\\', _) => (2, 1),
                _ => (1, 1),
            };
            (at, bytes) = (at + length, bytes + size);
            if bytes <= most {
                end = at;
            }
        }
        let start = &escaped[..escaped.floor_char_boundary(end)];
        // A half of a pair is not a character, and is shown as it is written.
        let text =
            serde_json::from_str(&format!("\"{start}\"")).unwrap_or_else(|_| start.to_owned());
        Self { text, bytes: bytes as u64, folded: false }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::StepText;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn texts_are_cut_between_characters_and_lines() {
        for (json, lines, most, text, bytes) in [
            (r#""abc""#, 9, 9, "abc", 3),
            (r#""abc""#, 9, 2, "ab", 3),
            (r#""a\nb\n""#, 2, 9, "a\nb\n", 4),
            (r#""a\nb\nc""#, 2, 9, "a\nb", 5),
            (r#""é\u00e9\ud83d\ude00x""#, 9, 8, "éé😀", 9),
            (r#""é\u00e9\ud83d\ude00x""#, 9, 7, "éé", 9),
            (r#""é\u00e9""#, 9, 1, "", 4),
            (r#""\"\\\/""#, 9, 2, "\"\\", 3),
            (r#""\ud83dx""#, 9, 9, r"\ud83dx", 4),
            ("null", 9, 9, "", 0),
            (r#"{"a": "é"}"#, 9, 8, r#"{"a": ""#, 11),
            (r#"[{"type":"text","text":"one"},{"type":"image"}]"#, 9, 99, "one\n[image]", 11),
            (r#"[{"type":"text","text":"one"},{"type":"image"}]"#, 9, 2, "on", 11),
            ("[1]", 9, 9, "[1]", 3),
        ] {
            let StepText { text: shown, bytes: all, folded } =
                StepText::of(Some(&raw(json)), (lines, most));
            assert_eq!((&*shown, all), (text, bytes), "{json}");
            assert_eq!(folded, (text.len() as u64) < bytes, "{json}");
        }
    }

    #[test]
    fn result_of_a_command_is_its_output() {
        for (output, text) in [
            (r#"{"exit_code":0,"stdout":"a\nb\n","stderr":""}"#, "a\nb"),
            (r#"{"exit_code":3,"stdout":"a","stderr":"e\n"}"#, "exit code 3\na\ne"),
            (r#"{"exit_code":0,"stdout":"","stderr":""}"#, "no output"),
            (r#"{"exit_code":0,"stdout":1}"#, r#"{"exit_code":0,"stdout":1}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            let json = raw(&serde_json::json!(output).to_string());
            assert_eq!(StepText::of_result(Some(&json), (9, 99)).text, text);
        }
    }
}
