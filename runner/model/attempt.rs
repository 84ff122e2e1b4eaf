//! [`Attempt`]: one execution of a trial, before it becomes a row.

use std::{borrow::Cow, fmt, io, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{Denied, Digest, ErrorClass, HostFault, Outcome, TrialId};

/// One execution of a trial. The recorder adds what makes it a row: sequence, session, `final`, `flaky`, checksum.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id.
    pub trial: TrialId,
    /// Which execution of the trial this is, from 1; given by the dispatcher when it assigned it.
    pub number: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// The provider's score, if it gave one.
    pub score: Option<f64>,
    /// What was checked: first the scenario's expectations, then the provider's own checks.
    pub checks: Vec<Check>,
    /// What the provider measured.
    pub metrics: Vec<Metric>,
    /// What the thing under test produced.
    pub output: Option<Value>,
    /// The provider's own verdict, if it gave one.
    pub verdict: Option<CheckVerdict>,
    /// The provider's own summary of its reply.
    pub summary: Option<String>,
    /// Set if the outcome is `error`, `timeout` or `stopped`.
    pub error: Option<AttemptError>,
    /// When it began, by the wall clock.
    pub started_at: Timestamp,
    /// How long it took, by the monotonic clock, without the time in which the runner's process was stopped.
    pub duration: Duration,
    /// For how long the runner's process was stopped meanwhile.
    pub suspended: Duration,
    /// The worker on another machine that made it; none where it was made on the runner's own.
    pub worker: Option<Arc<str>>,
    /// What it used.
    pub usage: Usage,
    /// What the guest tried and was not granted, each once.
    pub denied: Vec<Denied>,
    /// Files the provider left.
    pub artifacts: Vec<Artifact>,
    /// Log records the provider sent, within their limit.
    pub log: Vec<LogRecord>,
    /// What the guest wrote to its standard error, head and tail.
    pub stderr: String,
    /// What the guest wrote to its standard output, head and tail; empty where that became the reply.
    pub stdout: String,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The expectation's key, such as `equals`, or the provider's own name for it.
    pub name: Cow<'static, str>,
    /// Whether it held.
    pub verdict: CheckVerdict,
    /// A score, if the provider gave one.
    pub score: Option<f64>,
    /// Why it did not hold, in one line.
    pub message: Option<String>,
    /// What was expected, for checks of the scenario.
    pub expected: Option<Value>,
    /// What came, for checks of the scenario.
    pub actual: Option<Value>,
    /// A line diff from expected to actual, for text.
    pub diff: Option<String>,
    /// The provider's own details.
    pub details: Option<Value>,
}

impl Check {
    /// One that held, of which there is nothing else to say.
    pub fn held(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            verdict: CheckVerdict::Pass,
            score: None,
            message: None,
            expected: None,
            actual: None,
            diff: None,
            details: None,
        }
    }
}

/// What a grader said of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Grade {
    /// The grader's name.
    pub grader: String,
    /// Whether it let the attempt pass; `None` if it came to no verdict.
    pub verdict: Option<CheckVerdict>,
    /// What it said itself of that, where it said it: a score that is too low goes before.
    pub own_verdict: Option<CheckVerdict>,
    /// Its score, if it gave one.
    pub score: Option<f64>,
    /// The least score that passes, where there is one.
    pub least: Option<f64>,
    /// Why, in its words.
    pub explanation: Option<String>,
    /// Digest of what it was asked, and of everything of it that decides what it says; `None` if it could not be asked.
    pub asked: Option<Digest>,
    /// Whether it was said of the same output before, and stands: the grader was not asked again.
    pub is_kept: bool,
    /// What it measured, such as what it cost.
    pub metrics: Vec<Metric>,
    /// What it used.
    pub usage: Usage,
    /// How often it was asked.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub duration: Duration,
    /// Why it gave none.
    pub error: Option<AttemptError>,
    /// The end of its log, in its last attempt.
    pub log: Vec<LogRecord>,
    /// The end of its standard output, where that is not the answer itself.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

impl Grade {
    /// The code of the error of a grade with a score, of which nobody has said whether it is enough.
    pub const UNDECIDED: &str = "no-min-score";
}

/// Whether a check held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// It held.
    Pass,
    /// It did not hold.
    Fail,
    /// It does not apply.
    Skip,
}

impl CheckVerdict {
    /// The word for it in rows and in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// A number that a provider measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its value; always finite.
    pub value: f64,
    /// Its unit, if it has one.
    pub unit: Option<String>,
}

/// Why an attempt came to no verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptError {
    /// What kind of failure it is; `None` for timeouts and stops, which have outcomes of their own.
    pub class: Option<ErrorClass>,
    /// A short stable word: the provider's own code, a trap's name, or the deadline that fired.
    pub code: String,
    /// For people.
    pub message: String,
    /// How long the provider asks to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// What the runner's own machine lacked, if that is why.
    pub fault: Option<HostFault>,
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
    /// Calls of the contract's imports.
    pub host_calls: u64,
    /// HTTP requests that were sent.
    pub http_requests: u64,
    /// Bytes handed to the guest: input, configuration, attachments, stdin, HTTP responses.
    pub bytes_in: u64,
    /// Bytes taken from the guest: reply, stdout, log, artifacts, HTTP requests, what it wrote to files.
    pub bytes_out: u64,
    /// Fuel burnt, where it is measured.
    pub fuel: Option<u64>,
}

/// A file that a provider left.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// `[A-Za-z0-9._-]{1,128}`, and neither `.` nor `..`.
    pub name: String,
    /// As the provider gave it with the first chunk.
    pub media_type: String,
    /// The whole content.
    pub content: Arc<dyn Content>,
}

/// The content of a file, wherever it is kept: there may be more of it than memory has room for.
pub trait Content: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Writes all of it to `out`, a piece at a time.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or `out` fails.
    fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()>;
}

impl Content for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(self)
    }
}

/// One record of a provider's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// When the runner got it from the guest; `None` where it is not known.
    pub at: Option<Timestamp>,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// Named values.
    pub fields: Vec<(String, String)>,
}
