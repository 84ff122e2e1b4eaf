//! [`Indexes`]: the rows of runs that were looked at, in memory. The index that was not used for the longest time is dropped first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use runner_record::{RecordError, RunDir};
use runner_report::RunIndex;

/// Bytes of all indexes.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of an index for each planned trial: its rows, its place in the plan, and kept selections.
const BYTES_PER_TRIAL: u64 = 96;

/// Results of a run whose first answers do not wait for the index.
const MANY_RESULTS: u64 = 50_000;

/// The indexes of runs.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Vec<Entry>>);

struct Entry {
    run: String,
    bytes: u64,
    slot: Slot,
}

/// The index of a run.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<SlotState>);

#[derive(Default)]
struct SlotState {
    /// `None` until it is read.
    index: Mutex<Option<RunIndex>>,
    /// The rows have been read once, or a thread reads them.
    is_started: AtomicBool,
    is_ready: AtomicBool,
}

impl Indexes {
    /// Returns the index of a run with this number of planned trials.
    pub fn of(&self, run: &RunDir, planned: u64) -> Slot {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|entry| entry.run == run.id());
        let slot = found.map_or_else(Slot::default, |found| entries.remove(found).slot);
        let bytes = planned.saturating_mul(BYTES_PER_TRIAL);
        entries.push(Entry { run: run.id().to_owned(), bytes, slot: slot.clone() });
        while entries.len() > 1 && entries.iter().map(|entry| entry.bytes).sum::<u64>() > MAX_BYTES
        {
            entries.remove(0);
        }
        slot
    }
}

impl Slot {
    /// Calls `work` with the index, which has all rows. Other callers wait.
    pub fn with<T, E: From<RecordError>>(
        &self,
        run: &RunDir,
        work: impl FnOnce(&mut RunIndex) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that a failure in between leaves no half of an index.
        let index = match slot.take() {
            Some(mut index) => index.follow().map(|_| index),
            None => RunIndex::read(run),
        };
        self.0.is_ready.store(true, Ordering::Relaxed);
        work(slot.insert(index?))
    }

    /// Returns whether an answer about a run with this number of results can wait for the index. Otherwise starts to read it.
    pub fn is_soon(&self, run: &RunDir, results: u64) -> bool {
        if results <= MANY_RESULTS || self.0.is_ready.load(Ordering::Relaxed) {
            return true;
        }
        if self.0.is_started.swap(true, Ordering::Relaxed) {
            return false;
        }
        // Ends also if the client does not wait. A failure shows up in the next request.
        let (slot, run) = (self.clone(), run.clone());
        tokio::task::spawn_blocking(move || slot.with(&run, |_| Ok::<_, RecordError>(())));
        false
    }
}
