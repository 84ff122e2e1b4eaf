//! [`Tables`]: tables of runs, in memory. The least recently used one is dropped first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_report::{FailuresPage, PageTables, RunTables, SincePrevious};
use runner_results::PlannedTable;

/// Bytes of all tables.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of a table for each planned trial: its row, its id, its places in the plan and in groups of failures, and kept selections.
const BYTES_PER_TRIAL: u64 = 112;

/// Results above which the first answers about a run do not wait for its table.
const MANY_RESULTS: u64 = 50_000;

/// The tables of runs.
#[derive(Default)]
pub(crate) struct Tables(Mutex<Vec<Entry>>);

struct Entry {
    run: String,
    bytes: u64,
    slot: SharedTable,
}

/// The table of a run. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct SharedTable(Arc<TableState>);

#[derive(Default)]
struct TableState {
    /// `None` until it is read.
    table: Mutex<Option<ServedTable>>,
    /// Whether the rows have been read once, or a thread reads them.
    is_started: AtomicBool,
    is_ready: AtomicBool,
}

impl Tables {
    /// Returns the table of a run with this number of planned trials.
    pub fn of(&self, run: &RunDir, planned: u64) -> SharedTable {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|entry| entry.run == run.id());
        let slot = found.map_or_else(SharedTable::default, |found| entries.remove(found).slot);
        let bytes = planned.saturating_mul(BYTES_PER_TRIAL);
        entries.push(Entry { run: run.id().to_owned(), bytes, slot: slot.clone() });
        while entries.len() > 1 && entries.iter().map(|entry| entry.bytes).sum::<u64>() > MAX_BYTES
        {
            entries.remove(0);
        }
        slot
    }
}

impl SharedTable {
    /// Brings the table up to date, and calls `work` with it. Other callers wait.
    pub fn with<T, E: From<RecordError>>(
        &self,
        run: &RunDir,
        work: impl FnOnce(&mut ServedTable) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that a failure leaves no incomplete table.
        let table = match slot.take() {
            Some(mut table) => table.planned.follow(run).map(|is_replaced| {
                if is_replaced { ServedTable::new(table.planned) } else { table }
            }),
            None => PlannedTable::read(run).map(ServedTable::new),
        };
        self.0.is_ready.store(true, Ordering::Relaxed);
        work(slot.insert(table?))
    }

    /// Returns whether an answer can wait for the table of a run with this number of results. Otherwise starts to read it.
    pub fn is_ready_soon(&self, run: &RunDir, results: u64) -> bool {
        if results <= MANY_RESULTS || self.0.is_ready.load(Ordering::Relaxed) {
            return true;
        }
        if self.0.is_started.swap(true, Ordering::Relaxed) {
            return false;
        }
        // Continues without the client. The next request reports a failure.
        let slot = self.clone();
        let run = run.clone();
        tokio::task::spawn_blocking(move || slot.with(&run, |_| Ok::<_, RecordError>(())));
        false
    }
}

/// A table, with the documents that were computed from it last.
pub(crate) struct ServedTable {
    pub(crate) planned: PlannedTable,
    since: Recent<Option<SincePrevious>>,
    tables: Recent<RunTables>,
    failures: Recent<FailuresPage>,
}

impl ServedTable {
    fn new(planned: PlannedTable) -> Self {
        let since = Recent::default();
        let tables = Recent::default();
        let failures = Recent::default();
        Self { planned, since, tables, failures }
    }

    /// Returns the number of rows: the newest snapshot.
    pub(crate) fn rev(&self) -> u64 {
        self.planned.table.rows().into()
    }

    /// Returns the sums of the rows, and the changes since the previous run. Those of a run that is running may be some seconds
    /// old if they take long.
    pub(crate) fn tables(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<PageTables, RecordError> {
        let rev = self.rev();
        let is_running = !manifest.status.is_terminal();
        let table = &self.planned.table;
        let tables = self.tables.get(rev, is_running, || RunTables::new(table, manifest))?;
        Ok((rev, tables, self.since_previous(root, manifest)?))
    }

    /// Returns the failures. Those of a run that is running may be some seconds old if they take long.
    pub(crate) fn failures(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<Arc<FailuresPage>, RecordError> {
        let rev = self.rev();
        let is_running = !manifest.status.is_terminal();
        let since = self.since_previous(root, manifest)?;
        let table = &self.planned.table;
        self.failures.get(rev, is_running, || FailuresPage::new(table, Option::as_ref(&since)))
    }

    /// Returns the changes of a run that has ended since the previous one. `None` without any, and while it runs.
    pub(crate) fn since_previous(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<Arc<Option<SincePrevious>>, RecordError> {
        if !manifest.status.is_terminal() {
            return Ok(Arc::default());
        }
        let rev = self.rev();
        let run = self.planned.table.run();
        // The previous run may be damaged. This one is shown anyway.
        self.since.get(rev, false, || Ok(SincePrevious::read(root, run, manifest).ok().flatten()))
    }
}

/// A result of a run that is running is kept for this many times the time that it took.
const TIMES: u32 = 10;

/// The last result of a computation, with its snapshot. It is computed again once its inputs have changed, but not all the time.
struct Recent<T>(Option<Kept<T>>);

struct Kept<T> {
    rev: u64,
    /// Whether the run was running: then there were no changes since the previous run.
    is_running: bool,
    until: Instant,
    value: Arc<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Recent<T> {
    /// Returns the kept result if it is of this snapshot and state, or of an earlier snapshot of a run that is running, and
    /// recent. Otherwise computes it and keeps it.
    fn get(
        &mut self,
        rev: u64,
        is_running: bool,
        compute: impl FnOnce() -> Result<T, RecordError>,
    ) -> Result<Arc<T>, RecordError> {
        let is_valid = |kept: &&Kept<T>| {
            (kept.rev, kept.is_running) == (rev, is_running)
                || is_running && Instant::now() < kept.until
        };
        if let Some(kept) = self.0.as_ref().filter(is_valid) {
            return Ok(kept.value.clone());
        }
        let started = Instant::now();
        let value = Arc::new(compute()?);
        let until = Instant::now() + started.elapsed() * TIMES;
        self.0 = Some(Kept { rev, is_running, until, value: value.clone() });
        Ok(value)
    }
}
