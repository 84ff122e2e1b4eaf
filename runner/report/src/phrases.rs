//! Phrases about runs that several documents and commands use.

use runner_model::{
    Counts, Reason, Stage, StopSignal, Time,
    outcome::Verdict,
    row::{Actor, Grade, Metric},
    show_time,
    status::RunState,
    units::{grouped, show_apart},
    visible::visible_line,
};

use runner_record::RunHead;

/// Formats the state of a run with reason and signal, such as `incomplete (SIGINT)`.
#[must_use]
pub fn status_text(run: &RunHead) -> String {
    let state = run.state();
    let word = state.as_str().replace('-', " ");
    match (state, run.reason, run.signal) {
        (RunState::Damaged, Some(Reason::Cancelled), _) => "damaged (cancelled)".to_owned(),
        (RunState::Passed | RunState::Failed | RunState::Damaged | RunState::Cancelled, ..) => word,
        (_, Some(Reason::Interrupted), Some(signal)) => format!("{word} ({signal})"),
        (_, Some(reason), _) => format!("{word} ({reason})"),
        _ if run.paused.is_some() => format!("{word} (paused)"),
        _ if run.stage == Stage::Waiting => format!("{word} (waiting)"),
        (RunState::Running, ..) if run.message.is_some() => format!("{word} (no workers)"),
        _ => word,
    }
}

/// Follows the state of a run in the output of a session that ran nothing.
pub const NONE_RUN: &str = ", none run now";

/// Formats how many trials are done: `7 of 12 done`, or `9 of 12 executed, 7 graded` if outputs wait for graders.
#[must_use]
pub fn done(counts: &Counts, planned: u64) -> String {
    let [done, executed, planned] =
        [counts.done(), counts.done() + counts.ungraded, planned].map(grouped);
    match counts.ungraded {
        0 => format!("{done} of {planned} done"),
        _ => format!("{executed} of {planned} executed, {done} graded"),
    }
}

/// Formats a verdict with its score: `pass 0.9`.
#[must_use]
pub fn grade(grade: &Grade<'_>) -> String {
    let score = grade.score.map(|score| {
        let [score, _] = score_and_least(score, grade.min_score.unwrap_or(score));
        format!(" {score}")
    });
    let score = score.unwrap_or_default();
    format!("{}{score}", grade.verdict.map_or("error", Verdict::as_str))
}

/// Formats counts that are not 0 with signs: `✓ 6  ✗ 3  ○ 1`. `✗` counts failures, errors and timeouts.
#[must_use]
pub fn short_counts(counts: &Counts) -> String {
    let signs = [('✓', counts.passed), ('✗', counts.bad()), ('○', counts.skipped)];
    let shown = signs.iter().filter(|(_, count)| *count > 0);
    shown.map(|(sign, count)| format!("{sign} {}", grouped(*count))).collect::<Vec<_>>().join("  ")
}

/// Formats a score, a metric or its sum, with up to six digits after rounding: `0.333333`, `12,345`, `1.5e-30`.
#[must_use]
pub fn number(value: f64) -> String {
    let whole = value.round().abs();
    if (value.fract() == 0.0 || whole >= 1e5) && whole < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(whole as u64));
    }
    significant(value, 6)
}

/// Formats a score and the least one that passes, with more than six digits if both would read the same.
#[must_use]
pub fn score_and_least(score: f64, least: f64) -> [String; 2] {
    show_apart(score, least, |one, form| match form {
        0 => number(one),
        more => significant(one, 6 + more),
    })
}

/// Formats a number with up to this number of significant digits.
fn significant(value: f64, digits: usize) -> String {
    let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    match rounded.abs() {
        0.0 | 1e-9..1e15 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

/// Formats a share: `42.9 %`. A share below 1 is not rounded to 100 %, and one above 0 not to 0 %.
#[must_use]
pub fn percent(share: f64) -> String {
    let tenths = (1000.0 * share).round();
    let is_part = share > 0.0 && share < 1.0;
    format!("{:.1} %", if is_part { tenths.clamp(1.0, 999.0) } else { tenths } / 10.0)
}

/// Formats a metric with its unit: `price 12 EUR`. The unit `1` and one that repeats the name are left out.
#[must_use]
pub fn metric(metric: &Metric<'_>) -> String {
    let unit = metric.unit.iter().filter(|unit| ***unit != *"1" && ***unit != *metric.name);
    let unit: String = unit.map(|unit| format!(" {unit}")).collect();
    format!("{} {}{unit}", &*metric.name, number(metric.value))
}

/// Formats the fields of a log record: ` name=value`, with quotes around values that have spaces.
pub fn fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let field = |(name, value): (&str, &str)| {
        if value.is_empty() || value.contains([' ', '"', '\n', '=']) {
            format!(" {name}={value:?}")
        } else {
            format!(" {name}={value}")
        }
    };
    fields.map(field).collect()
}

/// Returns the name of a signal for users.
#[must_use]
pub fn signal(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "Ctrl-C",
        signal => signal.as_str(),
    }
}

/// Formats a user, with machine and reason.
#[must_use]
pub fn actor(by: &Actor) -> String {
    let reason = by.reason.iter().map(|reason| format!(": {reason}"));
    let words = format!("{} on {}{}", by.user, by.host, reason.collect::<String>());
    visible_line(&words).into_owned()
}

/// Formats the source of a pause.
#[must_use]
pub fn pauser(by: Option<&Actor>) -> String {
    by.map_or_else(|| "Ctrl-Z".to_owned(), actor)
}

/// Formats an age: `2 h ago`. A time of a clock that is ahead of this one may be `in 5 min`.
#[must_use]
pub fn ago(now: Time, time: Time) -> String {
    let distance = now.since(time).max(time.since(now));
    let (count, unit) = match distance.as_secs() {
        0..60 => return "just now".to_owned(),
        seconds @ 60..3600 => (seconds / 60, "min"),
        seconds @ 3600..172_800 => (seconds / 3600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    if time > now { format!("in {count} {unit}") } else { format!("{count} {unit} ago") }
}

/// Formats the time of day, to the millisecond: `09:18:04.015`.
#[must_use]
pub fn time_of_day(time: Time) -> String {
    show_time(time, "%H:%M:%S%.3f")
}

/// Formats a time to the second: `2026-11-20 09:18:04`.
#[must_use]
pub fn clock(time: Time) -> String {
    show_time(time, "%Y-%m-%d %H:%M:%S")
}

/// Formats a time to the second with its zone: `2026-11-20 09:18:04 UTC`.
#[must_use]
pub fn zoned_clock(time: Time) -> String {
    show_time(time, "%Y-%m-%d %H:%M:%S %Z")
}

#[cfg(test)]
mod tests {
    use runner_model::Time;
    use runner_model::row::Grade;
    use serde_json::json;

    use super::{ago, grade};

    #[test]
    fn ages_of_clocks_that_are_ahead_are_distances() {
        let now = Time::parse("2026-11-20T11:00:00Z").unwrap();
        for (time, shown) in [
            ("2026-11-20T10:58:59Z", "1 min ago"),
            ("2026-11-20T10:59:01Z", "just now"),
            ("2026-11-20T11:00:59Z", "just now"),
            ("2026-11-20T11:05:30Z", "in 5 min"),
            ("2026-11-21T11:00:00Z", "in 24 h"),
            ("2026-11-17T11:00:00Z", "3 d ago"),
        ] {
            assert_eq!(ago(now, Time::parse(time).unwrap()), shown);
        }
    }

    #[test]
    fn missed_score_has_more_digits() {
        for (score, shown) in [(0.699_999_9, "fail 0.6999999"), (1.0 / 3.0, "fail 0.333333")] {
            let found = json!({
                "grader": "g", "attempt": 1, "duration_ms": 1.0, "verdict": "fail", "score": score, "min_score": 0.7,
            });
            let found = found.to_string();
            let found: Grade<'_> = serde_json::from_str(&found).unwrap();
            assert_eq!(grade(&found), shown);
        }
    }
}
