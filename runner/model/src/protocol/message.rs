//! The messages between a supervisor and a worker, [`ToWorker`] and [`FromWorker`], and their parts; [`PostRequest`] and [`PostAnswer`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::prepare::{Prepare, Ready};
use crate::{
    Digest, GuestPhase, HostFault, Limits, Micros, TaskId, Time, TrialId,
    recent_output::RecentOutput,
};

/// A message of a supervisor to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Comes first, once.
    Prepare(Box<Prepare>),
    Tasks {
        tasks: Vec<Task>,
        /// Each task's line, then its stored row, in the order of the tasks.
        body: Vec<u8>,
    },
    /// Return tasks that have not started, the newest first.
    TakeBack {
        /// Unstarted tasks that the worker keeps.
        keep: u32,
    },
    /// Suspend guests, or resume them.
    Pause(bool),
    /// Start no further task, and interrupt guests.
    Stop {
        /// Time for guests to end by themselves.
        grace: Micros,
        /// Interrupt guests immediately.
        kill: bool,
    },
    /// A compiled plugin is in the cache now.
    PluginReady(Digest),
    /// A blob is in the session's folder now.
    BlobReady(Digest),
    /// Comes last. Answer `Bye` and exit.
    Finish {
        /// Tear down kept instances first.
        teardown: bool,
    },
    /// The oldest entry of this task without an answer is on disk.
    EntryKept(TaskId),
}

/// A message of a worker to its supervisor.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// Comes first, once.
    Hello(Hello),
    /// The worker accepts tasks.
    Ready(Ready),
    /// A compiled plugin is missing in the cache.
    NeedPlugin(Digest),
    /// A blob is missing in the session's folder.
    NeedBlob(Digest),
    /// Tasks that were taken back. None of them has started.
    Returned(Vec<TaskId>),
    /// A piece of an attempt's artifact. All pieces come before the report.
    Artifact {
        task: TaskId,
        /// The artifact's index in the row's `artifacts`.
        index: u32,
        /// The next bytes of the content.
        bytes: Vec<u8>,
    },
    /// An attempt has ended.
    Report {
        head: ReportHead,
        /// The row, then the log.
        body: Vec<u8>,
    },
    /// The running tasks. Also the heartbeat of a busy worker.
    Doing(Vec<Doing>),
    /// A line for `runner.log`.
    Log(String),
    /// Comes last.
    Bye,
    /// A piece of an entry for the journal of an attempt. Answered by `EntryKept` after the last piece.
    Entry { task: TaskId, is_last: bool, bytes: Vec<u8> },
}

/// A request to make one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Never 0, and never used twice in a session.
    pub id: TaskId,
    pub trial: TrialId,
    /// The index in [`Prepare::providers`] of the provider, or of the grader of a task `Grade`.
    pub provider: u16,
    /// The attempt of the trial, or of the grader, from 1.
    pub attempt: u32,
    /// Number of this attempt among those that were not stopped, from 1: since the session's start, or since that of the
    /// session whose attempt this one continues. Deterministic guests see it as the attempt, because a stop must not change
    /// their results.
    pub tries: u32,
    /// A number for the provider's random generator.
    pub seed: u32,
    /// Seed of the random numbers of a deterministic guest. `None` for the hash of `seed`, `tries` and `trial`.
    pub random: Option<Digest>,
    pub timeout: Micros,
    /// The setting that `timeout` comes from.
    pub timeout_rule: TimeoutRule,
    pub kind: TaskKind,
    pub line: Line,
    /// Bytes of the stored row after the line, for `Grade` and `Judge`. 0 for other kinds.
    pub row_bytes: u32,
    /// The journal with which an interrupted attempt continues. `None` for a new attempt.
    pub recorded: Option<Recorded>,
}

/// The journal with which an interrupted attempt continues, or which it replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// A blob: the lines of the attempt in `calls.jsonl`, from its last start that does not continue.
    pub sha256: Digest,
    /// How many times the attempt will have continued.
    pub continued: u32,
    /// Real time of its earlier guests.
    pub used: Micros,
    /// If the attempt of another run is replayed: its start. `sha256` is then the blob of that attempt's lines.
    pub replayed: Option<Time>,
}

/// The setting that bounds an attempt's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeoutRule {
    /// The test's `timeout`.
    Timeout,
    /// The provider's `limits.time`.
    LimitTime,
    /// The rest of the test's `trial_timeout`.
    TrialTimeout,
    /// `--timeout` of a single call.
    Flag,
}

/// The place of a test's line of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// The next bytes of the frame's body.
    Bytes(u32),
    /// A file of this name in the session's blob folder.
    Digest(Digest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// Call the provider and judge the reply.
    Run,
    /// Call a grader about the stored row. The report is a [`Judgement`](crate::row::Judgement).
    Grade,
    /// Judge the stored row again. The report is a [`Judgement`](crate::row::Judgement).
    Judge,
    /// Check a test's input. The report is a JSON list of problems instead of a row.
    Check,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The exact version of the program.
    pub version: String,
    /// The key of compiled plugins that this worker can load: 16 hexadecimal digits.
    pub compile_key: String,
}

/// The head of a report. The outcome is only in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportHead {
    pub task: TaskId,
    pub row_bytes: u32,
    /// Bytes of the log, JSON of [`Said`](crate::log::Said). 0 without a log.
    pub log_bytes: u32,
    /// If set, the attempt runs again.
    pub host_fault: Option<HostFault>,
}

/// A running task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    pub task: TaskId,
    pub phase: GuestPhase,
    /// The guest's last progress text, or else the call that it waits for, for people. Empty if there is neither.
    pub word: String,
    /// The end of the attempt's output if it has changed. Only the oldest attempts have it, at most once a second.
    pub output: Option<RecentOutput>,
}

/// The running task of a slot, in a file at the worker's descriptor 1 that outlives the worker. 16 bytes per slot,
/// little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotWord {
    /// The task's id. 0 if the slot is empty.
    pub task: u64,
    /// Start of the task, in microseconds of the monotonic clock, which all processes share.
    pub started: u64,
}

/// The document of a webhook and its address, for the hidden child that posts it. Sent as JSON. It has no debug text, because address and headers may be secrets.
#[derive(Serialize, Deserialize)]
pub struct PostRequest {
    /// An address of `https` or `http`.
    pub url: String,
    /// Whether the host may have an address that is not public.
    pub private: bool,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout: Micros,
    /// Secrets that are redacted in the answer, by name.
    pub secrets: BTreeMap<String, String>,
}

/// The answer to a [`PostRequest`]. Sent as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PostAnswer {
    /// Reason why the request may not be sent.
    Denied(String),
    Response {
        status: u16,
        /// The receiver's reason for a status that is not 2xx, as one line without secrets.
        reason: Option<String>,
        /// Time that the receiver asks to wait.
        retry_after: Option<Micros>,
    },
}

impl TimeoutRule {
    /// Returns the scenario's key, which is also the error code of a row that timed out by this rule.
    pub fn code(self) -> &'static str {
        match self {
            Self::Timeout | Self::Flag => "timeout",
            Self::LimitTime => "limits.time",
            Self::TrialTimeout => "trial_timeout",
        }
    }

    /// Returns the shorter of `timeout`, which this rule sets, and `limits.time`, with its rule.
    pub fn within(self, timeout: Micros, limits: &Limits) -> (Micros, Self) {
        match limits.time {
            Some(time) if time < timeout => (time, Self::LimitTime),
            _ => (timeout, self),
        }
    }
}

impl Task {
    /// Returns the first attempt of a trial on the first provider, with the seed 0 and a line of `line` bytes in the frame's body.
    pub fn new(id: TaskId, trial: TrialId, timeout: Micros, line: usize) -> Self {
        Self {
            id,
            trial,
            provider: 0,
            attempt: 1,
            tries: 1,
            seed: 0,
            random: None,
            timeout,
            timeout_rule: TimeoutRule::Timeout,
            kind: TaskKind::Run,
            line: Line::Bytes(line as u32),
            row_bytes: 0,
            recorded: None,
        }
    }

    /// Returns the bytes that the task has in its frame's body.
    pub fn body_bytes(&self) -> usize {
        let line = match self.line {
            Line::Bytes(bytes) => bytes as usize,
            Line::Digest(_) => 0,
        };
        line + self.row_bytes as usize
    }
}

impl SlotWord {
    /// Bytes of a slot.
    pub const LENGTH: usize = 16;

    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..].copy_from_slice(&self.started.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: [u8; Self::LENGTH]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self { task: word as u64, started: (word >> 64) as u64 }
    }
}
