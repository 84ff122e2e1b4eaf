//! [`Ended`]: the result of one call.

use std::time::Duration;

use runner_model::row::{Calls, Check, Denied, Metric, Raw, RowError, Usage};
use runner_model::transcript::AgentEnd;
use runner_model::{ErrorClass, HostFault, Text, log::Said, outcome::Verdict};

use crate::store::artifacts::LeftFile;

/// The result of one call, its use of resources, and the files that it left.
#[derive(Debug)]
pub struct Ended {
    pub ending: Ending,
    /// Whether the call had a sandbox. Without one, a tool counts as not called.
    pub had_sandbox: bool,
    /// Time of the call, with instantiation and without pauses and suspensions.
    pub duration: Duration,
    /// Time that the call was paused or suspended, in addition to `duration`.
    pub suspended: Duration,
    pub usage: Usage,
    /// Sums of the metrics that the guest has reported.
    pub reported: Vec<Metric<'static>>,
    /// Sums of the metrics that its tools have reported, with their costs.
    pub reported_by_tools: Vec<Metric<'static>>,
    /// Denied requests, each once.
    pub denied: Vec<Denied<'static>>,
    /// Log records, standard output and standard error.
    pub said: Said<'static>,
    /// Artifacts, in the order in which the guest left them.
    pub artifacts: Vec<LeftFile>,
    /// The changes in the workspace. `None` without a workspace, or if they are lost.
    pub workspace: Option<LeftWorkspace>,
    /// Reason for the loss of an artifact, or of the changes in the workspace. With it, a reply counts as an error.
    pub lost: Option<RowError<'static>>,
    /// Description of a fixed limit that refused the guest something. The answer may be wrong for
    /// this reason.
    pub fixed_limit: Option<String>,
    /// Missing resource of the machine. With it, the attempt is retried.
    pub host_fault: Option<HostFault>,
    /// Steps of the attempt's transcript, redacted: objects of the Agent Trajectory Interchange Format without `step_id`.
    pub transcript: Vec<Raw<'static>>,
    /// Number of steps that did not fit `limits.transcript`.
    pub dropped_steps: u64,
    /// How the agent ended, by its own word.
    pub agent_end: Option<AgentEnd>,
    /// The exchanges in the attempt's journal. `None` without any.
    pub calls: Option<Calls>,
    /// Whether the last request failed: with status 429 or 503, or for want of a whole response in time. `None` without requests.
    pub service_failed: Option<bool>,
}

/// The changes in a workspace, redacted.
#[derive(Debug)]
pub struct LeftWorkspace {
    /// A [`Change`](runner_model::workspace::Change) as a line of JSON each, sorted by path. Empty if there are none, or if only
    /// their numbers are wanted.
    pub changes: Vec<u8>,
    /// The contents of changed files. Must not be redacted again, because the changes have their digests.
    pub contents: LeftFile,
    pub added: u32,
    pub changed: u32,
    pub removed: u32,
    /// Whether the guest did not end by itself.
    pub is_partial: bool,
}

/// How a call ended.
#[derive(Debug)]
pub enum Ending {
    Reply(Box<Reply>),
    /// An error of the provider, of the guest or of the machine.
    Error(RowError<'static>),
    Timeout,
    /// The host interrupted the guest, or the guest ended on request.
    Stopped,
    /// The guest did not do what earlier guests of the attempt did, with the first difference.
    Diverged(String),
}

/// A reply within its limits. Its JSON is valid, and its numbers are finite.
#[derive(Debug)]
pub struct Reply {
    /// Compact JSON.
    pub output: Raw<'static>,
    /// The provider's own verdict.
    pub verdict: Option<Verdict>,
    pub score: Option<f64>,
    pub summary: Option<Text<'static>>,
    /// The provider's own checks.
    pub checks: Vec<Check<'static>>,
    pub metrics: Vec<Metric<'static>>,
    /// Set for plain commands only.
    pub exit_code: Option<i32>,
}

impl Reply {
    /// Creates a reply with only an output.
    pub fn new(output: Raw<'static>) -> Self {
        Self {
            output,
            verdict: None,
            score: None,
            summary: None,
            checks: Vec::new(),
            metrics: Vec::new(),
            exit_code: None,
        }
    }
}

impl Ended {
    /// Creates the result of a call that ended before a sandbox existed.
    pub fn without_sandbox(ending: Ending) -> Self {
        Self {
            ending,
            had_sandbox: false,
            duration: Duration::ZERO,
            suspended: Duration::ZERO,
            usage: Usage::default(),
            denied: Vec::new(),
            said: Said::default(),
            artifacts: Vec::new(),
            workspace: None,
            lost: None,
            fixed_limit: None,
            host_fault: None,
            transcript: Vec::new(),
            dropped_steps: 0,
            agent_end: None,
            reported: Vec::new(),
            reported_by_tools: Vec::new(),
            calls: None,
            service_failed: None,
        }
    }
}

impl Ending {
    /// Returns whether the guest itself returned. After any other ending its state is unknown, so
    /// it gets no further call.
    pub(super) fn is_returned(&self) -> bool {
        use ErrorClass::{Limit, OutOfMemory, Protocol, Trap};
        match self {
            Self::Reply(_) => true,
            Self::Error(error) => {
                !matches!(error.class, Some(Trap | OutOfMemory | Limit | Protocol))
            }
            Self::Timeout | Self::Stopped | Self::Diverged(_) => false,
        }
    }
}
