//! [`RunDocument`]: a run with its manifest, a table of its providers, and its rows.

use std::{cmp::Reverse, collections::BTreeMap};

use runner_model::{Outcome, Text, row::read_line};
use runner_record::{Live, Manifest, ReadLine, RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::results::{Column, Results};
use crate::rows::{RowSelection, Rows, Settled, StoredRow};
use crate::stored_tests::{self, MetaResults, TestMeta};
use crate::{SincePrevious, VERSION, denials::Denials, list::RunSummary};

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
    /// One table per provider, in the scenario's order.
    pub providers: Vec<ProviderTable>,
    /// One table per grader.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<GraderTable>,
    /// Workers on other machines, sorted by errors and then by attempts, highest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerTable>,
    /// Results by the keys of tests' `meta`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<MetaResults>,
    /// Damaged lines of the rows. If the run has ended and its verdict is not `damaged`, no result is lost.
    pub damaged_lines: u64,
    /// Results that the manifest of a run that has ended counts and its rows do not have.
    pub lost_results: u64,
    /// Denied calls, by provider.
    pub denials: Denials,
    /// Changes since the previous run. Absent if all tests are the same and none is bad in either run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_previous: Option<SincePrevious>,
    /// The selected rows.
    #[schemars(with = "Vec<StoredRow>")]
    pub rows: Rows,
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
pub struct WorkerTable {
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
        let has_ended = on_disk.status.is_terminal();
        let mut judged = if has_ended { on_disk.clone() } else { run.truth()? };
        let names: Vec<_> =
            on_disk.providers.iter().map(|provider| provider.name.as_str()).collect();
        let is_planned = stored_tests::is_planned(run, &on_disk);
        let meta = TestMeta::read(run, &on_disk);
        let new = || (Settled::new(&on_disk), 0, Denials::default(), BTreeMap::new());
        let (mut settled, damaged_lines, denials, workers) = run.fold_lines(
            &new,
            worker,
            &mut |(settled, damaged_lines, denials, workers), place, (line, worker)| match line {
                ReadLine::Row(head, bytes) => {
                    // A row of a rescore repeats the worker of the attempt that it judges.
                    if let Some(worker) = worker.flatten().filter(|_| head.judged.is_none()) {
                        let (attempts, errors) = workers.entry(worker).or_insert((0, 0));
                        *attempts += 1;
                        *errors += u64::from(head.outcome == Outcome::Error);
                    }
                    let is_planned = is_planned(&head.trial);
                    let (at, meta) = ((place.at, bytes.len()), meta.of(&head.trial.test));
                    settled.add(&head, at, &names, is_planned, meta);
                    if is_planned
                        && head.denies()
                        && let Ok(row) = read_line(bytes)
                    {
                        denials.add(&row);
                    }
                }
                ReadLine::Damaged(_) => *damaged_lines += 1,
                ReadLine::Torn => {}
            },
        )?;
        if has_ended {
            settled.judge(&mut judged, run.has_same_rows(&on_disk)?);
        }
        let workers = workers.into_iter();
        let mut workers: Vec<_> = workers
            .map(|(worker, (attempts, errors))| WorkerTable { worker, attempts, errors })
            .collect();
        workers.sort_by_key(|one| Reverse((one.errors, one.attempts)));
        let is_over = judged.status.is_terminal();
        let lost_results = on_disk.counts.done().saturating_sub(judged.counts.done());
        let meta = meta.results(settled.finals());
        let rows = Rows::new(run, which.clone(), settled);
        let (providers, graders) = tables(&on_disk, rows.columns(&names)?);
        Ok(Self {
            v: VERSION,
            run: RunSummary::from_run(root, run, &judged),
            live: live.filter(|_| !is_over),
            providers,
            graders,
            workers,
            meta,
            manifest: if has_ended { on_disk } else { judged },
            damaged_lines,
            denials,
            since_previous: None,
            lost_results: if is_over { lost_results } else { 0 },
            rows,
        })
    }

    /// Adds the changes since the previous run, if that can be read.
    pub fn compare(&mut self, root: &ResultsRoot, run: &RunDir) {
        let changes = run.truth().and_then(|manifest| SincePrevious::read(root, run, &manifest));
        self.since_previous = changes.ok().flatten();
    }
}

/// Returns the worker on another machine that ran the attempt of a row. `None` if it ran on the machine of the run.
fn worker(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Worker<'a> {
        #[serde(borrow)]
        worker: Option<Text<'a>>,
    }
    let line = str::from_utf8(line).ok()?;
    // Most rows have no worker, and a search is faster than parsing.
    let line = Some(line).filter(|line| line.contains(r#","worker":""#))?;
    let name = serde_json::from_str::<Worker<'_>>(line).ok()?.worker?;
    Some(name.rsplit_once('/').map_or(&*name, |(name, _)| name).to_owned())
}

/// Returns the tables of a run's providers and graders.
pub(crate) fn tables(
    manifest: &Manifest,
    columns: Vec<Column>,
) -> (Vec<ProviderTable>, Vec<GraderTable>) {
    let (mut providers, mut graders) = (Vec::new(), Vec::new());
    for (of, column) in manifest.providers.iter().zip(columns) {
        let (name, results) = (of.name.clone(), column.into());
        if of.is_grader {
            graders.push(GraderTable { grader: name, plugin: of.plugin.clone(), results });
        } else {
            providers.push(ProviderTable { provider: name, results });
        }
    }
    (providers, graders)
}
