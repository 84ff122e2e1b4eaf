//! Phrases about runs that several documents and commands use.

use runner_model::{
    Counts, Outcome, Reason, Stage, StopSignal, Time,
    known::KnownState,
    outcome::Verdict,
    row::{Actor, Grade, Metric},
    show_time,
    status::RunState,
    units::{grouped, show_apart, show_rate},
    visible::visible_line,
    workspace::WorkspaceResult,
};

use runner_record::RunHead;

/// Formats the state of a run with reason and signal, such as `incomplete (SIGINT)`.
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

/// Formats the number of planned trials: `12`, or `at most 12` if adaptive repeats may need fewer. Those that are known not to be
/// needed do not count.
pub fn planned(counts: &Counts, planned: u64) -> String {
    let needed = grouped(counts.needed_of(planned));
    let is_bound = counts.not_needed.is_some() && !counts.is_whole(planned);
    if is_bound { format!("at most {needed}") } else { needed }
}

/// Formats how many trials are done: `7 of 12 done`, or `9 of 12 executed, 7 graded` if outputs wait for graders.
pub fn done(counts: &Counts, planned: u64) -> String {
    let [done, executed] = [counts.done(), counts.done() + counts.ungraded].map(grouped);
    let planned = self::planned(counts, planned);
    match counts.ungraded {
        0 => format!("{done} of {planned} done"),
        _ => format!("{executed} of {planned} executed, {done} graded"),
    }
}

/// Returns the word of a result: its outcome, or `known`.
pub fn outcome(outcome: Outcome, known: Option<KnownState>) -> &'static str {
    known.filter(|state| *state == KnownState::Known).map_or(outcome.as_str(), KnownState::as_str)
}

/// Formats the numbers of changes in a workspace: `2 added, 1 changed, partial`.
pub fn workspace(found: &WorkspaceResult) -> String {
    let counts = [(found.added, "added"), (found.changed, "changed"), (found.removed, "removed")];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut words: Vec<_> =
        counts.map(|(count, word)| format!("{} {word}", grouped(count.into()))).collect();
    if words.is_empty() {
        words.push("no changes".to_owned());
    }
    words.extend(found.partial.then(|| "partial".to_owned()));
    words.join(", ")
}

/// Formats a verdict with its score: `pass 0.9`.
pub fn grade(grade: &Grade<'_>) -> String {
    let partial = if grade.partial { "partial " } else { "" };
    let verdict = grade.verdict.map_or("error", Verdict::as_str);
    let Some(score) = grade.score else { return format!("{partial}{verdict}") };
    let [score, _] = score_and_least(score, grade.min_score.unwrap_or(score));
    format!("{partial}{verdict} {score}")
}

/// Formats counts that are not 0 with signs: `✓ 6  ✗ 3  ○ 1`. `✗` counts unexpected results, and `≈` known failures.
pub fn short_counts(counts: &Counts) -> String {
    let signs = [
        ('✓', counts.passed.saturating_sub(counts.unexpected_passes)),
        ('✗', counts.unexpected()),
        ('≈', counts.known),
        ('○', counts.skipped),
    ];
    let shown = signs.iter().filter(|(_, count)| *count > 0);
    shown.map(|(sign, count)| format!("{sign} {}", grouped(*count))).collect::<Vec<_>>().join("  ")
}

/// Formats a score, a metric or its sum for people: with three significant digits, below 1 with two, from 1,000 on without a
/// fraction: `0.33`, `45.7`, `12,345`, `1.5e-30`. A value between 0 and 1 never reads as 1.
pub fn number(value: f64) -> String {
    let whole = value.round().abs();
    if (value.fract() == 0.0 || whole >= 1e3) && whole < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(whole as u64));
    }
    if value.abs() > 1.0 {
        return significant(value, 3);
    }
    let mut texts = (2..17).map(|digits| significant(value, digits));
    texts.find(|text| !matches!(&**text, "1" | "-1")).unwrap_or_else(|| value.to_string())
}

/// Formats a score and the least one that passes, with more digits if both would read the same.
pub fn score_and_least(score: f64, least: f64) -> [String; 2] {
    show_apart(score, least, |one, form| match form {
        0 => number(one),
        more => significant(one, 2 + more),
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

/// Formats the rate of passed trials by [`show_rate`]. Empty without trials that passed or not.
pub fn pass_rate(counts: &Counts) -> String {
    match counts.passed + counts.bad() {
        0 => String::new(),
        judged => show_rate(counts.passed, judged),
    }
}

/// The unit of costs.
pub(crate) const USD: &str = "USD";

/// Formats a cost in dollars: `$12.30`, below 10 cents with two significant digits: `$0.0018`, and below a thousandth of a cent
/// only as such: `<$0.00001`.
pub fn cost(dollars: f64) -> String {
    let cents = (dollars.abs() * 100.0).round();
    let sign = if dollars < 0.0 { "-" } else { "" };
    match dollars.abs() {
        0.0 | 0.0995..1e13 => {
            format!("{sign}${}.{:02}", grouped((cents / 100.0) as u64), cents as u64 % 100)
        }
        ..0.000_01 => format!("{sign}<$0.00001"),
        size => format!("{sign}${}", significant(size, 2)),
    }
}

/// Formats a value of a metric, with its unit if it is needed: not `1`, and not one that the metric's name ends with. A value in
/// `USD` is a [`cost`].
pub(crate) fn amount(value: f64, name: &str, unit: Option<&str>) -> String {
    match unit {
        Some(USD) => cost(value),
        Some(unit) if unit != "1" && !name.to_lowercase().ends_with(&unit.to_lowercase()) => {
            format!("{} {unit}", number(value))
        }
        _ => number(value),
    }
}

/// Formats a metric with its unit: `price 12 EUR`.
pub fn metric(metric: &Metric<'_>) -> String {
    let amount = amount(metric.value, &metric.name, metric.unit.as_deref());
    format!("{} {amount}", &*metric.name)
}

/// Formats the fields of a log record: ` name=value`, with quotes around values that have spaces.
pub fn fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let texts = fields.map(|(name, value)| {
        let is_quoted = value.is_empty() || value.contains([' ', '"', '\n', '=']);
        if is_quoted { format!(" {name}={value:?}") } else { format!(" {name}={value}") }
    });
    texts.collect()
}

/// Returns the name of a signal for users.
pub fn signal(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "Ctrl-C",
        signal => signal.as_str(),
    }
}

/// Formats a user, with machine and reason.
pub fn actor(by: &Actor) -> String {
    let reason = by.reason.iter().map(|reason| format!(": {reason}"));
    let words = format!("{} on {}{}", by.user, by.host, reason.collect::<String>());
    visible_line(&words).into_owned()
}

/// Formats the source of a pause.
pub fn pauser(by: Option<&Actor>) -> String {
    by.map_or_else(|| "Ctrl-Z".to_owned(), actor)
}

/// Formats an age: `2 h ago`. A time of a clock that is ahead of this one may be `in 5 min`.
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
pub fn time_of_day(time: Time) -> String {
    show_time(time, "%H:%M:%S%.3f")
}

/// Formats a time to the second: `2026-11-20 09:18:04`.
pub fn clock(time: Time) -> String {
    show_time(time, "%Y-%m-%d %H:%M:%S")
}

/// Formats a time to the second with its zone: `2026-11-20 09:18:04 UTC`.
pub fn zoned_clock(time: Time) -> String {
    show_time(time, "%Y-%m-%d %H:%M:%S %Z")
}

#[cfg(test)]
mod tests {
    use runner_model::{Counts, Time, row::Grade, units::show_size};
    use serde_json::json;

    use super::{ago, cost, done, grade, number};

    #[test]
    fn total_is_a_bound_while_adaptive_repeats_run() {
        let counts = |passed, not_needed| Counts { passed, not_needed, ..Counts::default() };
        for (counts, shown) in [
            (counts(3, None), "3 of 20 done"),
            (counts(3, Some(0)), "3 of at most 20 done"),
            (counts(9, Some(5)), "9 of at most 15 done"),
            (counts(9, Some(11)), "9 of 9 done"),
        ] {
            assert_eq!(done(&counts, 20), shown);
        }
    }

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
    fn numbers_and_sizes_are_shown_as_in_browsers() {
        let numbers: Vec<(f64, String)> =
            serde_json::from_str(include_str!("tests/numbers.json")).unwrap();
        for (value, shown) in numbers {
            assert_eq!(number(value), shown, "{value}");
        }
        let costs: Vec<(f64, String)> =
            serde_json::from_str(include_str!("tests/costs.json")).unwrap();
        for (value, shown) in costs {
            assert_eq!(cost(value), shown, "{value}");
        }
        let sizes: Vec<(u64, String)> =
            serde_json::from_str(include_str!("tests/sizes.json")).unwrap();
        for (bytes, shown) in sizes {
            assert_eq!(show_size(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn missed_score_has_more_digits() {
        for (score, shown) in [(0.699_999_9, "fail 0.6999999"), (1.0 / 3.0, "fail 0.33")] {
            let found = json!({
                "grader": "g", "attempt": 1, "duration_ms": 1.0, "verdict": "fail", "score": score, "min_score": 0.7,
            });
            let found = found.to_string();
            let found: Grade<'_> = serde_json::from_str(&found).unwrap();
            assert_eq!(grade(&found), shown);
        }
    }
}
