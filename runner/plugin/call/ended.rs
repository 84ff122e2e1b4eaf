//! [`Ended`]: how one attempt ended, and what it left.

use std::time::Duration;

use serde_json::Value;

use crate::{
    model::{
        Artifact, AttemptError, Check, CheckVerdict, Denied, ErrorClass, LogRecord, Metric, Usage,
    },
    plugin::interrupt::Halt,
};

/// How one attempt ended, and what it left.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// From the guest's start to its end.
    pub duration: Duration,
    /// How much of that went into making its instance, its own start functions included.
    pub instantiate: Duration,
    /// What it used.
    pub usage: Usage,
    /// What it tried and was not granted, each once.
    pub denied: Vec<Denied>,
    /// Log records, within their limits.
    pub log: Vec<LogRecord>,
    /// Log records that were dropped.
    pub log_dropped: u64,
    /// Standard error: head and tail.
    pub stderr: String,
    /// What was kept of standard output; empty where it became the reply.
    pub stdout: String,
    /// What whoever wrote the guest or the scenario should know if it did not end well.
    pub hint: Option<String>,
    /// Files it left.
    pub artifacts: Vec<Artifact>,
    /// Why an artifact is not all that the guest left: the runner's machine could not keep it.
    pub lost: Option<AttemptError>,
    /// What the guest found lacking on the runner's machine; it is not to blame for what came of it.
    pub lacked: Option<AttemptError>,
}

/// How one attempt ended.
#[derive(Debug)]
pub enum Ending {
    /// The plugin answered.
    Reply(Reply),
    /// It answered with an error, broke, or broke the contract.
    Error(AttemptError),
    /// The deadline passed.
    Timeout,
    /// It was interrupted, or ended by itself because it was asked to.
    Stopped,
}

/// A plugin's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What the thing under test produced.
    pub output: Value,
    /// The provider's own verdict.
    pub verdict: Option<CheckVerdict>,
    /// The provider's score; finite.
    pub score: Option<f64>,
    /// The provider's own summary.
    pub summary: Option<String>,
    /// The provider's own checks.
    pub checks: Vec<Check>,
    /// What it measured; finite.
    pub metrics: Vec<Metric>,
    /// The exit code of a plain command.
    pub exit_code: Option<i32>,
}

impl Ended {
    /// An attempt that ended before there was a sandbox, or whose sandbox is lost.
    pub fn without_sandbox(ending: impl Into<Ending>) -> Self {
        Self {
            ending: ending.into(),
            duration: Duration::ZERO,
            instantiate: Duration::ZERO,
            usage: Usage::default(),
            denied: Vec::new(),
            log: Vec::new(),
            log_dropped: 0,
            stderr: String::new(),
            stdout: String::new(),
            hint: None,
            artifacts: Vec::new(),
            lost: None,
            lacked: None,
        }
    }
}

impl From<Halt> for Ending {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Timeout => Self::Timeout,
            Halt::Stopped => Self::Stopped,
        }
    }
}

impl From<AttemptError> for Ending {
    fn from(error: AttemptError) -> Self {
        Self::Error(error)
    }
}

impl Ending {
    /// Adds to an error what may have led to it.
    pub(super) fn with_hint(self, hint: Option<&str>) -> Self {
        match (self, hint) {
            (Self::Error(error), Some(hint)) => {
                // Below the last lines of a standard error, not behind them.
                let separator = match error.message.contains('\n') {
                    true => "\n",
                    false => "; ",
                };
                Self::Error(AttemptError {
                    message: error.message + separator + hint,
                    ..error
                })
            }
            (ending, _) => ending,
        }
    }

    /// Tells whether the guest itself came to this end in order; after any other it is not to be called again.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Reply(_) => true,
            Self::Error(error) => !matches!(
                error.class,
                Some(
                    ErrorClass::Trap
                        | ErrorClass::OutOfMemory
                        | ErrorClass::Limit
                        | ErrorClass::Protocol
                )
            ),
            Self::Timeout | Self::Stopped => false,
        }
    }

    /// The error that this ending is for somebody who has no use for endings; a reply is not one.
    pub(super) fn into_error(self) -> AttemptError {
        let halted = |code: &str, message: &str| AttemptError {
            class: None,
            code: code.to_owned(),
            message: message.to_owned(),
            retry_after: None,
            fault: None,
        };
        match self {
            Self::Error(error) => error,
            Self::Timeout => halted("timeout", "its deadline passed"),
            Self::Stopped => halted("stopped", "it was stopped"),
            Self::Reply(_) => {
                unreachable!("only an attempt without a reply is asked for its error")
            }
        }
    }
}
