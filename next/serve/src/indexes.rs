//! [`Indexes`]: the rows of runs that were looked at, in memory. The run that was not looked at for longest goes first.

use std::sync::{Arc, Mutex, PoisonError};

use runner_record::{RecordError, RunDir};
use runner_report::RunIndex;

/// Bytes of all indexes.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of an index for each planned trial: its rows, its place in the plan, and kept selections.
const BYTES_PER_TRIAL: u64 = 96;

/// The indexes of runs.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<Vec<Entry>>);

struct Entry {
    run: String,
    bytes: u64,
    slot: Slot,
}

/// The index of a run. `None` until it is read.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<RunIndex>>>);

impl Indexes {
    /// Returns the index of a run with this number of planned trials.
    pub fn of(&self, run: &RunDir, planned: u64) -> Slot {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|entry| entry.run == run.id());
        let slot = found.map_or_else(Slot::default, |found| entries.remove(found).slot);
        let bytes = planned.saturating_mul(BYTES_PER_TRIAL);
        entries.push(Entry { run: run.id().to_owned(), bytes, slot: slot.clone() });
        while entries.len() > 1 && entries.iter().map(|entry| entry.bytes).sum::<u64>() > MAX_BYTES {
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
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that a failure in between leaves no half of an index.
        let index = match slot.take() {
            Some(mut index) => index.follow().map(|_| index),
            None => RunIndex::read(run),
        };
        work(slot.insert(index?))
    }

    /// Returns whether the rows have been read once.
    pub fn is_ready(&self) -> bool {
        self.0.try_lock().is_ok_and(|slot| slot.is_some())
    }
}
