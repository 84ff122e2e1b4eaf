//! The frames between a supervisor and a worker: encoding and decoding, and [`FrameBuffer`], which extracts them from a byte
//! stream.
//!
//! A frame has a prefix, a head and a body. The prefix is the length of head and body as u32 (little-endian) and the kind as
//! u8. `Hello`, `Prepare` and `Ready` are JSON. All other heads are
//! [postcard](https://postcard.jamesmunns.com/wire-format), version 1. `Hello` comes first and has the exact version, so both
//! ends always use the same form.
//!
//! Decoding checks kinds and lengths. [`crate::row::check_row`] checks the row of a report.

mod journal;
mod message;

use std::io::{self, Read};
use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::log::MAX_SAID;
use crate::row::{MAX_ROW, TAIL_BYTES};

pub use self::journal::{
    CALLS_VERSION, CallLine, Content, DIVERGED, Entry, Exchange, FailedCall, INTERRUPTED_CALL,
    Request, Response,
};
pub use self::message::{
    Doing, FromWorker, Hello, Line, PostAnswer, PostRequest, Recorded, ReportHead, SlotWord, Task,
    TaskKind, TimeoutRule, ToWorker,
};

/// Bytes before a head: length and kind.
pub const PREFIX: usize = 5;
/// Bytes of a piece of an artifact.
pub const MAX_PIECE: usize = 256 << 10;
/// Bytes that a line of `runner.log` has in addition to the text of a worker.
pub const LOG_LINE: usize = 64;
/// Bytes of a line of the suite in a frame. A longer line is a blob.
pub const MAX_LINE: usize = 1 << 20;
/// Bytes of tasks in one frame. A single task may have more.
pub const MAX_TASKS: usize = 4 << 20;

/// Values in the JSON of a `Ready`. A description may have 40,000.
const MAX_READY_VALUES: usize = 400_000;

/// An invalid frame. The other end is broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// A kind that the sender does not have.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// More bytes than the kind may have.
    #[error("a frame of kind {kind} with {length} bytes, more than {most}")]
    TooLong { kind: u8, length: usize, most: usize },
    /// A head or body that is not of this kind.
    #[error("a frame of kind {0} that cannot be decoded")]
    Content(u8),
}

/// The end that sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The coordinator, or a command that makes a single call.
    Supervisor,
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
    pub const ENTRY_KEPT: u8 = 9;

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
    pub const ENTRY: u8 = 75;
}

/// Returns the most bytes of a frame after its prefix. `None` for a kind that the sender does not have.
fn max_bytes(sender: Sender, kind: u8) -> Option<usize> {
    match (sender, kind) {
        (Sender::Supervisor, kind::PREPARE | kind::TASKS) => Some(16 << 20),
        (Sender::Supervisor, kind::TAKE_BACK..=kind::ENTRY_KEPT) => Some(64),
        (Sender::Worker, kind::HELLO) => Some(4 << 10),
        (Sender::Worker, kind::READY) => Some(16 << 20),
        (Sender::Worker, kind::REPORT) => Some(MAX_SAID + MAX_ROW + 64),
        (Sender::Worker, kind::NEED_PLUGIN | kind::NEED_BLOB | kind::BYE) => Some(64),
        (Sender::Worker, kind::RETURNED | kind::DOING) => Some(1 << 20),
        (Sender::Worker, kind::ARTIFACT | kind::ENTRY) => Some(MAX_PIECE + 64),
        (Sender::Worker, kind::LOG) => Some(64 << 10),
        _ => None,
    }
}

/// Decodes a prefix. Returns the kind and the number of bytes that follow.
///
/// # Errors
///
/// A kind that `sender` does not have, or too many bytes.
pub fn read_prefix(prefix: [u8; PREFIX], sender: Sender) -> Result<(u8, usize), BadFrame> {
    let [a, b, c, d, kind] = prefix;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    // Checked before any byte is buffered. Otherwise a worker could fill the coordinator's memory.
    let most = max_bytes(sender, kind).ok_or(BadFrame::Kind(kind))?;
    if length > most {
        return Err(BadFrame::TooLong { kind, length, most });
    }
    Ok((kind, length))
}

/// A message that one end of the protocol receives.
pub trait Message: Sized {
    const SENDER: Sender;

    /// Decodes the bytes after a prefix.
    ///
    /// # Errors
    ///
    /// A frame that the sender never encodes.
    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, BadFrame>;
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
            Self::TakeBack { keep } => head_only(out, kind::TAKE_BACK, keep),
            Self::Pause(paused) => head_only(out, kind::PAUSE, paused),
            Self::Stop { grace, kill } => head_only(out, kind::STOP, &(grace, kill)),
            Self::PluginReady(digest) => head_only(out, kind::PLUGIN_READY, digest),
            Self::BlobReady(digest) => head_only(out, kind::BLOB_READY, digest),
            Self::Finish { teardown } => head_only(out, kind::FINISH, teardown),
            Self::EntryKept(task) => head_only(out, kind::ENTRY_KEPT, task),
        }
    }
}

impl Message for ToWorker {
    const SENDER: Sender = Sender::Supervisor;

    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, BadFrame> {
        let bad = BadFrame::Content(kind);
        Ok(match kind {
            kind::PREPARE => Self::Prepare(serde_json::from_slice(bytes).map_err(|_| bad)?),
            kind::TASKS => {
                let (tasks, body): (Vec<Task>, _) = decode_head(kind, bytes)?;
                // The receiver splits the body at these lengths, which would panic beyond its end.
                let length = tasks.iter().map(Task::body_bytes).sum::<usize>();
                if length != body.len() {
                    return Err(bad);
                }
                Self::Tasks { tasks, body: body.to_vec() }
            }
            kind::TAKE_BACK => Self::TakeBack { keep: decode_whole(kind, bytes)? },
            kind::PAUSE => Self::Pause(decode_whole(kind, bytes)?),
            kind::STOP => {
                let (grace, kill) = decode_whole(kind, bytes)?;
                Self::Stop { grace, kill }
            }
            kind::PLUGIN_READY => Self::PluginReady(decode_whole(kind, bytes)?),
            kind::BLOB_READY => Self::BlobReady(decode_whole(kind, bytes)?),
            kind::FINISH => Self::Finish { teardown: decode_whole(kind, bytes)? },
            kind::ENTRY_KEPT => Self::EntryKept(decode_whole(kind, bytes)?),
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
            Self::NeedPlugin(digest) => head_only(out, kind::NEED_PLUGIN, digest),
            Self::NeedBlob(digest) => head_only(out, kind::NEED_BLOB, digest),
            Self::Returned(tasks) => head_only(out, kind::RETURNED, tasks),
            Self::Artifact { task, index, bytes } => frame(out, kind::ARTIFACT, |out| {
                postcard(out, &(task, index));
                out.extend_from_slice(bytes);
            }),
            Self::Report { head, body } => encode_report(head, body, &[], out),
            Self::Doing(doing) => head_only(out, kind::DOING, doing),
            Self::Log(line) => frame(out, kind::LOG, |out| out.extend_from_slice(line.as_bytes())),
            Self::Bye => frame(out, kind::BYE, |_| {}),
            Self::Entry { task, is_last, bytes } => frame(out, kind::ENTRY, |out| {
                postcard(out, &(task, is_last));
                out.extend_from_slice(bytes);
            }),
        }
    }
}

impl Message for FromWorker {
    const SENDER: Sender = Sender::Worker;

    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, BadFrame> {
        let bad = BadFrame::Content(kind);
        Ok(match kind {
            kind::HELLO => Self::Hello(serde_json::from_slice(bytes).map_err(|_| bad)?),
            // A short value takes many times its bytes once it is parsed.
            kind::READY if values(bytes) > MAX_READY_VALUES => return Err(bad),
            kind::READY => Self::Ready(serde_json::from_slice(bytes).map_err(|_| bad)?),
            kind::NEED_PLUGIN => Self::NeedPlugin(decode_whole(kind, bytes)?),
            kind::NEED_BLOB => Self::NeedBlob(decode_whole(kind, bytes)?),
            kind::RETURNED => Self::Returned(decode_whole(kind, bytes)?),
            kind::ARTIFACT => {
                let ((task, index), rest) = decode_head(kind, bytes)?;
                Self::Artifact { task, index, bytes: rest.to_vec() }
            }
            kind::REPORT => {
                let (head, body): (ReportHead, _) = decode_head(kind, bytes)?;
                // The receiver splits the body at these lengths, which would panic beyond its end.
                if head.row_bytes as usize + head.log_bytes as usize != body.len() {
                    return Err(bad);
                }
                // Reserves room for the tail, which the coordinator appends to the row.
                let mut owned = Vec::with_capacity(body.len() + TAIL_BYTES);
                owned.extend_from_slice(body);
                Self::Report { head, body: owned }
            }
            kind::DOING => Self::Doing(decode_whole(kind, bytes)?),
            kind::LOG => Self::Log(String::from_utf8(bytes.to_vec()).map_err(|_| bad)?),
            kind::BYE if bytes.is_empty() => Self::Bye,
            kind::BYE => return Err(bad),
            kind::ENTRY => {
                let ((task, is_last), rest) = decode_head(kind, bytes)?;
                Self::Entry { task, is_last, bytes: rest.to_vec() }
            }
            _ => return Err(BadFrame::Kind(kind)),
        })
    }
}

/// Returns at least the number of values in JSON.
fn values(json: &[u8]) -> usize {
    let mut values = 1;
    let mut is_text = false;
    let mut is_escaped = false;
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => values += 1,
            _ => {}
        }
    }
    values
}

/// Appends a report to `out` without copying its row before.
pub fn encode_report(head: &ReportHead, row: &[u8], log: &[u8], out: &mut Vec<u8>) {
    frame(out, kind::REPORT, |out| {
        postcard(out, head);
        out.extend_from_slice(row);
        out.extend_from_slice(log);
    });
}

fn frame(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    content(out);
    let length = (out.len() - start - PREFIX) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends a frame without a body.
fn head_only(out: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    frame(out, kind, |out| postcard(out, value));
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to a Vec cannot fail, and all keys are strings.
    let _ = serde_json::to_writer(out, value);
}

fn postcard(out: &mut Vec<u8>, value: &impl Serialize) {
    // Extending a Vec cannot fail, and all lengths are known. `to_extend` consumes its target, so it is taken out before.
    if let Ok(written) = postcard::to_extend(value, std::mem::take(out)) {
        *out = written;
    }
}

fn decode_head<T: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<(T, &[u8]), BadFrame> {
    postcard::take_from_bytes(bytes).map_err(|_| BadFrame::Content(kind))
}

fn decode_whole<T: DeserializeOwned>(kind: u8, bytes: &[u8]) -> Result<T, BadFrame> {
    match decode_head(kind, bytes)? {
        (value, []) => Ok(value),
        _ => Err(BadFrame::Content(kind)),
    }
}

/// Bytes of one read.
const READ: usize = 64 << 10;
/// Bytes of a buffer that is kept for further frames.
const KEPT: usize = 1 << 20;

/// Received bytes that hold frames.
pub struct FrameBuffer<M> {
    bytes: Vec<u8>,
    /// Number of received bytes in `bytes`.
    end: usize,
    /// Offset of the next frame.
    at: usize,
    message: PhantomData<M>,
}

impl<M> Default for FrameBuffer<M> {
    fn default() -> Self {
        Self { bytes: Vec::new(), end: 0, at: 0, message: PhantomData }
    }
}

impl<M: Message> FrameBuffer<M> {
    /// Reads once from `source`. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    ///
    /// An error of `source`.
    pub fn fill(&mut self, mut source: impl Read) -> io::Result<usize> {
        self.bytes.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        // Otherwise one large frame would occupy its memory until the connection ends.
        if self.bytes.len() > KEPT && self.end < KEPT {
            self.bytes.truncate(KEPT);
            self.bytes.shrink_to_fit();
        }
        if self.bytes.len() < self.end + READ {
            self.bytes.resize(self.end + READ, 0);
        }
        let read = source.read(&mut self.bytes[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Removes the next whole frame. `None` if the rest of it has not been read.
    ///
    /// # Errors
    ///
    /// Bytes that are not a frame of the other end. Nothing after them can be read.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end at a partial frame")]
    pub fn next(&mut self) -> Result<Option<M>, BadFrame> {
        let bytes = &self.bytes[self.at..self.end];
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let (kind, length) = read_prefix(*prefix, M::SENDER)?;
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        let message = M::decode(kind, content)?;
        self.at += PREFIX + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
#[path = "../tests/protocol.rs"]
mod tests;
