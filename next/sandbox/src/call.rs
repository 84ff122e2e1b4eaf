//! [`Call`] and [`Ended`]: what goes into one call, and what came of it.

pub(crate) mod classify;
pub(crate) mod command;
pub(crate) mod component;
pub(crate) mod description;
#[cfg(any(test, fuzzing))]
#[path = "tests/fuzzing/replies.rs"]
pub(crate) mod fuzzing;
pub(crate) mod instance;
mod json;
mod protocol;
mod reply;

use std::{fs::File, mem, path::PathBuf, time::Duration};

use runner_model::{
    ErrorClass, HostFault, Limits, Micros, Text,
    log::Said,
    outcome::Verdict,
    provider::{OutputForm, Protocol},
    row::{Check, Denied, Metric, Raw, RowError, Usage},
};

use crate::{
    Access, Activity, fs::quota::Quota, interrupt::CallTime, message::with_end, store::Sandbox,
};

/// What a call is made with.
#[derive(Debug)]
pub struct Call<'a> {
    /// Of the contract's `test` record.
    pub trial: &'a str,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// From 1.
    pub repeat: u32,
    /// From 1.
    pub attempt: u32,
    /// The scenario's seed.
    pub seed: u32,
    /// The input as compact JSON.
    pub input: &'a str,
    /// The configuration as compact JSON.
    pub config: &'a str,
    /// The test's tags.
    pub tags: &'a [String],
    /// The test's attachments.
    pub files: &'a [AttachedFile],
    /// Environment variables, with every template filled in.
    pub env: &'a [(String, String)],
    /// What the attempt may touch.
    pub access: &'a Access,
    /// Tells whoever looks what the guest does.
    pub activity: &'a Activity,
    /// How a command is called; components ignore it.
    pub command: Option<CommandCall>,
    /// What the attempt may use.
    pub limits: &'a Limits,
    /// How long the attempt may take; the clock starts when `run` is called.
    pub timeout: Micros,
}

/// An attachment that a guest may read.
#[derive(Clone, Debug)]
pub struct AttachedFile {
    /// The name by which the guest knows it.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Where its content is.
    pub path: PathBuf,
}

/// How a command is called.
#[derive(Clone, Debug)]
pub struct CommandCall {
    /// Its `argv[0]` by the plain protocol: the name of the plugin's file.
    pub program: String,
    /// Its arguments, without the program's name.
    pub args: Vec<String>,
    /// Its standard input; for the JSON protocol the sandbox writes it.
    pub stdin: Option<Vec<u8>>,
    /// How it is called.
    pub protocol: Protocol,
    /// What a plain command's standard output is taken for.
    pub output: OutputForm,
}

/// How a call ended, and what it used and left.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// How long it took, instantiation included, without the time in which it was paused or suspended.
    pub duration: Duration,
    /// For how long it was paused or suspended.
    pub suspended: Duration,
    /// What it used.
    pub usage: Usage,
    /// What it tried and was not granted, each once.
    pub denied: Vec<Denied<'static>>,
    /// What it said.
    pub said: Said<'static>,
    /// What it left as artifacts, in the order in which it left them.
    pub artifacts: Vec<LeftFile>,
    /// Why an artifact that it left could not be kept; a reply is then an error.
    pub lost: Option<RowError<'static>>,
    /// What the machine lacked; then the attempt is made again.
    pub host_fault: Option<HostFault>,
}

/// An artifact as a guest left it, not redacted.
#[derive(Debug)]
pub struct LeftFile {
    /// A file name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub bytes: u64,
    /// Its content.
    pub content: LeftContent,
}

/// The content of an artifact.
#[derive(Debug)]
pub enum LeftContent {
    /// A small one.
    Memory(Vec<u8>),
    /// A file that has no name any more; read from its start.
    File(File),
}

/// How a call ended.
#[derive(Debug)]
pub enum Ending {
    /// With a reply.
    Reply(Box<Reply>),
    /// With an error of the provider or of the guest.
    Error(RowError<'static>),
    /// Its time was over.
    Timeout,
    /// It was interrupted, or ended by itself because it was asked to.
    Stopped,
}

/// A reply, within its limits: valid JSON, finite numbers.
#[derive(Debug)]
pub struct Reply {
    /// Compact JSON.
    pub output: Raw<'static>,
    /// The provider's own verdict.
    pub verdict: Option<Verdict>,
    /// Its score.
    pub score: Option<f64>,
    /// Its summary, one line.
    pub summary: Option<Text<'static>>,
    /// Its own checks.
    pub checks: Vec<Check<'static>>,
    /// What it measured.
    pub metrics: Vec<Metric<'static>>,
    /// The exit code of a plain command.
    pub exit_code: Option<i32>,
}

impl Reply {
    /// A reply of nothing but an output.
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
    /// A call that ended before there was a sandbox.
    pub fn without_sandbox(ending: Ending) -> Self {
        Self {
            ending,
            duration: Duration::ZERO,
            suspended: Duration::ZERO,
            usage: Usage::default(),
            denied: Vec::new(),
            said: Said::default(),
            artifacts: Vec::new(),
            lost: None,
            host_fault: None,
        }
    }

    /// Takes what a guest left in its sandbox. `reply_bytes` are those that did not come by standard output.
    pub(crate) fn collect(
        sandbox: &mut Sandbox,
        ending: Ending,
        took: CallTime,
        reply_bytes: u64,
    ) -> Self {
        let host = &mut sandbox.host;
        let traffic = host.outbound.counts().clone();
        for Denied { what, grant } in traffic.denied {
            host.deny(what, grant.map(|grant| grant.0.into_owned()));
        }
        let refused = sandbox.quota.as_ref().and_then(Quota::exceeded);
        if let Some(refused) = &refused {
            host.deny(refused.clone(), None);
        }
        if sandbox.quota.as_ref().is_some_and(Quota::is_disk_full) {
            host.fault.get_or_insert(HostFault::Storage);
        }
        let lost = host.artifacts.lost.take().map(|(error, fault)| {
            host.fault = host.fault.or(fault);
            error
        });
        let written = sandbox.quota.as_ref().map_or(0, Quota::written);
        let left = written + host.artifacts.bytes() + host.log.bytes;
        Self {
            ending: with_hint(ending, refused.as_deref()),
            duration: took.duration,
            suspended: took.suspended,
            usage: Usage {
                peak_memory: sandbox.limiter.peak_memory(),
                bytes_in: host.bytes_in + traffic.bytes_in,
                bytes_out: reply_bytes + sandbox.stdout.written() + left + traffic.bytes_out,
                host_calls: host.calls + traffic.calls,
                http_requests: traffic.requests,
            },
            denied: mem::take(&mut host.denied),
            said: Said {
                log: mem::take(&mut host.log.records),
                dropped: host.log.dropped,
                stdout: sandbox.stdout.text().into(),
                stderr: sandbox.stderr.text().into(),
            },
            artifacts: host.artifacts.take(),
            lost,
            host_fault: host.fault,
        }
    }
}

impl Ending {
    /// Tells whether the guest came to this end by itself; after any other it is not called again.
    fn is_of_the_guest(&self) -> bool {
        use ErrorClass::{Limit, OutOfMemory, Protocol, Trap};
        match self {
            Self::Reply(_) => true,
            Self::Error(error) => {
                !matches!(error.class, Some(Trap | OutOfMemory | Limit | Protocol))
            }
            Self::Timeout | Self::Stopped => false,
        }
    }
}

/// Adds to an error what may have led to it.
fn with_hint(ending: Ending, hint: Option<&str>) -> Ending {
    match (ending, hint) {
        (Ending::Error(error), Some(hint)) => {
            // Below the last lines of a standard error, not behind them.
            let separator = if error.message.contains('\n') { "\n" } else { "; " };
            Ending::Error(with_end(error, &format!("{separator}{hint}")))
        }
        (ending, _) => ending,
    }
}
