//! [`Writer`]: appends rows and calls on a thread, with one write and one `fdatasync` for all that wait. The next group
//! gathers meanwhile.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fs::File, io, mem};

use runner_model::{Digest, Tail, row::LogPlace};

use crate::disk::{beneath::Stamp, fault, layout::ROWS};
use crate::rows::run_files::{Group, RunFiles};
use crate::{RecordError, RunDir};

/// Shortest time between commits while more rows are coming. Each interrupt of the disk takes a processor from a guest.
const COMPANY: Duration = Duration::from_millis(20);

/// The result of writing rows.
#[derive(Clone, Debug)]
pub enum Ack {
    /// The rows and calls are synced.
    Written {
        /// Offset of the first line in `index.jsonl`.
        at: u64,
        /// The lines of rows, each with its line break.
        lines: Arc<Vec<u8>>,
        /// Number of calls.
        calls: u64,
    },
    /// A write or sync failed. The files were cut back to the last acknowledged byte, nothing more will be written, and
    /// this is the last acknowledgement.
    Failed(Arc<RecordError>),
}

/// Appends rows on a thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<WriterQueue>,
    thread: Option<JoinHandle<()>>,
    next_seq: u64,
    logs_length: u64,
    calls_length: u64,
}

#[derive(Debug, Default)]
struct WriterQueue {
    state: Mutex<WriterState>,
    wake: Condvar,
    /// Notified after each commit, and when nothing more will be written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct WriterState {
    group: Group,
    pending_rows: u64,
    pending_bytes: u64,
    expects_more: bool,
    is_closed: bool,
    failure: Option<Arc<RecordError>>,
}

impl Writer {
    pub(crate) fn start(
        run: &RunDir,
        lock: Stamp,
        last_seq: u64,
        acks: Box<dyn Fn(Ack) + Send>,
    ) -> Result<Self, RecordError> {
        let mut files = RunFiles::open(run, lock)?;
        let (logs_length, calls_length) = (files.logs_length(), files.calls_length());
        let shared = Arc::<WriterQueue>::default();
        let thread = thread::Builder::new().name("rows".into());
        let work = {
            let shared = Arc::clone(&shared);
            #[allow(
                clippy::let_unit_value,
                reason = "it is a value only in this crate's own tests"
            )]
            let fault = fault::inherit();
            move || {
                fault::adopt(fault);
                let ended = panic::catch_unwind(AssertUnwindSafe(|| {
                    commit_all(&shared, &mut files, &*acks)
                }));
                let failed = ended.unwrap_or_else(|_| {
                    files.cut_back();
                    Err(files.error(
                        "write",
                        io::Error::other(
                            "the thread that writes rows panicked, which is a bug of the runner",
                        ),
                    ))
                });
                if let Err(error) = failed {
                    let error = Arc::new(error);
                    shared.lock().failure = Some(Arc::clone(&error));
                    shared.written.notify_all();
                    acks(Ack::Failed(error));
                }
            }
        };
        let thread = thread
            .spawn(work)
            .map_err(|source| run.dir.error("start the thread that writes", ROWS, source))?;
        let next_seq = last_seq + 1;
        Ok(Self { shared, thread: Some(thread), next_seq, logs_length, calls_length })
    }

    /// Queues a row and returns its `seq`. Never waits for the disk.
    ///
    /// `row` is a worker's checked row (closed object), `log` a line for `logs.jsonl` with its line break. `artifacts`
    /// are drafts that are kept under their digests before the row is written. Sets `tail.seq` and `tail.logs`.
    pub fn row(
        &mut self,
        mut row: Vec<u8>,
        mut tail: Tail,
        log: Option<Vec<u8>>,
        artifacts: Vec<(Digest, File)>,
    ) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        tail.seq = seq;
        if let Some(log) = &log {
            tail.logs = Some(LogPlace {
                at: self.logs_length,
                bytes: log.len().saturating_sub(1).try_into().unwrap_or(u32::MAX),
            });
            self.logs_length += log.len() as u64;
        }
        tail.finish(&mut row);

        let mut state = self.shared.lock();
        // After a failure nothing is written.
        if state.failure.is_some() {
            return seq;
        }
        let was_empty = state.group.rows == 0;
        state.pending_rows += 1;
        state.pending_bytes += (row.len() + log.as_ref().map_or(0, Vec::len)) as u64;
        state.group.rows += 1;
        state.group.lines.append(&mut row);
        state.group.logs.extend(log.into_iter().flatten());
        state.group.artifacts.extend(artifacts);
        let is_large = state.group.is_large();
        drop(state);
        if was_empty || is_large {
            self.shared.wake.notify_one();
        }
        seq
    }

    /// Returns the offset of the next line of `calls.jsonl`.
    pub fn calls_length(&self) -> u64 {
        self.calls_length
    }

    /// Queues a line for `calls.jsonl`, with its line break. Never waits for the disk. The line is written without a wait for
    /// others, because a guest waits for it.
    pub fn call(&mut self, line: &[u8]) {
        self.calls_length += line.len() as u64;
        let mut state = self.shared.lock();
        if state.failure.is_none() {
            state.pending_bytes += line.len() as u64;
            state.group.entries += 1;
            state.group.calls.extend_from_slice(line);
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Waits until all rows and calls are on disk, or a write has failed.
    pub fn wait(&self) {
        let mut state = self.shared.lock();
        while state.pending_bytes > 0 && state.failure.is_none() {
            state = self.shared.written.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sets whether more rows are coming. If not, the writer does not wait for them.
    pub fn expect_more(&self, more: bool) {
        let mut state = self.shared.lock();
        if mem::replace(&mut state.expects_more, more) && !more {
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Returns the bytes (with logs and calls) and the rows that are not acknowledged.
    pub fn pending(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.pending_bytes, state.pending_rows)
    }

    /// Waits for all acknowledgements, and ends the thread.
    ///
    /// # Errors
    ///
    /// A row was not written, or another program has changed the file since. Then call [`Owned::distrust_rows`](crate::Owned::distrust_rows).
    pub fn close(&mut self) -> Result<(), Arc<RecordError>> {
        self.join();
        match self.shared.lock().failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn join(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics and reports them.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.join();
    }
}

impl WriterQueue {
    fn lock(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for rows, and for more rows if the last commit was less than [`COMPANY`] ago. `None` at the end.
    fn next(&self, last_commit: Option<Instant>) -> Option<Group> {
        let mut state = self.lock();
        while state.group.is_empty() {
            if state.is_closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = last_commit.map(|last| last + COMPANY);
        while state.expects_more
            && !state.is_closed
            && state.group.entries == 0
            && !state.group.is_large()
        {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                break;
            };
            let waited = self.wake.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let next = Group {
            // The next group is about as large. Without this capacity its bytes would be copied as it grows.
            lines: Vec::with_capacity(state.group.lines.len()),
            ..Group::default()
        };
        Some(mem::replace(&mut state.group, next))
    }
}

/// Commits groups until the queue is closed or a commit fails.
fn commit_all(
    shared: &WriterQueue,
    files: &mut RunFiles,
    acks: &dyn Fn(Ack),
) -> Result<(), RecordError> {
    let mut last_commit = None;
    while let Some(group) = shared.next(last_commit) {
        let at = files.commit(&group)?;
        last_commit = Some(Instant::now());
        let mut state = shared.lock();
        state.pending_rows -= group.rows;
        state.pending_bytes -= group.bytes() as u64;
        drop(state);
        shared.written.notify_all();
        acks(Ack::Written { at, lines: Arc::new(group.lines), calls: group.entries });
    }
    files.check_rows()
}

#[cfg(test)]
#[path = "tests/writer.rs"]
mod tests;
