//! Numbers, times and states as people read them.

use std::{borrow::Cow, time::Duration};

use bytesize::ByteSize;
use jiff::{Timestamp, tz::TimeZone};
use owo_colors::OwoColorize as _;

use crate::model::{Counts, Outcome};

/// A duration with three significant digits at most: `48 µs`, `1.24 s`, `3 m 20 s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        return format!("{} µs", duration.as_micros());
    }
    if seconds < 1.0 {
        return format!("{} ms", digits(seconds * 1e3));
    }
    if seconds < 60.0 {
        return format!("{} s", digits(seconds));
    }
    let minutes = duration.as_secs() / 60;
    if minutes < 60 {
        return format!("{minutes} m {} s", duration.as_secs() % 60);
    }
    format!("{} h {} m", minutes / 60, minutes % 60)
}

/// Milliseconds with the microseconds behind the point, as documents have them.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// A count with its thousands apart: `12 345`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

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

/// `1 trial`, `2 trials`.
pub fn plural(number: u64, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(number))
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

/// An outcome with its sign, in its colour.
pub(super) fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Passed => "✓ passed".green().to_string(),
        Outcome::Failed => "✗ failed".red().to_string(),
        Outcome::Error => "✗ error".red().to_string(),
        Outcome::Timeout => "⧖ timeout".red().to_string(),
        Outcome::Skipped => "- skipped".dimmed().to_string(),
        Outcome::Stopped => "⊘ stopped".yellow().to_string(),
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "=:/._-+".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A guest's text with all that steers a terminal made visible, such as an escape as `\u{1b}`: a guest must not colour,
/// move or hide what is around it. Line breaks and tabs stay.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| None)
}

/// The same for a text that has one line, where a guest must not begin another: its line breaks are `\n`.
pub(super) fn visible_line(text: &str) -> String {
    let text = text.replace('\r', r"\r").replace('\n', r"\n");
    visible(&text).into_owned()
}

/// The same for a text with colours of our own, which stay.
pub(super) fn visible_but_styles(text: &str) -> Cow<'_, str> {
    escaped(text, style)
}

/// Tells whether a terminal does something else with a character than to show it in its place: it is a control character,
/// or turns the direction of what follows.
pub(super) fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        character => character.is_control(),
    }
}

/// Makes visible what steers a terminal; `kept` tells what stays of a text that begins with such a character.
fn escaped(text: &str, kept: fn(&str) -> Option<&str>) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(steers) {
        let (plain, tail) = rest.split_at(start);
        shown.push_str(plain);
        // An end of line as other systems have it does no more than one of ours.
        let stays = if tail.starts_with("\r\n") {
            Some("\r\n")
        } else {
            kept(tail)
        };
        let mut after = tail.chars();
        match (stays, after.next()) {
            (None, Some(character)) => {
                shown.extend(character.escape_default());
                rest = after.as_str();
            }
            (stays, _) => {
                let stays = stays.unwrap_or_default();
                shown.push_str(stays);
                rest = &tail[stays.len()..];
            }
        }
    }
    shown.push_str(rest);
    shown.into()
}

/// What `text` begins with, if that sets colours or weights and does nothing else: `ESC [ 1 ; 31 m` (ECMA-48, SGR).
fn style(text: &str) -> Option<&str> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let end = codes.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    let length = text.len() - codes.len() + end + 1;
    codes[end..].starts_with('m').then(|| &text[..length])
}

/// Three significant digits, without needless zeros.
fn digits(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{count, duration, visible, visible_but_styles, visible_line};

    #[test]
    fn what_steers_a_terminal_is_visible() {
        for (text, shown) in [
            ("plain äöü ✓\n\tline", "plain äöü ✓\n\tline"),
            ("\u{1b}]0;title\u{7}x", r"\u{1b}]0;title\u{7}x"),
            (
                "\u{1b}[2J\u{1b}[31mred\rover\n",
                "\\u{1b}[2J\\u{1b}[31mred\\rover\n",
            ),
            ("\0\u{8}\u{7f}\u{9b}31m", r"\u{0}\u{8}\u{7f}\u{9b}31m"),
            ("\u{202e}x\u{2066}", r"\u{202e}x\u{2066}"),
            ("dos\r\nline", "dos\r\nline"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_line("a\r\n✓\u{1b}"), r"a\r\n✓\u{1b}");
    }

    #[test]
    fn colours_of_our_own_stay_and_nothing_else_does() {
        for text in ["\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[mx"] {
            assert_eq!(visible_but_styles(text), text);
        }
        for (text, shown) in [
            ("\u{1b}[2Jx", r"\u{1b}[2Jx"),
            ("\u{1b}[31", r"\u{1b}[31"),
            ("\u{1b}]8;;m", r"\u{1b}]8;;m"),
            ("\u{1b}[?25mx\r", r"\u{1b}[?25mx\r"),
        ] {
            assert_eq!(visible_but_styles(text), shown);
        }
    }

    #[test]
    fn durations_are_short() {
        let shown = [
            0,
            48,
            999,
            1_240,
            52_600,
            999_999,
            1_240_000,
            12_000_000,
            200_000_000,
            7_500_000_000,
        ]
        .map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(
            shown,
            [
                "0 µs", "48 µs", "999 µs", "1.24 ms", "52.6 ms", "1000 ms", "1.24 s", "12 s",
                "3 m 20 s", "2 h 5 m"
            ]
        );
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1 000", "1 234 567"]
        );
    }
}
