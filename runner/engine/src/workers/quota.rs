//! [`FrameQuota`]: the number of frames of each kind that a worker may send. Decoding bounds the length of a frame.
//!
//! Each frame costs the coordinator memory, disk or time. So each kind is counted, including frames that are ignored. A
//! worker that sends more than an honest one is hostile.

use std::time::Instant;

use runner_model::protocol::{FromWorker, LOG_LINE, MAX_PIECE};
use runner_model::{Limits, visible::visible_line};

/// Artifacts of an attempt with its output: a worker lists no more in a row. While the attempt reports, each is an open file.
const MAX_ARTIFACTS: u64 = 330;

/// An event that lets a worker send frames.
#[derive(Clone, Copy)]
enum Cause {
    /// The start of the worker.
    Start,
    /// A second of the worker's life.
    Second,
    /// A plugin of the run.
    Plugin,
    /// An attachment, schema or large test of the run.
    Blob,
    /// A frame for the worker.
    Frame,
    /// A task for the worker.
    Task,
    /// A piece of an artifact that a task may leave by its provider's limits.
    Piece,
}

/// For each kind of frame, the number of frames that each [`Cause`] allows. Log lines are counted in bytes of `runner.log`.
#[rustfmt::skip]
const BOUNDS: [&[(Cause, u64)]; 10] = [
    /* Hello      */ &[(Cause::Start, 1)],
    /* Ready      */ &[(Cause::Start, 1)],
    /* NeedPlugin */ &[(Cause::Plugin, 1)],
    /* NeedBlob   */ &[(Cause::Blob, 1)],
    // A stopping worker returns its tasks without a request.
    /* Returned   */ &[(Cause::Start, 1), (Cause::Frame, 1)],
    /* Artifact   */ &[(Cause::Piece, 1)],
    // A few reports of tasks that the worker does not have are ignored.
    /* Report     */ &[(Cause::Start, 16), (Cause::Task, 1)],
    // Every half second, and after a stop.
    /* Doing      */ &[(Cause::Start, 16), (Cause::Second, 4)],
    /* Log        */ &[(Cause::Start, 1 << 20)],
    /* Bye        */ &[(Cause::Start, 1)],
];

pub(super) struct FrameQuota {
    started: Instant,
    /// Number of events by [`Cause`], without seconds.
    events: [u64; 7],
    /// Frames, or bytes of log lines, by the index in [`BOUNDS`].
    sent: [u64; BOUNDS.len()],
}

impl FrameQuota {
    pub(super) fn new(plugins: usize, blobs: usize) -> Self {
        let mut events = [0; 7];
        events[Cause::Start as usize] = 1;
        events[Cause::Plugin as usize] = plugins as u64;
        events[Cause::Blob as usize] = blobs as u64;
        Self { started: Instant::now(), events, sent: Default::default() }
    }

    /// Counts a frame for the worker.
    pub(super) fn add_frame(&mut self) {
        self.events[Cause::Frame as usize] += 1;
    }

    /// Counts a task for the worker. `limits` are those of its provider.
    pub(super) fn add_task(&mut self, limits: &Limits) {
        self.events[Cause::Task as usize] += 1;
        let pieces = &mut self.events[Cause::Piece as usize];
        *pieces = pieces.saturating_add(max_pieces(limits));
    }

    /// Counts a frame of the worker.
    ///
    /// # Errors
    ///
    /// The worker has sent too many of its kind. The fault is the rest of a sentence.
    pub(super) fn count(&mut self, message: &FromWorker) -> Result<(), &'static str> {
        let (kind, cost, fault) = match message {
            FromWorker::Hello(_) => (0, 1, "sent its first message twice"),
            FromWorker::Ready(_) => (1, 1, "was ready twice"),
            FromWorker::NeedPlugin(_) => (2, 1, "requested too many plugins"),
            FromWorker::NeedBlob(_) => (3, 1, "requested too many files"),
            FromWorker::Returned(_) => (4, 1, "returned tasks too often"),
            FromWorker::Artifact { .. } => (5, 1, "sent artifacts in too many pieces"),
            FromWorker::Report { .. } => (6, 1, "sent more reports than it has tasks"),
            FromWorker::Doing(_) => (7, 1, "reported its running tasks too often"),
            FromWorker::Log(line) => {
                let bytes = visible_line(line).len() + LOG_LINE;
                (8, bytes as u64, "wrote too much to `runner.log`")
            }
            FromWorker::Bye => (9, 1, "sent its last message twice"),
        };
        self.sent[kind] += cost;
        let allowed = BOUNDS[kind].iter().map(|(cause, frames)| match cause {
            Cause::Second => self.started.elapsed().as_secs().saturating_mul(*frames),
            cause => self.events[*cause as usize].saturating_mul(*frames),
        });
        if self.sent[kind] > allowed.fold(0, u64::saturating_add) { Err(fault) } else { Ok(()) }
    }
}

/// Returns the bytes of all artifacts of an attempt. An output that is too large for a row is one more artifact, and JSON
/// escapes can make it longer.
pub(crate) fn max_artifact_bytes(limits: &Limits) -> u64 {
    limits.artifacts.saturating_add(limits.reply.saturating_mul(8))
}

/// Returns the number of artifacts of an attempt, with its output.
pub(crate) fn max_artifacts(limits: &Limits) -> u64 {
    limits.artifact_files.saturating_add(1).min(MAX_ARTIFACTS)
}

/// Returns the number of pieces of all artifacts of an attempt. Redaction can turn one piece into two, and adds one at the end.
fn max_pieces(limits: &Limits) -> u64 {
    2 * (max_artifact_bytes(limits) / MAX_PIECE as u64) + 3 * max_artifacts(limits)
}

#[cfg(test)]
mod tests {
    use runner_model::protocol::{Doing, FromWorker, Hello, ReportHead};
    use runner_model::{Digest, Limits, TaskId, prepare::Ready};

    use super::{BOUNDS, FrameQuota, max_pieces};

    /// Returns the number of equal frames that a worker may send.
    fn most(quota: &mut FrameQuota, frame: &FromWorker) -> u64 {
        (0..).find(|_| quota.count(frame).is_err()).unwrap_or(u64::MAX)
    }

    fn frames() -> [(FromWorker, u64); BOUNDS.len()] {
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
        ]
    }

    #[test]
    fn every_kind_of_frame_is_bounded() {
        for (frame, expected) in frames() {
            let mut quota = FrameQuota::new(2, 3);
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
    fn log_lines_count_as_they_are_written() {
        let mut quota = FrameQuota::new(0, 0);
        let steering = FromWorker::Log("\u{1b}".repeat(100));
        assert!(most(&mut quota, &steering) < (1 << 20) / 300);
    }
}
