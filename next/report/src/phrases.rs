//! Words that every form of a document says of a run.

use runner_model::{
    Counts, RunStatus, Stage, StopSignal, Time, row::Actor, status::RunVerdict, units::plural,
    visible::visible_line,
};

use runner_record::RunHead;

/// Status, reason and signal, such as `incomplete (interrupted, SIGINT)`; of a completed run its verdict.
#[must_use]
pub fn standing(run: &RunHead) -> String {
    let status = match (run.status, run.verdict) {
        (RunStatus::Completed, RunVerdict::Failed) => return "failed".to_owned(),
        (RunStatus::Completed, _) => return "passed".to_owned(),
        (status, _) => status,
    };
    match (run.reason, run.signal) {
        (Some(reason), Some(signal)) => format!("{status} ({reason}, {signal})"),
        (Some(reason), None) => format!("{status} ({reason})"),
        (None, _) if run.stage == Stage::Waiting => format!("{status} (waiting)"),
        (None, _) if run.paused.is_some() => format!("{status} (paused)"),
        (None, _) => status.to_string(),
    }
}

/// Counts that are not 0: `6 passed, 3 failed, 1 flaky`.
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
    let words = words.iter().filter(|(count, ..)| *count > 0);
    let words: Vec<_> = words.map(|(count, one, many)| plural(*count, one, many)).collect();
    words.join(", ")
}

/// How a signal is called by those who send it.
#[must_use]
pub fn signal(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "Ctrl-C",
        signal => signal.as_str(),
    }
}

/// Who asked for something from another process, and why.
#[must_use]
pub fn actor(by: &Actor) -> String {
    let reason = by.reason.iter().map(|reason| format!(": {reason}"));
    let words = format!("{} on {}{}", by.user, by.host, reason.collect::<String>());
    visible_line(&words).into_owned()
}

/// Who has paused a run.
#[must_use]
pub fn pauser(by: Option<&Actor>) -> String {
    by.map_or_else(|| "Ctrl-Z".to_owned(), actor)
}

/// A time as an age: `2 h ago`.
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

/// The time of day in UTC, to the millisecond: `09:18:04.015`.
#[must_use]
pub fn time_of_day(time: Time) -> String {
    let text = time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}

/// A word of a command that can be typed into a shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain =
        |character: char| character.is_alphanumeric() || "_-./@#+=:,".contains(character);
    match !word.is_empty() && !word.starts_with('#') && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A time in UTC, to the second: `2026-11-20 09:18:04`.
#[must_use]
pub fn clock(time: Time) -> String {
    let text = time.to_string();
    let second = text.split('.').next().unwrap_or(&text);
    second.replace('T', " ")
}
