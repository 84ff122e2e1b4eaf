//! [`RunDocument`]: a run with its manifest, a table of its providers, and its rows.

use std::{cmp::Reverse, collections::BTreeMap};

use runner_model::ErrorClass;
use runner_record::{Live, Manifest, RecordError, ResultsRoot, RunDir};
use runner_results::{
    MetaResults, Paid, Results, RowSelection, RunTable, TableRow, TestMeta, columns,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::rows::{Rows, StoredRow};
use crate::{
    KnownTrial, SincePrevious, VERSION, compare::unexpected, denials::Denials, list::RunSummary,
};

/// `runner show RUN`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run as in a list.
    pub run: RunSummary,
    /// `benchmark.json`, with the true status.
    pub manifest: Manifest,
    /// Present while a process works on the run.
    pub live: Option<Live>,
    /// Results that the manifest of a run that has ended counts and its rows do not have.
    pub lost_results: u64,
    #[serde(flatten)]
    pub tables: RunTables,
    /// Changes since the previous run. Absent if all tests are the same and none is bad in either run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_previous: Option<SincePrevious>,
    /// Trials among the selected rows that are known failures or unexpected passes. Absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<KnownTrial>,
    /// The selected rows.
    #[schemars(with = "Vec<StoredRow>")]
    pub rows: Rows,
}

/// The parts of a run's document that are computed from its rows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunTables {
    /// One table per provider, in the scenario's order.
    pub providers: Vec<ProviderTable>,
    /// One table per grader.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<GraderTable>,
    /// Workers on other machines, sorted by errors and then by attempts, highest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workers: Vec<WorkerTable>,
    /// Numbers of attempts that were retried, by the class of their error, or else by outcome.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub retries: BTreeMap<&'static str, u64>,
    /// Tokens and cost of all attempts, also of those that decided nothing.
    #[serde(skip_serializing_if = "Paid::is_empty")]
    pub paid: Paid,
    /// Results by the keys of tests' `meta`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<MetaResults>,
    /// Damaged lines of the rows. If the run has ended and its verdict is not `damaged`, no result is lost.
    pub damaged_lines: u64,
    /// Denied calls, by provider.
    pub denials: Denials,
}

impl RunTables {
    /// Returns the providers that have results, or all of a run without any.
    pub fn with_results(&self) -> impl Iterator<Item = &ProviderTable> {
        let has_results = |table: &&ProviderTable| table.results.counts.done() > 0;
        let is_empty = !self.providers.iter().any(|table| has_results(&table));
        self.providers.iter().filter(move |table| is_empty || has_results(table))
    }
}

/// Results of a provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderTable {
    /// The provider's name.
    pub provider: String,
    #[serde(flatten)]
    pub results: Results,
}

/// Answers of a grader in the rows that settle trials.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GraderTable {
    /// The grader's name.
    pub grader: String,
    /// The plugin as the scenario names it.
    pub plugin: String,
    #[serde(flatten)]
    pub results: Results,
}

/// Number of attempts and errors of a worker on another machine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct WorkerTable {
    /// The worker's name: `worker` of the rows, without the number of the process.
    pub worker: String,
    /// Attempts with a row, including lost and retried attempts.
    pub attempts: u64,
    /// Attempts that ended in an error, including retried attempts.
    pub errors: u64,
}

impl RunDocument {
    /// Reads a run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        which: &RowSelection,
    ) -> Result<Self, RecordError> {
        run.snapshot(|| Self::read_once(root, run, which))
    }

    fn read_once(
        root: &ResultsRoot,
        run: &RunDir,
        which: &RowSelection,
    ) -> Result<Self, RecordError> {
        // Read before the manifest: if the run ends in between, the manifest shows it.
        let live = run.live();
        let on_disk = run.manifest()?;
        let has_ended = on_disk.has_ended();
        let mut judged = if has_ended { on_disk.clone() } else { run.truth()? };
        let table = RunTable::open(run)?;
        if has_ended {
            table.judge(&mut judged, run.has_same_rows(&on_disk)?);
        }
        let is_over = judged.status.is_terminal();
        let lost_results = on_disk.counts.done().saturating_sub(judged.counts.done());
        let mut summary = RunSummary::from_run(root, run, &judged);
        summary.unexpected = unexpected(&table, None);
        Ok(Self {
            v: VERSION,
            run: summary,
            live: live.filter(|_| !is_over),
            tables: RunTables::new(&table, &on_disk)?,
            manifest: if has_ended { on_disk } else { judged },
            since_previous: None,
            known: Vec::new(),
            lost_results: if is_over { lost_results } else { 0 },
            rows: Rows { table, which: which.clone() },
        })
    }

    /// Adds the changes since the previous run, if that can be read.
    pub fn compare(&mut self, root: &ResultsRoot, run: &RunDir) {
        let changes = run.truth().and_then(|manifest| SincePrevious::read(root, run, &manifest));
        self.since_previous = changes.ok().flatten();
        self.run.unexpected = unexpected(&self.rows.table, self.since_previous.as_ref());
    }

    /// Adds the known failures and unexpected passes among the selected rows.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn list_known(&mut self) -> Result<(), RecordError> {
        self.known = self.rows.known()?;
        Ok(())
    }
}

impl RunTables {
    /// Sums up a table. Reads the rows that have metrics, grades or denials, and those of retried attempts.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn new(table: &RunTable, manifest: &Manifest) -> Result<Self, RecordError> {
        let read = (0..table.rows()).filter(|row| {
            let row = table.row(*row);
            table.is_planned(row.trial) && (row.denies() || is_retried(row))
        });
        let mut denials = Denials::default();
        let mut retries = BTreeMap::new();
        table.each_row(read, |indexed, row, _| {
            denials.add(row);
            if is_retried(indexed) {
                let class = row.error.as_ref().and_then(|error| error.class);
                let reason = class.map_or(row.outcome.as_str(), ErrorClass::as_str);
                *retries.entry(reason).or_insert(0) += 1;
            }
        })?;
        let totals = table.totals();
        let workers = totals.workers.iter().map(|(worker, (attempts, errors))| WorkerTable {
            worker: worker.clone(),
            attempts: *attempts,
            errors: *errors,
        });
        let mut workers: Vec<_> = workers.collect();
        workers.sort_by_key(|worker| Reverse((worker.errors, worker.attempts)));
        let mut providers = Vec::new();
        let mut graders = Vec::new();
        for (of, column) in manifest.providers.iter().zip(columns(table)?) {
            let name = of.name.clone();
            let results = column.into();
            if of.is_grader {
                graders.push(GraderTable { grader: name, plugin: of.plugin.clone(), results });
            } else if of.is_tested() {
                providers.push(ProviderTable { provider: name, results });
            }
        }
        let names: Vec<_> = providers.iter().map(|of: &ProviderTable| &*of.provider).collect();
        let meta = TestMeta::read(table.run(), manifest).results(table, &names);
        let damaged_lines = totals.damaged_lines;
        let paid = totals.paid;
        Ok(Self { providers, graders, workers, retries, paid, meta, damaged_lines, denials })
    }
}

fn is_retried(row: TableRow) -> bool {
    row.is_unsettling() && row.outcome.is_bad()
}
