//! The frames between a coordinator and a worker.
//!
//! A frame is: length of what follows the kind as u32 (little-endian), kind as u8, head, body. `Hello`, `Prepare` and
//! `Ready` are JSON. All other heads are [postcard](https://postcard.jamesmunns.com/wire-format), version 1. `Hello` comes
//! first and names the exact version, so both ends always speak the same form.
//!
//! Decoding checks kinds and lengths. What a report says is checked by [`crate::row::check_row`].

mod frame_buffer;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use self::frame_buffer::{FrameBuffer, Message};
use crate::{
    Digest, HostFault, Micros, TaskId, TrialId,
    prepare::{Prepare, Ready},
};

/// Bytes before a head: length and kind.
pub const PREFIX: usize = 5;
/// Bytes of a piece of an artifact.
pub const MAX_PIECE: usize = 256 << 10;
/// A longer line of the suite travels as a blob.
pub const MAX_LINE: usize = 1 << 20;
/// Bytes of tasks in one frame, beside one task that may be longer.
pub const MAX_TASKS: usize = 4 << 20;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The order to make one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Never used twice in a session, and never 0.
    pub id: TaskId,
    /// The trial.
    pub trial: TrialId,
    /// The provider's index in [`Prepare::providers`].
    pub provider: u16,
    /// Which attempt of the trial, from 1.
    pub attempt: u32,
    /// A number that is handed to the provider.
    pub seed: u32,
    /// How long the attempt may take.
    pub timeout: Micros,
    /// What set that bound.
    pub timeout_rule: TimeoutRule,
    /// What to do.
    pub kind: TaskKind,
    /// Where the test's line of the suite is.
    pub line: Line,
    /// Bytes of the stored row that follow the line, for `Grade` and `Judge`; 0 for others.
    pub row_bytes: u32,
}

/// What set the bound of an attempt's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeoutRule {
    /// The test's `timeout`.
    Timeout,
    /// The provider's `limits.time`.
    LimitTime,
    /// What is left of the test's `trial_timeout`.
    TrialTimeout,
}

impl TimeoutRule {
    /// The code of a row that timed out by this rule; the scenario's key.
    pub fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::LimitTime => "limits.time",
            Self::TrialTimeout => "trial_timeout",
        }
    }
}

/// Where a test's line of the suite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// So many bytes of the frame's body.
    Bytes(u32),
    /// A file of this name in the session's blob folder.
    Digest(Digest),
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// Call the provider and judge the reply.
    Run,
    /// Ask a grader about the stored row.
    Grade {
        /// The grader's index.
        grader: u16,
    },
    /// Judge the stored row again.
    Judge,
    /// Check a test's input; the report is a JSON list of problems and no row.
    Check,
}

/// What a supervisor says to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Comes first, once.
    Prepare(Box<Prepare>),
    /// Tasks, and their lines and stored rows in the same order.
    Tasks {
        /// The tasks.
        tasks: Vec<Task>,
        /// Each task's line, then its stored row.
        body: Vec<u8>,
    },
    /// Give back tasks that have not begun, the newest first, but keep so many.
    TakeBack {
        /// How many unbegun tasks to keep.
        keep: u32,
    },
    /// Guests stand still, or go on.
    Pause(bool),
    /// Begin no task. Interrupt guests after `grace`, or at once.
    Stop {
        /// How long guests are asked to stop before they are interrupted.
        grace: Micros,
        /// Interrupt guests at once.
        kill: bool,
    },
    /// A compiled plugin is in the cache now.
    PluginReady(Digest),
    /// A blob is in the session's folder now.
    BlobReady(Digest),
    /// Nothing more will come. Answer `Bye` and exit.
    Finish {
        /// Whether kept instances are torn down.
        teardown: bool,
    },
}

/// What a worker says to its supervisor.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// Comes first, once.
    Hello(Hello),
    /// Tasks may come.
    Ready(Ready),
    /// A compiled plugin is missing in the cache.
    NeedPlugin(Digest),
    /// A blob is missing in the session's folder.
    NeedBlob(Digest),
    /// These tasks were given back and have not begun.
    Returned(Vec<TaskId>),
    /// A piece of an attempt's artifact; all come before its report.
    Artifact {
        /// The attempt.
        task: TaskId,
        /// The artifact's index in the row's `artifacts`.
        index: u32,
        /// The next bytes of its content.
        bytes: Vec<u8>,
    },
    /// An attempt has ended.
    Report {
        /// What the lengths are.
        head: ReportHead,
        /// The row, then what was said.
        body: Vec<u8>,
    },
    /// What runs at the moment.
    Doing(Vec<Doing>),
    /// A line for `runner.log`.
    Log(String),
    /// Comes last.
    Bye,
}

/// Who a worker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The exact version of the program.
    pub version: String,
    /// The key of compiled plugins that this worker can load: 16 hexadecimal digits.
    pub compile_key: String,
}

/// The head of a report. It says nothing about the outcome: that comes from the row alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportHead {
    /// The task.
    pub task: TaskId,
    /// Bytes of the row.
    pub row_bytes: u32,
    /// Bytes of what was said, as JSON of [`crate::log::Said`]; 0 if nothing was.
    pub log_bytes: u32,
    /// What the machine lacked; the attempt is then made again.
    pub host_fault: Option<HostFault>,
}

/// A running task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// The task.
    pub task: TaskId,
    /// Whether its guest is on the processor right now.
    pub on_processor: bool,
    /// What it waits for, or its guest's last word of progress; for people.
    pub word: String,
}

/// A frame that cannot be. The other end is broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// No frame of this direction has this kind.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// Longer than its kind may be.
    #[error("a frame of kind {kind} with {length} bytes, more than {most}")]
    TooLong {
        /// Its kind.
        kind: u8,
        /// Its length.
        length: usize,
        /// What its kind may have.
        most: usize,
    },
    /// The head or body is not what the kind has.
    #[error("a frame of kind {0} that cannot be decoded")]
    Content(u8),
}

/// Who says a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The coordinator, or another supervisor.
    Supervisor,
    /// The worker.
    Worker,
}

mod kind {
    pub const PREPARE: u8 = 1;
    pub const TASKS: u8 = 2;
    pub const TAKE_BACK: u8 = 3;
    pub const PAUSE: u8 = 4;
    pub const STOP: u8 = 5;
    pub const PLUGIN_READY: u8 = 6;
    pub const BLOB_READY: u8 = 7;
    pub const FINISH: u8 = 8;

    pub const HELLO: u8 = 65;
    pub const READY: u8 = 66;
    pub const NEED_PLUGIN: u8 = 67;
    pub const NEED_BLOB: u8 = 68;
    pub const RETURNED: u8 = 69;
    pub const ARTIFACT: u8 = 70;
    pub const REPORT: u8 = 71;
    pub const DOING: u8 = 72;
    pub const LOG: u8 = 73;
    pub const BYE: u8 = 74;
}

/// How many bytes a frame may have behind its prefix; `None` for a kind that its sender does not have.
fn most(sender: Sender, kind: u8) -> Option<usize> {
    match (sender, kind) {
        (Sender::Supervisor, kind::PREPARE | kind::TASKS) => Some(16 * MIB),
        (Sender::Supervisor, kind::TAKE_BACK..=kind::FINISH) => Some(64),
        (Sender::Worker, kind::HELLO) => Some(4 * KIB),
        (Sender::Worker, kind::READY | kind::REPORT) => Some(16 * MIB),
        (Sender::Worker, kind::NEED_PLUGIN | kind::NEED_BLOB | kind::BYE) => Some(64),
        (Sender::Worker, kind::RETURNED | kind::DOING) => Some(MIB),
        (Sender::Worker, kind::ARTIFACT) => Some(MAX_PIECE + 64),
        (Sender::Worker, kind::LOG) => Some(64 * KIB),
        _ => None,
    }
}

/// Reads a prefix: the kind, and how many bytes follow.
///
/// # Errors
///
/// A kind that `sender` does not have, or more bytes than it may have.
pub fn read_prefix(prefix: [u8; PREFIX], sender: Sender) -> Result<(u8, usize), BadFrame> {
    let [a, b, c, d, kind] = prefix;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let most = most(sender, kind).ok_or(BadFrame::Kind(kind))?;
    if length > most {
        return Err(BadFrame::TooLong { kind, length, most });
    }
    Ok((kind, length))
}

impl ToWorker {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Prepare(prepare) => frame(out, kind::PREPARE, |out| json(out, prepare)),
            Self::Tasks { tasks, body } => frame(out, kind::TASKS, |out| {
                postcard(out, tasks);
                out.extend_from_slice(body);
            }),
            Self::TakeBack { keep } => head(out, kind::TAKE_BACK, keep),
            Self::Pause(paused) => head(out, kind::PAUSE, paused),
            Self::Stop { grace, kill } => head(out, kind::STOP, &(grace, kill)),
            Self::PluginReady(digest) => head(out, kind::PLUGIN_READY, digest),
            Self::BlobReady(digest) => head(out, kind::BLOB_READY, digest),
            Self::Finish { teardown } => head(out, kind::FINISH, teardown),
        }
    }

    /// Decodes what followed a prefix.
    ///
    /// # Errors
    ///
    /// A frame that no supervisor encodes.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Self, BadFrame> {
        let bad = BadFrame::Content(kind);
        Ok(match kind {
            kind::PREPARE => Self::Prepare(serde_json::from_slice(bytes).map_err(|_| bad)?),
            kind::TASKS => {
                let (tasks, body): (Vec<Task>, _) = split(kind, bytes)?;
                let length = tasks.iter().map(Task::body_bytes).sum::<usize>();
                if length != body.len() {
                    return Err(bad);
                }
                Self::Tasks { tasks, body: body.to_vec() }
            }
            kind::TAKE_BACK => Self::TakeBack { keep: whole(kind, bytes)? },
            kind::PAUSE => Self::Pause(whole(kind, bytes)?),
            kind::STOP => {
                let (grace, kill) = whole(kind, bytes)?;
                Self::Stop { grace, kill }
            }
            kind::PLUGIN_READY => Self::PluginReady(whole(kind, bytes)?),
            kind::BLOB_READY => Self::BlobReady(whole(kind, bytes)?),
            kind::FINISH => Self::Finish { teardown: whole(kind, bytes)? },
            _ => return Err(BadFrame::Kind(kind)),
        })
    }
}

impl FromWorker {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(out, kind::HELLO, |out| json(out, hello)),
            Self::Ready(ready) => frame(out, kind::READY, |out| json(out, ready)),
            Self::NeedPlugin(digest) => head(out, kind::NEED_PLUGIN, digest),
            Self::NeedBlob(digest) => head(out, kind::NEED_BLOB, digest),
            Self::Returned(tasks) => head(out, kind::RETURNED, tasks),
            Self::Artifact { task, index, bytes } => frame(out, kind::ARTIFACT, |out| {
                postcard(out, &(task, index));
                out.extend_from_slice(bytes);
            }),
            Self::Report { head, body } => encode_report(head, body, &[], out),
            Self::Doing(doing) => head(out, kind::DOING, doing),
            Self::Log(line) => frame(out, kind::LOG, |out| out.extend_from_slice(line.as_bytes())),
            Self::Bye => frame(out, kind::BYE, |_| {}),
        }
    }

    /// Decodes what followed a prefix.
    ///
    /// # Errors
    ///
    /// A frame that no worker of ours encodes.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Self, BadFrame> {
        let bad = BadFrame::Content(kind);
        Ok(match kind {
            kind::HELLO => Self::Hello(serde_json::from_slice(bytes).map_err(|_| bad)?),
            kind::READY => Self::Ready(serde_json::from_slice(bytes).map_err(|_| bad)?),
            kind::NEED_PLUGIN => Self::NeedPlugin(whole(kind, bytes)?),
            kind::NEED_BLOB => Self::NeedBlob(whole(kind, bytes)?),
            kind::RETURNED => Self::Returned(whole(kind, bytes)?),
            kind::ARTIFACT => {
                let ((task, index), rest) = split(kind, bytes)?;
                Self::Artifact { task, index, bytes: rest.to_vec() }
            }
            kind::REPORT => {
                let (head, body): (ReportHead, _) = split(kind, bytes)?;
                if head.row_bytes as usize + head.log_bytes as usize != body.len() {
                    return Err(bad);
                }
                Self::Report { head, body: body.to_vec() }
            }
            kind::DOING => Self::Doing(whole(kind, bytes)?),
            kind::LOG => Self::Log(String::from_utf8(bytes.to_vec()).map_err(|_| bad)?),
            kind::BYE if bytes.is_empty() => Self::Bye,
            kind::BYE => return Err(bad),
            _ => return Err(BadFrame::Kind(kind)),
        })
    }
}

/// Appends a report to `out`, without a copy of its row on the way.
pub fn encode_report(head: &ReportHead, row: &[u8], log: &[u8], out: &mut Vec<u8>) {
    frame(out, kind::REPORT, |out| {
        postcard(out, head);
        out.extend_from_slice(row);
        out.extend_from_slice(log);
    });
}

impl Task {
    /// Bytes that the task has in its frame's body.
    pub fn body_bytes(&self) -> usize {
        let line = match self.line {
            Line::Bytes(bytes) => bytes as usize,
            Line::Digest(_) => 0,
        };
        line + self.row_bytes as usize
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    content(out);
    let length = (out.len() - start - PREFIX) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// A frame that is a head and nothing else.
fn head(out: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    frame(out, kind, |out| postcard(out, value));
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // A Vec takes every write, and our types have JSON.
    let _ = serde_json::to_writer(out, value);
}

fn postcard(out: &mut Vec<u8>, value: &impl Serialize) {
    // A Vec takes every write, and our types have known lengths.
    if let Ok(written) = postcard::to_extend(value, std::mem::take(out)) {
        *out = written;
    }
}

fn split<T: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<(T, &[u8]), BadFrame> {
    postcard::take_from_bytes(bytes).map_err(|_| BadFrame::Content(kind))
}

fn whole<T: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<T, BadFrame> {
    match split(kind, bytes)? {
        (value, []) => Ok(value),
        _ => Err(BadFrame::Content(kind)),
    }
}

/// What a worker notes of a slot in the shared file at its descriptor 1, which outlives it: 16 bytes a slot, little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotWord {
    /// The task that the slot has begun; 0 if the slot is empty.
    pub task: u64,
    /// When it began, in microseconds of the monotonic clock, which all processes share.
    pub began: u64,
}

impl SlotWord {
    /// Bytes of a slot.
    pub const LENGTH: usize = 16;

    /// The bytes of the slot.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..].copy_from_slice(&self.began.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a slot.
    pub fn decode(bytes: [u8; Self::LENGTH]) -> Self {
        let word = u128::from_le_bytes(bytes);
        Self { task: word as u64, began: (word >> 64) as u64 }
    }
}

#[cfg(test)]
#[path = "../tests/protocol.rs"]
mod tests;
