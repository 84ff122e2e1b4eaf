//! [`Evidence`]: what is known of how an attempt went.

use std::time::Duration;

use serde_json::Value;

use crate::model::{AttemptError, CheckVerdict};

/// What is known of how an attempt went, from whoever executed it or from what was stored of it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// How it ended.
    pub ending: EndEvidence<'a>,
    /// How long it took.
    pub duration: Duration,
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
    /// What the guest wrote to its standard error, head and tail.
    pub stderr: &'a str,
    /// What may have led to a bad end.
    pub hint: Option<&'a str>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum EndEvidence<'a> {
    /// The provider answered.
    Reply(ReplyEvidence<'a>),
    /// It answered with an error, broke, or broke the contract.
    Error(&'a AttemptError),
    /// A deadline passed, which this says.
    Timeout(&'a AttemptError),
    /// It was interrupted: nothing can be said of it.
    Stopped,
}

/// A provider's answer.
#[derive(Clone, Copy, Debug)]
pub struct ReplyEvidence<'a> {
    /// What the thing under test produced.
    pub output: &'a Value,
    /// The provider's own verdict.
    pub verdict: Option<CheckVerdict>,
    /// Whether one of the provider's own checks did not hold.
    pub has_failed_checks: bool,
    /// The provider's score.
    pub score: Option<f64>,
    /// The exit code of a plain command.
    pub exit_code: Option<i32>,
}
