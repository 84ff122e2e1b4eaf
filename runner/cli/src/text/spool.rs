//! [`Spool`]: standard output that does not wait for its reader.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fs::File, io, io::Write as _, os::unix::fs::FileExt as _, time::Duration};

/// Bytes that are printed at once.
const BLOCK: u64 = 64 << 10;
/// Length of the file from which it is emptied when all of it is printed.
const MAX_PRINTED: u64 = 1 << 20;
/// Time without a reader after which a stopped session drops its output.
pub const DROP_AFTER: Duration = Duration::from_millis(500);

/// Output that waits in an unnamed temporary file until a thread has printed it.
pub struct Spool {
    queue: Arc<Queue>,
    printer: JoinHandle<io::Result<()>>,
}

struct Queue {
    file: File,
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct QueueState {
    /// Bytes of the file that are printed.
    printed: u64,
    /// Bytes in the file.
    written: u64,
    is_closed: bool,
}

impl Spool {
    /// Starts the thread that prints.
    ///
    /// # Errors
    ///
    /// No temporary file or no thread can be created.
    pub fn start() -> io::Result<Self> {
        let state = Mutex::default();
        let changed = Condvar::new();
        let queue = Arc::new(Queue { file: tempfile::tempfile()?, state, changed });
        let printing = Arc::clone(&queue);
        let thread = thread::Builder::new().name("output".into());
        let printer = thread.spawn(move || printing.print())?;
        Ok(Self { queue, printer })
    }

    /// Adds output. Drops it once standard output has failed, which [`Self::finish`] returns. Waits for the reader if the
    /// temporary file cannot be written, such as on a full disk.
    ///
    /// # Errors
    ///
    /// Standard output has failed.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.queue.lock();
        if self.printer.is_finished() {
            return Ok(());
        }
        if self.queue.file.write_all_at(bytes, state.written).is_ok() {
            state.written += bytes.len() as u64;
            self.queue.changed.notify_all();
            return Ok(());
        }
        drop(state);
        while !self.wait(DROP_AFTER) {}
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    }

    /// Waits until all output is printed or standard output has failed. Returns `false` if nothing is read for `longest`.
    pub fn wait(&self, longest: Duration) -> bool {
        let mut state = self.queue.lock();
        while state.printed < state.written && !self.printer.is_finished() {
            let before = state.printed;
            let waited = self
                .queue
                .changed
                .wait_timeout_while(state, longest, |state| state.printed == before);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.printed == before {
                return self.printer.is_finished();
            }
        }
        true
    }

    /// Waits until all output is printed. After a stop, only as long as it is read.
    ///
    /// # Errors
    ///
    /// Standard output has failed.
    pub fn finish(self, is_stopped: bool) -> io::Result<()> {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
        if is_stopped && !self.wait(DROP_AFTER) {
            return Ok(());
        }
        self.printer.join().unwrap_or(Ok(()))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self) -> io::Result<()> {
        let mut block = Vec::new();
        loop {
            let state = self
                .changed
                .wait_while(self.lock(), |state| state.printed == state.written && !state.is_closed)
                .map_or_else(|error| *error.into_inner(), |state| *state);
            let length = (state.written - state.printed).min(BLOCK);
            if length == 0 {
                return Ok(());
            }
            block.resize(length as usize, 0);
            self.file.read_exact_at(&mut block, state.printed)?;
            let mut stdout = io::stdout().lock();
            stdout.write_all(&block).and_then(|()| stdout.flush())?;
            let mut state = self.lock();
            state.printed += length;
            self.changed.notify_all();
            if state.printed == state.written && state.written > MAX_PRINTED {
                self.file.set_len(0)?;
                (state.printed, state.written) = (0, 0);
            }
        }
    }
}
