//! How a run stands, in words: the line that exec, resume and show end with, and what to type next.

use std::time::Duration;

use runner_model::{
    Reason, RunStatus, Stage, StopSignal, Time,
    row::Actor,
    status::{Counts, RunVerdict},
    units::{plural, show_duration},
    visible::{visible, visible_line},
};
use runner_report::RunSummary;

use super::style;

/// The status, the verdict, the counts and the time on one line.
pub fn standing(run: &RunSummary, took: Duration) -> String {
    let (sign, paint) = style::standing(run.status, run.verdict);
    let counts = run.counts.done;
    let done = counts.done();
    let planned = run.counts.planned;
    let took = if took.is_zero() {
        String::new()
    } else {
        format!(" in {}", show_duration(took))
    };
    let words = standing_words(run);
    match (run.status, run.verdict) {
        (RunStatus::Completed, RunVerdict::Failed) => {
            let head = paint(&format!("{sign} failed: {} of {planned}", counts.bad()));
            format!("{head} ({}){took}", count_words(&counts))
        }
        (RunStatus::Completed, _) => {
            let head = paint(&format!("{sign} passed: {} of {planned}", counts.passed));
            let rest = Counts {
                passed: 0,
                ..counts
            };
            let rest = count_words(&rest);
            let rest = if rest.is_empty() {
                rest
            } else {
                format!(" ({rest})")
            };
            format!("{head}{rest}{took}")
        }
        (RunStatus::Failed, _) => {
            let head = paint(&format!("{sign} {words}: could not start"));
            format!("{head}{}", exit_words(run))
        }
        _ => {
            let head = paint(&format!("{sign} {words}:"));
            let counted = count_words(&counts);
            let counted = if done == 0 {
                counted
            } else {
                format!(" ({counted})")
            };
            format!(
                "{head} {done} of {planned} done{counted}{took}{}",
                exit_words(run)
            )
        }
    }
}

/// Status, reason and signal, such as `incomplete (interrupted, SIGINT)`; of a completed run its verdict.
pub fn standing_words(run: &RunSummary) -> String {
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

fn exit_words(run: &RunSummary) -> String {
    let code = run.exit_code.map(|code| format!("; exit code {code}"));
    code.unwrap_or_default()
}

/// Counts that are not 0: `6 passed, 3 failed, 1 flaky`.
pub fn count_words(counts: &Counts) -> String {
    let words = [
        (counts.passed, "passed", "passed"),
        (counts.failed, "failed", "failed"),
        (counts.error, "error", "errors"),
        (counts.timeout, "timeout", "timeouts"),
        (counts.skipped, "skipped", "skipped"),
        (counts.flaky, "flaky", "flaky"),
    ];
    let words = words.iter().filter(|(count, ..)| *count > 0);
    let words: Vec<_> = words
        .map(|(count, one, many)| plural(*count, one, many))
        .collect();
    words.join(", ")
}

/// Why the run is not completed, in the words of its manifest, if there are some.
pub fn message(run: &RunSummary) -> Option<String> {
    let message = run
        .message
        .as_deref()
        .filter(|message| !message.is_empty())?;
    Some(visible(message).into_owned())
}

/// What a user may want to type next. `run` is how the command names the run, with a space before it, or nothing.
pub fn next_steps(summary: &RunSummary, run: &str, root_flag: &str) -> Vec<String> {
    let mut steps = Vec::new();
    if summary.counts.done.bad() > 0 {
        steps.push(format!("see why: runner show{run} --failed{root_flag}"));
    }
    if summary.is_resumable() {
        // Without more of it nothing could begin.
        let more = match summary.reason {
            Some(Reason::Budget) => " --budget METRIC=VALUE",
            _ => "",
        };
        steps.push(format!(
            "continue: runner resume {}{root_flag}{more}",
            summary.short
        ));
    }
    steps
}

/// How a signal is called by those who send it.
pub fn signal_words(signal: StopSignal) -> &'static str {
    match signal {
        StopSignal::Interrupt => "Ctrl-C",
        signal => signal.as_str(),
    }
}

/// Who asked for something from another process, and why.
pub fn actor_words(by: &Actor) -> String {
    let reason = by.reason.iter().map(|reason| format!(": {reason}"));
    let words = format!("{} on {}{}", by.user, by.host, reason.collect::<String>());
    visible_line(&words).into_owned()
}

/// A time as an age: `2 h ago`.
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

/// A time in a table: an age on a screen, and whole elsewhere.
pub fn when(now: Time, time: Time, screen: Option<usize>) -> String {
    screen.map_or_else(|| clock(time), |_| ago(now, time))
}

/// A time in UTC, to the second: `2026-11-20 09:18:04`.
pub fn clock(time: Time) -> String {
    let text = time.to_string();
    let second = text.split('.').next().unwrap_or(&text);
    second.replace('T', " ")
}
