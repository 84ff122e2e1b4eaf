//! Numbers, times and states as people read them.

use std::{borrow::Cow, path::Path};

use bytesize::ByteSize;
use jiff::{Timestamp, tz::TimeZone};
use owo_colors::OwoColorize as _;
use serde::Serialize;
use serde_json::Value;

use crate::model::{self, Counts, Outcome};
pub(super) use crate::model::{count, duration, number, plural, quoted, steers, visible};

/// The longest document that is laid out: of a deep value the indentation alone is a hundred times as long as the value.
pub(super) const MAX_LAID_OUT_BYTES: usize = 8 * 1024 * 1024;

/// The counts that are not 0: `2 passed, 1 error`.
pub(super) fn counted(counts: Counts) -> String {
    let word = |number, one, more| if number == 1 { one } else { more };
    let parts = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.error, word(counts.error, "error", "errors")),
        (counts.timeout, word(counts.timeout, "timeout", "timeouts")),
        (counts.skipped, "skipped"),
        (counts.flaky, "flaky"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", count(number)))
        .collect();
    if parts.is_empty() {
        "none done".into()
    } else {
        parts.join(", ")
    }
}

/// A size with its binary unit: `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A point in time as clocks here show it, to the second, with the name of its zone.
pub(super) fn local(at: Timestamp) -> String {
    let local = at.to_zoned(TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The same, short: without the year, the seconds and the zone.
pub(super) fn local_minute(at: Timestamp) -> String {
    let local = at.to_zoned(TimeZone::system());
    local.strftime("%m-%d %H:%M").to_string()
}

/// The time of day as clocks here show it, to the millisecond.
pub(super) fn clock(at: Timestamp) -> String {
    let local = at.to_zoned(TimeZone::system());
    local.strftime("%H:%M:%S.%3f").to_string()
}

/// An outcome with its sign, in its colour.
pub(super) fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Passed => "✓ passed".green().to_string(),
        Outcome::Failed => "✗ failed".red().to_string(),
        Outcome::Error => "✗ error".red().to_string(),
        Outcome::Timeout => "⧖ timeout".red().to_string(),
        Outcome::Skipped => "- skipped".dimmed().to_string(),
        Outcome::Stopped => "⊘ stopped".yellow().to_string(),
        Outcome::Ungraded => "… ungraded".yellow().to_string(),
    }
}

/// A text of one line in which nothing steers a terminal: a guest's, a file's, or a person's.
pub(super) fn visible_line(text: &str) -> String {
    model::visible_line(text).into_owned()
}

/// A path as people read it, on one line.
pub(super) fn path(path: &Path) -> String {
    visible_line(&path.display().to_string())
}

/// A text in which nothing steers a terminal but colours of our own.
pub(super) fn visible_but_styles(text: &str) -> Cow<'_, str> {
    model::escaped(text, style)
}

/// Such a text without its colours.
pub(super) fn without_styles(text: &str) -> Cow<'_, str> {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or_default();
    if first.len() == text.len() {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    plain.push_str(first);
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain.into()
}

/// A document of JSON, laid out for people, or on one line where that would be too much for anybody to read; nothing
/// steers a terminal in it.
pub(super) fn document(document: &impl Serialize) -> String {
    let value = serde_json::to_value(document).expect("a document has string keys alone");
    pretty(&value)
}

/// The same of a value.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = vec![0; MAX_LAID_OUT_BYTES];
    let mut room = text.as_mut_slice();
    if serde_json::to_writer_pretty(&mut room, value).is_err() {
        return compact(value);
    }
    let left = room.len();
    text.truncate(MAX_LAID_OUT_BYTES - left);
    text.shrink_to_fit();
    model::escape_json(&mut text, 0);
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// A value or a document as JSON on one line, the same way.
pub(super) fn compact(value: &impl Serialize) -> String {
    let mut text = serde_json::to_vec(value).expect("a document has string keys alone");
    model::escape_json(&mut text, 0);
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// What `text` begins with, if that sets one of the colours or weights that we use and does nothing else: `ESC [ 1 ; 31 m`
/// (ECMA-48, SGR). Those that hide a text, or paint what is behind it, are not among them.
fn style(text: &str) -> Option<&str> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let end = codes.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    let length = text.len() - codes.len() + end + 1;
    // The one palette of 256 colours that we take one from is behind `38;5`.
    let is_ours = codes[..end] == *"38;5;208" || codes[..end].split(';').all(is_our_style);
    (is_ours && codes[end..].starts_with('m')).then(|| &text[..length])
}

/// Tells whether we set this colour or weight, or end it.
fn is_our_style(code: &str) -> bool {
    matches!(
        code,
        "" | "0" | "1" | "2" | "4" | "22" | "24" | "31" | "32" | "33" | "34" | "35" | "36" | "39"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{count, pretty, visible_but_styles, without_styles};

    #[test]
    fn what_is_too_large_to_be_read_is_on_one_line() {
        assert_eq!(pretty(&json!({"a": [1]})), "{\n  \"a\": [\n    1\n  ]\n}");
        let numbers = json!(vec![0; 50_000]);
        let deep = (0..100).fold(numbers, |inner, _| json!([inner]));
        let text = pretty(&deep);
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), deep);
    }

    #[test]
    fn colours_of_our_own_stay_and_nothing_else_does() {
        for text in [
            "\u{1b}[1;31mred\u{1b}[0m",
            "\u{1b}[mx",
            "plain ümlaut",
            "am \u{1b}[38;5;208mäm\u{1b}[39m m",
        ] {
            assert_eq!(visible_but_styles(text), text);
            let plain = anstream::adapter::strip_str(text).to_string();
            assert_eq!(without_styles(text), plain);
        }
        for (text, shown) in [
            ("\u{1b}[2Jx", r"\u{1b}[2Jx"),
            ("\u{1b}[31", r"\u{1b}[31"),
            ("\u{1b}]8;;m", r"\u{1b}]8;;m"),
            ("\u{1b}[?25mx\r", r"\u{1b}[?25mx\r"),
            // It hides what follows, and it paints black on black.
            ("\u{1b}[8mx", r"\u{1b}[8mx"),
            ("\u{1b}[30;40mx", r"\u{1b}[30;40mx"),
        ] {
            assert_eq!(visible_but_styles(text), shown);
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1 000", "1 234 567"]
        );
    }
}
