//! The progress bar of a run.

use std::time::Duration;

use indicatif::{ProgressState, ProgressStyle};
use owo_colors::OwoColorize as _;

use super::format;
use crate::{model::Counts, run};

/// From how many columns on there is room for a trial beside the bar.
pub(super) const WIDE: usize = 140;

/// How the bar is laid out, with what is running longest at its end or, in a tall one, below it.
pub(super) fn style(is_tall: bool) -> ProgressStyle {
    let count = |get: fn(&ProgressState) -> u64| {
        move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // A writer of the screen's buffer cannot fail.
            let _ = writer.write_str(&format::count(get(state)));
        }
    };
    // What is running longest comes last: it is cut where the screen ends.
    let end = if is_tall { "\n" } else { "  " };
    ProgressStyle::with_template(&format!(
        "{{bar:24.cyan/dim}} {{done}}/{{planned}}  {{prefix}}  {{rate:.dim}}  {{left:.dim}}{end}{{wide_msg:.dim}}",
    ))
    .expect("the template is valid")
    .with_key("done", count(ProgressState::pos))
    .with_key("planned", count(|state| state.len().unwrap_or(0)))
    .with_key(
        "rate",
        |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            let _ = write!(writer, "{:.0}/s", state.per_sec());
        },
    )
    .with_key(
        "left",
        |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // Before anything is done nobody knows.
            if state.pos() > 0 {
                let left = Duration::from_secs(state.eta().as_secs().max(1));
                let _ = write!(writer, "{} left", format::duration(left));
            }
        },
    )
    .progress_chars("━╸─")
}

/// What is done, by how it ended.
pub(super) fn counts(counts: Counts) -> String {
    let bad = |number: u64, word: &str| {
        let text = format!("{} {word}", format::count(number));
        if number == 0 {
            text.dimmed().to_string()
        } else {
            text.red().to_string()
        }
    };
    format!(
        "{} {} {}",
        format!("{} passed", format::count(counts.passed)).green(),
        bad(counts.failed, "failed"),
        bad(counts.error + counts.timeout, "errors")
    )
}

/// The attempt that began first.
pub(super) fn longest(longest: &run::Running<'_>) -> String {
    format!(
        "longest {} {}",
        longest.trial,
        format::duration(longest.elapsed)
    )
}
