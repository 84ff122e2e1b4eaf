//! [`Indexes`]: indexes of the rows of runs, in memory. The least recently used one is dropped first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use runner_record::{RecordError, RunDir};
use runner_report::RunIndex;

/// Bytes of all indexes.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of an index for each planned trial: its rows, its place in the plan, and kept selections.
const BYTES_PER_TRIAL: u64 = 96;

/// Results above which the first answers about a run do not wait for its index.
const MANY_RESULTS: u64 = 50_000;

/// The indexes of runs.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Vec<Entry>>);

struct Entry {
    run: String,
    bytes: u64,
    slot: SharedIndex,
}

/// The index of a run. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct SharedIndex(Arc<IndexState>);

#[derive(Default)]
struct IndexState {
    /// `None` until it is read.
    index: Mutex<Option<RunIndex>>,
    /// Whether the rows have been read once, or a thread reads them.
    is_started: AtomicBool,
    is_ready: AtomicBool,
}

impl Indexes {
    /// Returns the index of a run with this number of planned trials.
    pub fn of(&self, run: &RunDir, planned: u64) -> SharedIndex {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|entry| entry.run == run.id());
        let slot = found.map_or_else(SharedIndex::default, |found| entries.remove(found).slot);
        let bytes = planned.saturating_mul(BYTES_PER_TRIAL);
        entries.push(Entry { run: run.id().to_owned(), bytes, slot: slot.clone() });
        while entries.len() > 1 && entries.iter().map(|entry| entry.bytes).sum::<u64>() > MAX_BYTES
        {
            entries.remove(0);
        }
        slot
    }
}

impl SharedIndex {
    /// Brings the index up to date, and calls `work` with it. Other callers wait.
    pub fn with<T, E: From<RecordError>>(
        &self,
        run: &RunDir,
        work: impl FnOnce(&mut RunIndex) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that a failure leaves no incomplete index.
        let index = match slot.take() {
            Some(mut index) => index.follow().map(|_| index),
            None => RunIndex::read(run),
        };
        self.0.is_ready.store(true, Ordering::Relaxed);
        work(slot.insert(index?))
    }

    /// Returns whether an answer can wait for the index of a run with this number of results. Otherwise starts to read it.
    pub fn is_ready_soon(&self, run: &RunDir, results: u64) -> bool {
        if results <= MANY_RESULTS || self.0.is_ready.load(Ordering::Relaxed) {
            return true;
        }
        if self.0.is_started.swap(true, Ordering::Relaxed) {
            return false;
        }
        // Continues without the client. The next request reports a failure.
        let (slot, run) = (self.clone(), run.clone());
        tokio::task::spawn_blocking(move || slot.with(&run, |_| Ok::<_, RecordError>(())));
        false
    }
}
