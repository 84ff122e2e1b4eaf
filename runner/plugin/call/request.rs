//! What goes into one call of a plugin and what comes out of it.

use std::{fmt, mem, path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    model::{
        Artifact, AttemptError, Check, CheckVerdict, Denied, ErrorClass, HostFault, Limits,
        LogRecord, Metric, Usage,
    },
    plugin::{
        access::Access,
        fs::quota::Quota,
        interrupt::Halt,
        lacking::lacking,
        listener::Listener,
        sandbox::store::{Sandbox, Spent},
    },
};

/// Everything that one attempt hands to a plugin.
#[derive(Clone)]
pub struct Call<'a> {
    /// The trial's id.
    pub trial: &'a str,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// Which of the test's repeats this is, from 1.
    pub repeat: u32,
    /// Which execution of the trial this is, from 1.
    pub attempt: u32,
    /// The run's seed.
    pub seed: u32,
    /// The test's input as JSON.
    pub input: Arc<str>,
    /// The provider's configuration as JSON.
    pub config: Arc<str>,
    /// The test's tags.
    pub tags: Arc<[String]>,
    /// The test's attachments.
    pub files: Arc<[AttachmentSource]>,
    /// How to call a command by the plain protocol; without it a command is called by the JSON protocol. Components
    /// have no use for it.
    pub invocation: Option<Invocation>,
    /// What the attempt may use.
    pub limits: Limits,
    /// What the attempt may touch.
    pub access: &'a Access,
    /// Environment variables, with every template filled in.
    pub env: Vec<(String, String)>,
    /// Who hears what the guest says while it runs.
    pub listener: Option<Listener>,
}

/// Leaves out the environment, in which secrets may be.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("trial", &self.trial)
            .field("attempt", &self.attempt)
            .field("limits", &self.limits)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Arguments and standard input of a command, with every template filled in.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What follows `argv[0]`.
    pub args: Vec<String>,
    /// Standard input, whole.
    pub stdin: Vec<u8>,
    /// What becomes of standard output.
    pub output: StdoutForm,
}

/// How a command is called. Components have their own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandProtocol {
    /// The scenario says what to pass and what to read.
    Plain,
    /// One JSON object in, one out.
    Json,
}

/// What a plain command's standard output becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdoutForm {
    /// A string, exactly.
    Text,
    /// A string without white space at its ends.
    Trimmed,
    /// The JSON value that it is.
    Json,
}

/// An attachment that a guest may read.
#[derive(Clone, Debug)]
pub struct AttachmentSource {
    /// The name by which the guest knows it.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where its content is.
    pub path: PathBuf,
}

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// JSON Schema of its configuration.
    pub config_schema: Option<Value>,
    /// JSON Schema of a test's input.
    pub input_schema: Option<Value>,
    /// What it would like to be granted.
    pub requests: Vec<String>,
}

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
    /// Takes what an attempt left in its sandbox; `reply_bytes` are those that did not come by standard output.
    pub(in crate::plugin) fn collect(
        sandbox: &mut Sandbox,
        ending: Ending,
        spent: Spent,
        reply_bytes: u64,
    ) -> Self {
        // What was not heard yet is heard before anybody knows the ending.
        sandbox.stdout.end();
        sandbox.stderr.end();

        let Sandbox {
            host,
            limiter,
            quota,
            stdout,
            stderr,
            ..
        } = sandbox;
        let fuel = match ending {
            Ending::Reply(_) | Ending::Error(_) => spent.fuel,
            // A guest keeps its account in a register, which is lost where it is interrupted.
            Ending::Timeout | Ending::Stopped => None,
        };
        let traffic = host.outbound.traffic();
        let (requests, bytes_in, bytes_out) =
            (traffic.requests(), traffic.bytes_in(), traffic.bytes_out());
        for denied in traffic.denied() {
            host.deny(denied);
        }
        let hint = quota.as_ref().and_then(Quota::exceeded);
        if let Some(hint) = &hint {
            host.warn(hint.clone());
        }
        let written = quota.as_ref().map_or(0, Quota::written);
        let is_disk_full = quota.as_ref().is_some_and(Quota::is_disk_full);
        let bytes = stdout.written() + host.log.bytes + host.artifacts.bytes + written;
        Self {
            ending: ending.with_hint(hint.as_deref()),
            duration: spent.duration,
            instantiate: spent.instantiate,
            usage: Usage {
                peak_memory: limiter.peak_memory(),
                host_calls: host.calls,
                http_requests: requests,
                bytes_in: host.bytes_in + bytes_in,
                bytes_out: reply_bytes + bytes + bytes_out,
                fuel,
            },
            denied: mem::take(&mut host.denied),
            log: mem::take(&mut host.log.records),
            log_dropped: host.log.dropped,
            stderr: stderr.text(),
            stdout: stdout.text(),
            hint,
            artifacts: host.artifacts.take(),
            lost: host.artifacts.lost.take(),
            lacked: is_disk_full
                .then(|| lacking(HostFault::Storage, "the guest could not write to a file")),
        }
    }

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
    fn with_hint(self, hint: Option<&str>) -> Self {
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

    /// The error that this ending is for somebody who has no use for endings; a reply is none.
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
