//! Colours and other emphasis. Control characters are escaped first, so a plugin's text cannot end or change its colour.

use runner_model::{Outcome, units::grouped, visible::visible};

use super::layout::pieces;

/// A function that colours a text.
pub type Paint = fn(&str) -> String;

fn paint(code: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("\u{1b}[{code}m{}\u{1b}[0m", visible(text))
}

/// Defines functions that emphasise a text, each with its code.
macro_rules! paints {
    ($($name:ident: $code:literal,)*) => {
        $(pub fn $name(text: &str) -> String { paint($code, text) })*
    };
}

paints! {
    bold: "1",
    dim: "2",
    red: "31",
    green: "32",
    cyan: "36",
    inverse_red: "7;31",
    inverse_green: "7;32",
    yellow: "33",
    orange: "38;5;208",
    amber: "38;5;214",
    blue: "38;5;39",
    error: "1;31",
    warning: "1;33",
}

/// Formats a count in a table. 0 is empty, so that a column without counts is left out.
pub fn count(count: u64) -> String {
    if count == 0 { String::new() } else { grouped(count) }
}

/// Formats a count of failures in a table, as [`count`].
pub fn bad_count(bad: u64) -> String {
    if bad == 0 { String::new() } else { red(&count(bad)) }
}

/// Formats an outcome with its sign.
pub fn outcome(outcome: Outcome) -> String {
    let (sign, paint): (char, Paint) = match outcome {
        Outcome::Passed => ('✓', green),
        Outcome::Failed | Outcome::Error | Outcome::Timeout => ('✗', red),
        Outcome::Skipped => ('○', yellow),
        Outcome::Stopped => ('⊘', yellow),
        Outcome::Ungraded => ('◐', yellow),
    };
    paint(&format!("{sign} {outcome}"))
}

/// Removes the colours from a text.
pub fn plain(text: &str) -> String {
    pieces(text).filter(|(_, is_style)| !is_style).map(|(piece, _)| piece).collect()
}
