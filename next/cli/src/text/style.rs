//! Colours and other emphasis. What is painted is made visible first, so a guest's text cannot end or change it.

use runner_model::{Outcome, visible::visible};

use super::layout::pieces;

fn paint(code: &str, text: &str) -> String {
    format!("\u{1b}[{code}m{}\u{1b}[0m", visible(text))
}

pub fn bold(text: &str) -> String {
    paint("1", text)
}

pub fn dim(text: &str) -> String {
    paint("2", text)
}

pub fn red(text: &str) -> String {
    paint("31", text)
}

pub fn green(text: &str) -> String {
    paint("32", text)
}

pub fn yellow(text: &str) -> String {
    paint("33", text)
}

pub fn error(text: &str) -> String {
    paint("1;31", text)
}

pub fn warning(text: &str) -> String {
    paint("1;33", text)
}

/// How many ended badly; nothing of none.
pub fn bad_count(count: u64) -> String {
    match count {
        0 => String::new(),
        count => red(&count.to_string()),
    }
}

/// The paint of a text.
pub type Paint = fn(&str) -> String;

/// An outcome with its sign.
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

/// The text without its colours.
pub fn plain(text: &str) -> String {
    let plain = pieces(text).filter(|(_, is_style)| !is_style);
    plain.map(|(piece, _)| piece).collect()
}
