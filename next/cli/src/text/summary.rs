//! How a run stands, in words: the line that exec, resume and show end with, and what to type next.

use std::time::Duration;

use runner_model::{
    Reason, RunStatus, Stage, StopSignal, Time,
    row::Actor,
    status::{Counts, RunVerdict},
    units::{plural, show_duration},
    visible::visible_line,
};
use runner_report::RunSummary;

use super::{
    Out,
    style::{self, Paint},
};

/// The status, the verdict, the counts and the time on one line.
pub fn standing(run: &RunSummary, took: Duration) -> String {
    let (counts, planned) = (run.counts.done, run.counts.planned);
    let took = match took.is_zero() {
        true => String::new(),
        false => format!(" in {}", show_duration(took)),
    };
    let exit = run.exit_code.map(|code| format!("; exit code {code}"));
    let exit = exit.unwrap_or_default();
    let counted = |counts: &Counts| match count_words(counts) {
        words if words.is_empty() => words,
        words => format!(" ({words})"),
    };
    match (run.status, run.verdict) {
        (RunStatus::Completed, verdict) => {
            let (count, others) = match verdict {
                RunVerdict::Failed => (counts.bad(), counts),
                _ => (
                    counts.passed,
                    Counts {
                        passed: 0,
                        ..counts
                    },
                ),
            };
            let head = headed(run, &format!(": {count} of {planned}"));
            format!("{head}{}{took}", counted(&others))
        }
        (RunStatus::Failed, _) => headed(run, ": could not start") + &exit,
        _ => {
            let (head, done) = (headed(run, ":"), counts.done());
            let counted = counted(&counts);
            format!("{head} {done} of {planned} done{counted}{took}{exit}")
        }
    }
}

/// The words for a run behind its sign, and more, as it is painted.
pub fn headed(run: &RunSummary, more: &str) -> String {
    let (sign, paint): (char, Paint) = match (run.status, run.verdict) {
        (RunStatus::Completed, RunVerdict::Failed) | (RunStatus::Failed, _) => ('✗', style::red),
        (RunStatus::Completed, _) => ('✓', style::green),
        (RunStatus::Running, _) => ('○', style::bold),
        (RunStatus::Incomplete, _) => ('◐', style::yellow),
        (RunStatus::Cancelled, _) => ('⊘', style::yellow),
    };
    paint(&format!("{sign} {}{more}", standing_words(run)))
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

/// Prints what a user may want to type next.
pub fn print_next_steps(run: &RunSummary, root_flag: &str, out: &Out) {
    let name = &run.short;
    if run.counts.done.bad() > 0 {
        out.hint(&format!("see why: runner show {name} --failed{root_flag}"));
    }
    if run.is_resumable() {
        // Without more of it nothing could begin.
        let more = match run.reason {
            Some(Reason::Budget) => " --budget METRIC=VALUE",
            _ => "",
        };
        out.hint(&format!("continue: runner resume {name}{root_flag}{more}"));
    }
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
