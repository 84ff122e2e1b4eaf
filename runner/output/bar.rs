//! The progress bar of a run.

use std::time::Duration;

use indicatif::{ProgressState, ProgressStyle};
use owo_colors::OwoColorize as _;

use super::format;
use crate::{model::Counts, plugin::Moment, run};

/// How fast trials end: those of this session, since the first could begin, by the time in which the process could work.
#[derive(Clone, Copy)]
pub(super) struct TrialPace {
    /// What earlier sessions have done.
    before: u64,
    begun: Moment,
}

impl TrialPace {
    pub(super) fn begin(before: u64) -> Self {
        Self {
            before,
            begun: Moment::now(),
        }
    }

    /// Trials in a second, of `done` in all; `None` before the first has ended.
    fn rate(self, done: u64) -> Option<f64> {
        rate(done.saturating_sub(self.before), self.begun.elapsed())
    }
}

fn rate(done: u64, elapsed: Duration) -> Option<f64> {
    (done > 0).then(|| done as f64 / elapsed.as_secs_f64().max(0.001))
}

/// How long the rest takes at this rate; a year stands for longer.
fn left(rest: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64((rest as f64 / rate).max(1.0)).unwrap_or(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// From how many columns on there is room for a trial beside the bar.
const WIDE: usize = 140;
/// From how many columns on there is room for all numbers of a run of millions beside a bar of full length.
const FULL: usize = 110;
/// Below how many columns there is none for the rate.
const NARROW: usize = 80;

/// What there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BarRoom {
    /// Whether what is running longest has a line of its own.
    is_tall: bool,
    /// Whether the bar is as long as what is beside it leaves.
    is_short: bool,
    /// Whether there is none for the rate.
    is_narrow: bool,
}

impl BarRoom {
    /// The room on a screen of so many columns; `is_wanted` tells whether there is something that runs for long.
    pub(super) fn of(columns: Option<usize>, is_wanted: bool) -> Self {
        let is_less = |than| columns.is_some_and(|columns| columns < than);
        Self {
            is_tall: is_wanted && is_less(WIDE),
            is_short: is_less(FULL),
            is_narrow: is_less(NARROW),
        }
    }
}

/// How the bar is laid out, with what is running longest at its end or, in a tall one, below it.
pub(super) fn style(room: BarRoom, pace: Option<TrialPace>) -> ProgressStyle {
    let rate = move |state: &ProgressState| pace?.rate(state.pos());
    let count = |get: fn(&ProgressState) -> u64| {
        move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // A writer of the screen's buffer cannot fail.
            let _ = writer.write_str(&format::count(get(state)));
        }
    };
    // What is running longest comes last: it is cut where the screen ends.
    let message = match (room.is_tall, room.is_short) {
        (true, _) => "\n{wide_msg:.dim}",
        (false, false) => "  {wide_msg:.dim}",
        // There is room for a bar or for this.
        (false, true) => "",
    };
    let bar = if room.is_short {
        "{wide_bar:.cyan/dim}"
    } else {
        "{bar:24.cyan/dim}"
    };
    let pace_text = if room.is_narrow { "" } else { "  {rate:.dim}" };
    ProgressStyle::with_template(&format!(
        "{bar} {{done}}/{{planned}}  {{prefix}}{pace_text}  {{left:.dim}}{message}",
    ))
    .expect("the template is valid")
    .with_key("done", count(ProgressState::pos))
    .with_key("planned", count(|state| state.len().unwrap_or(0)))
    .with_key(
        "rate",
        move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            if let Some(rate) = rate(state) {
                let _ = write!(writer, "{}", rate_text(rate));
            }
        },
    )
    .with_key(
        "left",
        move |state: &ProgressState, writer: &mut dyn std::fmt::Write| {
            // Before anything is done nobody knows.
            if let Some(rate) = rate(state) {
                let rest = state.len().unwrap_or(0).saturating_sub(state.pos());
                let left = Duration::from_secs(left(rest, rate).as_secs());
                let _ = write!(writer, "{} left", format::duration(left));
            }
        },
    )
    .progress_chars("━╸─")
}

fn rate_text(rate: f64) -> String {
    // Slow ones have a rate as well.
    match rate < 10.0 {
        true => format!("{rate:.1}/s"),
        false => format!("{rate:.0}/s"),
    }
}

/// How far a run is, of which so many trials have yet to be graded.
pub(super) fn place(counts: Counts, ungraded: u64) -> String {
    let (planned, done) = (format::count(counts.planned), format::count(counts.done()));
    match ungraded {
        0 => format!("{done} of {planned}"),
        more => {
            let executed = format::count(counts.done() + more);
            format!("{executed} of {planned} executed, {done} graded")
        }
    }
}

/// What is done, by how it ended, and how many trials have yet to be graded.
pub(super) fn counts(counts: Counts, ungraded: u64) -> String {
    let bad = |number: u64, word: &str| {
        let text = format!("{} {word}", format::count(number));
        if number == 0 {
            text.dimmed().to_string()
        } else {
            text.red().to_string()
        }
    };
    let ungraded = match ungraded {
        0 => String::new(),
        number => format!(
            " {}",
            format!("{} to grade", format::count(number)).yellow()
        ),
    };
    format!(
        "{} {} {}{ungraded}",
        format!("{} passed", format::count(counts.passed)).green(),
        bad(counts.failed, "failed"),
        bad(counts.error + counts.timeout, "errors")
    )
}

/// What is worth to be said of what goes on beside its counts: what keeps more from running, and what has run longest.
pub(super) fn message(
    longest: Option<&run::Running<'_>>,
    shortage: Option<run::Shortage>,
) -> String {
    let waits = shortage.map(|shortage| match shortage {
        run::Shortage::Memory => "more wait for memory".to_owned(),
        run::Shortage::Workers => "waits for workers".to_owned(),
    });
    let parts = waits.into_iter().chain(longest.map(self::longest));
    parts.collect::<Vec<_>>().join(", ")
}

/// What is said behind a message where a key shows more of it.
pub(super) fn key_hint(message: &str, has_keys: bool) -> &'static str {
    match has_keys && !message.is_empty() {
        true => "  t: all",
        false => "",
    }
}

/// The attempt that began first.
fn longest(longest: &run::Running<'_>) -> String {
    format!(
        "longest {} {}",
        format::visible_line(longest.trial),
        format::duration(longest.elapsed)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{left, rate, rate_text};

    #[test]
    fn the_rate_is_that_of_what_was_done_in_the_time_there_was() {
        let minute = Duration::from_secs(60);
        assert_eq!(rate(0, minute), None);
        let six = rate(360, minute).unwrap();
        assert_eq!(
            (rate_text(six), left(60, six)),
            ("6.0/s".into(), Duration::from_secs(10))
        );
        assert_eq!(rate_text(rate(36_000, minute).unwrap()), "600/s");
        // Neither nothing left nor nothing measurable is an overflow.
        assert_eq!(left(0, six), Duration::from_secs(1));
        assert!(rate(u64::MAX, Duration::ZERO).unwrap() > 1e9);
    }
}
