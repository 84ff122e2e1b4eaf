//! Attempts that nobody has made to their end: all that is known of them is what they came to.

use std::time::Duration;

use jiff::Timestamp;

use super::clock::Now;
use crate::model::{Attempt, AttemptError, ErrorClass, Outcome, TrialId, Usage};

/// The word in rows for an attempt that a stop has ended.
pub(super) const STOPPED: &str = "stopped";
/// The word in rows for an attempt whose executor is gone.
const LOST: &str = "lost";

/// Which attempt it is.
pub(super) struct Identity {
    pub(super) ordinal: u64,
    pub(super) trial: TrialId,
    pub(super) number: u32,
    pub(super) started_at: Timestamp,
}

/// What ended a process or an executor, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deaths {
    /// How many times in a row the trial was being executed then.
    pub(super) count: u32,
    /// Whether at least one was of an executor, and not of the runner's own process.
    pub(super) is_of_executors: bool,
}

/// Makes an attempt of which nothing is known but what it came to.
pub(super) fn blank(of: Identity, outcome: Outcome) -> Attempt {
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
        usage: Usage::default(),
        denied: Vec::new(),
        artifacts: Vec::new(),
        log: Vec::new(),
        stderr: String::new(),
        stdout: String::new(),
    }
}

/// Makes the attempt of a trial whose guest did not answer a stop.
pub(super) fn given_up(of: Identity, begun: Now, now: Now) -> Attempt {
    let attempt = blank(of, Outcome::Stopped);
    unanswered(attempt, stop_error(), begun, now)
}

/// Makes the attempt of a trial whose executor is gone.
pub(super) fn lost(of: Identity, begun: Now, now: Now) -> Attempt {
    let error = error(
        None,
        LOST,
        "whoever executed it is gone, and it is made again".into(),
    );
    unanswered(blank(of, Outcome::Stopped), error, begun, now)
}

/// Makes the attempt that records a trial as what ends the process.
pub(super) fn poisoned(of: Identity, deaths: Deaths) -> Attempt {
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
pub(super) fn stop_error() -> AttemptError {
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
