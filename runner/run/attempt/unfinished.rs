//! Attempts that nobody has made to their end: all that is known of them is what they came to.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    model::{Attempt, AttemptError, ErrorClass, Outcome, TrialId, Usage},
    run::clock::Now,
};

/// The word in rows for an attempt that a stop has ended.
pub(in crate::run) const STOPPED: &str = "stopped";
/// The word in rows for an attempt whose executor is gone.
const LOST: &str = "lost";

/// Which attempt it is.
pub(in crate::run) struct AttemptIdentity {
    pub(in crate::run) ordinal: u64,
    pub(in crate::run) trial: TrialId,
    pub(in crate::run) number: u32,
    pub(in crate::run) started_at: Timestamp,
}

/// What ended a process or an executor, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) struct Deaths {
    /// How many times in a row the trial was being executed then.
    pub(in crate::run) count: u32,
    /// Whether at least one was of an executor, and not of the runner's own process.
    pub(in crate::run) is_of_executors: bool,
}

/// Makes an attempt of which nothing is known but what it came to.
pub(in crate::run) fn blank(of: AttemptIdentity, outcome: Outcome) -> Attempt {
    Attempt {
        ordinal: of.ordinal,
        trial: of.trial,
        number: of.number,
        outcome,
        score: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        output: None,
        verdict: None,
        summary: None,
        error: None,
        started_at: of.started_at,
        duration: Duration::ZERO,
        suspended: Duration::ZERO,
        worker: None,
        usage: Usage::default(),
        denied: Vec::new(),
        artifacts: Vec::new(),
        log: Vec::new(),
        stderr: String::new(),
        stdout: String::new(),
    }
}

/// Makes the attempt of a trial whose guest did not answer a stop.
pub(in crate::run) fn given_up(of: AttemptIdentity, begun: Now, now: Now) -> Attempt {
    let attempt = blank(of, Outcome::Stopped);
    unanswered(attempt, stop_error(), begun, now)
}

/// Makes the attempt of a trial whose executor is gone.
pub(in crate::run) fn lost(of: AttemptIdentity, begun: Now, now: Now) -> Attempt {
    let error = error(
        None,
        LOST,
        "whoever executed it is gone, and it is made again".into(),
    );
    unanswered(blank(of, Outcome::Stopped), error, begun, now)
}

/// Makes the attempt that records a trial as what ends the process.
pub(in crate::run) fn poisoned(of: AttemptIdentity, deaths: Deaths) -> Attempt {
    let count = deaths.count;
    let message = match deaths.is_of_executors {
        false => format!("the runner's process died {count} times in a row while this trial ran"),
        true => format!("whoever executed this trial was lost {count} times in a row"),
    };
    Attempt {
        error: Some(error(Some(ErrorClass::Poison), "poison", message)),
        ..blank(of, Outcome::Error)
    }
}

/// What a stopped attempt's row says.
pub(in crate::run) fn stop_error() -> AttemptError {
    error(None, STOPPED, "the run was stopped".into())
}

fn unanswered(attempt: Attempt, error: AttemptError, begun: Now, now: Now) -> Attempt {
    Attempt {
        duration: now.at.saturating_duration_since(begun.at),
        suspended: now.suspended.saturating_sub(begun.suspended),
        error: Some(error),
        ..attempt
    }
}

fn error(class: Option<ErrorClass>, code: &str, message: String) -> AttemptError {
    AttemptError {
        class,
        code: code.into(),
        message,
        retry_after: None,
        fault: None,
    }
}
