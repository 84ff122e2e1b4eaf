//! [`FrameQuota`]: the number of frames of each kind that a worker may send. Decoding bounds the length of a frame.
//!
//! Each frame costs the coordinator memory, disk or time. So each kind is counted, including frames that are ignored. A
//! worker that sends more than an honest one is hostile.

use std::time::Instant;

use runner_model::protocol::{FromWorker, LOG_LINE, MAX_PIECE};
use runner_model::{Limits, visible::visible_line};
use runner_model::{transcript::MAX_HEAD, workspace::MAX_CHANGE_BYTES};

/// Artifacts of an attempt with its output: a worker lists no more in a row. While the attempt reports, each is an open file.
const MAX_ARTIFACTS: u64 = 330;

/// Requests of a worker on another machine for the same content, because the broker may lose it.
const REMOTE_REQUESTS: u64 = 8;

/// Bytes of the shortest entry of a journal: a request that is about to be sent.
const MIN_ENTRY: u64 = 21;

/// Bytes of the entry with which a guest starts, which `limits.journal` does not count.
const MAX_START: u64 = 1024;

/// Kinds of frames of workers.
const KINDS: usize = 11;

/// The frames of a worker, and the events that let it send some.
pub(super) struct FrameQuota {
    started: Instant,
    /// Plugins of the run.
    plugins: u64,
    /// Attachments, schemas and large tests of the run.
    blobs: u64,
    /// Frames for the worker.
    frames: u64,
    /// Tasks for the worker.
    tasks: u64,
    /// Pieces of artifacts that its tasks may leave by the limits of their providers.
    pieces: u64,
    /// Bytes of entries that the journals of its tasks may have.
    entries: u64,
    /// Frames, or bytes of log lines and entries, by kind.
    sent: [u64; KINDS],
}

impl FrameQuota {
    /// Returns the quota of a worker of a run with `plugins` and `blobs`. `is_remote` if it is on another machine.
    pub(super) fn new(plugins: usize, blobs: usize, is_remote: bool) -> Self {
        let requests = if is_remote { REMOTE_REQUESTS } else { 1 };
        Self {
            started: Instant::now(),
            plugins: requests * plugins as u64,
            blobs: requests * blobs as u64,
            frames: 0,
            tasks: 0,
            pieces: 0,
            entries: 0,
            sent: [0; KINDS],
        }
    }

    /// Counts a large test or a journal for the worker. One on another machine requests its lines.
    pub(super) fn add_large_test(&mut self) {
        self.blobs += REMOTE_REQUESTS;
    }

    /// Counts a frame for the worker.
    pub(super) fn add_frame(&mut self) {
        self.frames += 1;
    }

    /// Counts a task for the worker. `limits` are those of its provider.
    pub(super) fn add_task(&mut self, limits: &Limits) {
        self.tasks += 1;
        self.pieces = self.pieces.saturating_add(max_pieces(limits));
        self.entries = self.entries.saturating_add(max_entry_bytes(limits));
    }

    /// Counts a frame of the worker.
    ///
    /// # Errors
    ///
    /// The worker has sent too many of its kind. The fault is the rest of a sentence.
    pub(super) fn count(&mut self, message: &FromWorker) -> Result<(), &'static str> {
        let (kind, most, fault) = match message {
            FromWorker::Hello(_) => (0, 1, "sent its first message twice"),
            FromWorker::Ready(_) => (1, 1, "was ready twice"),
            FromWorker::NeedPlugin(_) => (2, self.plugins, "requested too many plugins"),
            FromWorker::NeedBlob(_) => (3, self.blobs, "requested too many files"),
            // A stopping worker returns its tasks without a request.
            FromWorker::Returned(_) => (4, 1 + self.frames, "returned tasks too often"),
            FromWorker::Artifact { .. } => (5, self.pieces, "sent artifacts in too many pieces"),
            // A few reports of tasks that the worker does not have are ignored.
            FromWorker::Report { .. } => {
                (6, 16 + self.tasks, "sent more reports than it has tasks")
            }
            // Every half second, and after a stop.
            FromWorker::Doing(_) => {
                let seconds = self.started.elapsed().as_secs();
                (7, 16 + 4 * seconds, "reported its running tasks too often")
            }
            FromWorker::Log(_) => (8, 1 << 20, "wrote too much to `runner.log`"),
            FromWorker::Bye => (9, 1, "sent its last message twice"),
            FromWorker::Entry { .. } => (10, self.entries, "recorded too many calls"),
        };
        self.sent[kind] += match message {
            FromWorker::Log(line) => (visible_line(line).len() + LOG_LINE) as u64,
            // All pieces but the last one are full, so an honest worker's are counted as they are. Only the rest of a long
            // entry is shorter than an entry.
            FromWorker::Entry { is_last, bytes, .. } => {
                let least = if *is_last { MIN_ENTRY } else { MAX_PIECE as u64 };
                least.max(bytes.len() as u64)
            }
            _ => 1,
        };
        if self.sent[kind] > most { Err(fault) } else { Ok(()) }
    }
}

/// Returns the bytes of all artifacts of an attempt, with those of its workspace. An output that is too large for a row is one
/// more artifact, and JSON escapes can make it longer.
pub(crate) fn max_artifact_bytes(limits: &Limits) -> u64 {
    let own = limits.artifacts.saturating_add(limits.reply.saturating_mul(8));
    let workspace = limits.workspace.saturating_add(MAX_CHANGE_BYTES);
    // Each step has a number, too, which is shorter than the step.
    let transcript = limits.transcript.saturating_mul(2).saturating_add(MAX_HEAD);
    own.saturating_add(workspace).saturating_add(transcript)
}

/// Returns the number of artifacts of an attempt, with its output, those of its workspace, and its transcript.
pub(crate) fn max_artifacts(limits: &Limits) -> u64 {
    limits.artifact_files.saturating_add(4).min(MAX_ARTIFACTS)
}

/// Returns the number of pieces of all artifacts of an attempt. Redaction can turn one piece into two, and adds one at the end.
fn max_pieces(limits: &Limits) -> u64 {
    2 * (max_artifact_bytes(limits) / MAX_PIECE as u64) + 3 * max_artifacts(limits)
}

/// Returns the bytes of all entries of an attempt, as [`FrameQuota::count`] counts them. The number of entries has no other
/// bound: each call of a tool may make the tool's `http_requests`, and all of them are in the journal of the caller.
fn max_entry_bytes(limits: &Limits) -> u64 {
    let rests = limits.journal / MAX_PIECE as u64 * MIN_ENTRY;
    limits.journal.saturating_add(rests).saturating_add(MAX_START)
}

#[cfg(test)]
mod tests {
    use runner_model::protocol::{Doing, Entry, FromWorker, Hello, MAX_PIECE, ReportHead};
    use runner_model::{Digest, Limits, TaskId, prepare::Ready};

    use super::{FrameQuota, KINDS, MIN_ENTRY, max_entry_bytes, max_pieces};

    /// Returns the number of equal frames that a worker may send.
    fn most(quota: &mut FrameQuota, frame: &FromWorker) -> u64 {
        (0..).find(|_| quota.count(frame).is_err()).unwrap_or(u64::MAX)
    }

    fn frames() -> [(FromWorker, u64); KINDS] {
        let (task, digest) = (TaskId(1), Digest([7; 32]));
        let head = ReportHead { task, row_bytes: 0, log_bytes: 0, host_fault: None };
        let hello = Hello { version: String::new(), compile_key: String::new() };
        let pieces = max_pieces(&Limits::default());
        [
            (FromWorker::Hello(hello), 1),
            (FromWorker::Ready(Ready::default()), 1),
            (FromWorker::NeedPlugin(digest), 2),
            (FromWorker::NeedBlob(digest), 3),
            (FromWorker::Returned(Vec::new()), 2),
            (FromWorker::Artifact { task, index: 0, bytes: Vec::new() }, 2 * pieces),
            (FromWorker::Report { head, body: Vec::new() }, 18),
            (FromWorker::Doing(Vec::<Doing>::new()), 16),
            (FromWorker::Log(String::new()), (1 << 20) / 64),
            (FromWorker::Bye, 1),
            (
                FromWorker::Entry { task, is_last: true, bytes: Vec::new() },
                2 * max_entry_bytes(&Limits::default()) / MIN_ENTRY,
            ),
        ]
    }

    #[test]
    fn every_kind_of_frame_is_bounded() {
        for (frame, expected) in frames() {
            let mut quota = FrameQuota::new(2, 3, false);
            quota.add_frame();
            quota.add_task(&Limits::default());
            quota.add_task(&Limits::default());
            let most = most(&mut quota, &frame);
            // A busy machine may need a second for this.
            let more = if matches!(frame, FromWorker::Doing(_)) { 40 } else { 0 };
            assert!((expected..=expected + more).contains(&most), "{frame:?}: {most}");
        }
    }

    #[test]
    fn journal_within_its_limit_is_within_the_quota() {
        let start = Entry::Start {
            clock: runner_model::Time::default(),
            timeout_us: u64::MAX,
            compile_key: "0123456789abcdef".to_owned(),
            continues: true,
            records_sent: true,
        };
        let start = start.to_bytes();
        let shortest = Entry::Sent { number: 1 }.to_bytes();
        assert_eq!(shortest.len() as u64, MIN_ENTRY);
        let limits = Limits { journal: 3 << 20, http_requests: 1, ..Limits::default() };
        // Many requests of tools, large responses, and rests of one byte.
        for entry in [shortest, vec![b'x'; 200], vec![b'x'; 1 << 20], vec![b'x'; MAX_PIECE + 1]] {
            let mut quota = FrameQuota::new(0, 0, false);
            quota.add_task(&limits);
            let entries = vec![entry.as_slice(); (limits.journal / entry.len() as u64) as usize];
            for entry in [&start[..]].into_iter().chain(entries) {
                let mut pieces = entry.chunks(MAX_PIECE).peekable();
                while let Some(piece) = pieces.next() {
                    let (task, is_last) = (TaskId(1), pieces.peek().is_none());
                    let frame = FromWorker::Entry { task, is_last, bytes: piece.to_vec() };
                    assert_eq!(quota.count(&frame), Ok(()), "entries of {} bytes", entry.len());
                }
            }
            let piece = FromWorker::Entry { task: TaskId(1), is_last: false, bytes: Vec::new() };
            assert!(most(&mut quota, &piece) <= 1);
        }
    }

    #[test]
    fn remote_worker_may_repeat_requests() {
        let digest = Digest([7; 32]);
        let mut quota = FrameQuota::new(2, 3, true);
        quota.add_large_test();
        assert_eq!(most(&mut quota, &FromWorker::NeedPlugin(digest)), 2 * 8);
        assert_eq!(most(&mut quota, &FromWorker::NeedBlob(digest)), (3 + 1) * 8);
    }

    #[test]
    fn log_lines_count_as_they_are_written() {
        let mut quota = FrameQuota::new(0, 0, false);
        let steering = FromWorker::Log("\u{1b}".repeat(100));
        assert!(most(&mut quota, &steering) < (1 << 20) / 300);
    }
}
