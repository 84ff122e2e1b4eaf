//! Phrases about runs that several documents and commands use.

use runner_model::{
    Counts, RunStatus, Stage, StopSignal, Time,
    row::Actor,
    status::RunVerdict,
    units::{grouped, plural},
    visible::visible_line,
};

use runner_record::RunHead;

/// Formats status, reason and signal, such as `incomplete (interrupted, SIGINT)`, or the verdict of a completed run.
#[must_use]
pub fn status_text(run: &RunHead) -> String {
    let status = match (run.status, run.verdict) {
        (RunStatus::Cancelled, RunVerdict::Damaged) => return "damaged (cancelled)".to_owned(),
        (_, RunVerdict::Damaged) => return "damaged".to_owned(),
        (RunStatus::Completed, RunVerdict::Failed) => return "failed".to_owned(),
        (RunStatus::Completed, _) => return "passed".to_owned(),
        (status, _) => status,
    };
    match (run.reason, run.signal) {
        (Some(reason), Some(signal)) => format!("{status} ({reason}, {signal})"),
        (Some(reason), None) => format!("{status} ({reason})"),
        (None, _) if run.paused.is_some() => format!("{status} (paused)"),
        (None, _) if run.stage == Stage::Waiting => format!("{status} (waiting)"),
        (None, _) => status.to_string(),
    }
}

/// Formats counts that are not 0: `6 passed, 3 failed, 1 flaky`.
#[must_use]
pub fn counts(counts: &Counts) -> String {
    let words = [
        (counts.passed, "passed", "passed"),
        (counts.failed, "failed", "failed"),
        (counts.error, "error", "errors"),
        (counts.timeout, "timeout", "timeouts"),
        (counts.skipped, "skipped", "skipped"),
        (counts.flaky, "flaky", "flaky"),
    ];
    let shown = words.iter().filter(|(count, ..)| *count > 0);
    shown.map(|(count, one, many)| plural(*count, one, many)).collect::<Vec<_>>().join(", ")
}

/// Formats counts that are not 0 with signs: `✓ 6  ✗ 3  ○ 1`. `✗` counts failures, errors and timeouts.
#[must_use]
pub fn short_counts(counts: &Counts) -> String {
    let signs = [('✓', counts.passed), ('✗', counts.bad()), ('○', counts.skipped)];
    let shown = signs.iter().filter(|(_, count)| *count > 0);
    shown.map(|(sign, count)| format!("{sign} {}", grouped(*count))).collect::<Vec<_>>().join("  ")
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

/// Formats an age: `2 h ago`.
#[must_use]
pub fn ago(now: Time, time: Time) -> String {
    let age = now.since(time);
    let (count, unit) = match age.as_secs() {
        0..60 => return "just now".to_owned(),
        seconds @ 60..3600 => (seconds / 60, "min"),
        seconds @ 3600..172_800 => (seconds / 3600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    format!("{count} {unit} ago")
}

/// Formats the time of day in UTC, to the millisecond: `09:18:04.015`.
#[must_use]
pub fn time_of_day(time: Time) -> String {
    let text = time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}

/// Formats a time in UTC, to the second: `2026-11-20 09:18:04`.
#[must_use]
pub fn clock(time: Time) -> String {
    let text = time.to_string();
    let second = text.split('.').next().unwrap_or(&text);
    second.replace('T', " ")
}
