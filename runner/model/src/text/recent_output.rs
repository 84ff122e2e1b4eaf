//! [`RecentOutput`]: the last output of a running attempt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of the output of a running attempt that are kept, counted as in JSON.
pub const MAX_RECENT: usize = 1 << 10;
/// The oldest running attempts, whose output is shown.
pub const MOST_SHOWN: usize = 100;

/// The end of the output of a running attempt: its log records as lines, its standard output and standard error, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentOutput {
    /// Bytes of all output until now, which may be more than those of `text`.
    pub bytes: u64,
    /// The end of the output.
    pub text: String,
}

impl RecentOutput {
    /// Drops all but the last characters, whose JSON has at most [`MAX_RECENT`] bytes.
    pub fn cut(&mut self) {
        let mut room = MAX_RECENT;
        let kept = self.text.char_indices().rev().take_while(|(_, character)| {
            let left = room.checked_sub(json_bytes(*character));
            room = left.unwrap_or(0);
            left.is_some()
        });
        let start = kept.last().map_or(self.text.len(), |(at, _)| at);
        self.text = self.text[start..].to_owned();
    }

    /// Returns the last line that is not blank, without spaces around it. Empty if there is no such line.
    pub fn last_line(&self) -> &str {
        self.text.trim_end().lines().next_back().unwrap_or_default().trim()
    }
}

/// Returns the bytes of a character in a string of JSON.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        character => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_RECENT, RecentOutput};

    #[test]
    fn recent_output_is_cut_as_json() {
        for text in ["x", "\u{e9}", "\n", "\u{1b}", "\"\u{1f600}\\\u{7f}"] {
            let whole = text.repeat(2 * MAX_RECENT);
            let mut output = RecentOutput { bytes: 0, text: whole.clone() };
            output.cut();
            let json = serde_json::to_string(&output.text).unwrap().len() - 2;
            assert!((MAX_RECENT - 5..=MAX_RECENT).contains(&json), "{text:?}: {json}");
            assert!(whole.ends_with(&output.text));
        }
        let mut output = RecentOutput { bytes: 3, text: "a\n \n".to_owned() };
        output.cut();
        assert_eq!((output.text.as_str(), output.last_line()), ("a\n \n", "a"));
    }
}
