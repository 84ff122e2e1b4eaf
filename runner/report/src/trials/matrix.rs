//! [`MatrixDocument`]: the results of each test on each provider. [`MatrixPage`]: a part of them.

use std::{collections::HashSet, ops::Range};

use runner_model::{Counts, Outcome};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_results::{PlanOrder, PlannedTable, RowSelection, RunTable};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{RunDocument, RunSummary, VERSION, json::Items};

/// `runner show --matrix`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run as in a list.
    pub run: RunSummary,
    /// The names of the providers, in the order of the plan.
    pub providers: Vec<String>,
    /// Tests with a result, in the order of the plan.
    #[schemars(with = "Vec<MatrixTest>")]
    pub tests: MatrixTests,
}

/// The tests of a matrix, each made when it is used.
#[derive(Debug)]
pub struct MatrixTests {
    table: RunTable,
    order: PlanOrder,
    /// Number of providers.
    providers: usize,
    /// Trials of which a test has to have one. `None` for all tests with a result.
    selected: Option<HashSet<u32>>,
}

/// A test on all providers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixTest {
    /// The test's id.
    pub test: String,
    /// One for each of `providers`. `null` without a result.
    pub cells: Vec<Option<MatrixCell>>,
}

/// The repeats of a test on a provider.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct MatrixCell {
    #[serde(flatten)]
    pub counts: Counts,
    /// Mean score of the repeats that have one.
    pub score: Option<f64>,
    /// Sum and number of the scores.
    #[serde(skip)]
    scores: (f64, u64),
}

impl MatrixCell {
    /// Creates a cell without repeats.
    pub fn new(counts: Counts, score: Option<f64>) -> Self {
        Self { counts, score, scores: (0.0, 0) }
    }

    /// Adds a repeat.
    pub(crate) fn add(&mut self, outcome: Outcome, flaky: bool, score: Option<f64>) {
        self.counts.add(outcome, flaky);
        if let Some(score) = score {
            let (sum, scores) = &mut self.scores;
            (*sum, *scores) = (*sum + score, *scores + 1);
            self.score = Some(*sum / *scores as f64);
        }
    }
}

impl MatrixDocument {
    /// Reads the tests with a trial that `which` selects.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(
        root: &ResultsRoot,
        run: &RunDir,
        which: &RowSelection,
    ) -> Result<Self, RecordError> {
        let RunDocument { run, tables, rows, .. } = RunDocument::read(root, run, which)?;
        let selected = rows.trials()?;
        let providers: Vec<_> = tables.providers.into_iter().map(|of| of.provider).collect();
        let order = PlanOrder::read(&rows.table);
        let tests = MatrixTests { table: rows.table, order, providers: providers.len(), selected };
        Ok(Self { v: VERSION, run, providers, tests })
    }
}

impl MatrixTests {
    /// Calls `each` for every test.
    pub fn each(&self, mut each: impl FnMut(&MatrixTest)) {
        let is_selected =
            |trial: u32| self.selected.as_ref().is_none_or(|all| all.contains(&trial));
        each_test(&self.table, &self.order, self.providers, &mut |test, trials| {
            let has_result = test.cells.iter().any(Option::is_some);
            if has_result && trials.iter().any(|trial| is_selected(*trial)) {
                each(test);
            }
        });
    }
}

/// Tests of a run in the order of the plan, with their results on each provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Number of selected tests.
    pub total: u64,
    /// Number of tests before the page.
    pub offset: u64,
    /// The names of the providers, in the order of the plan.
    pub providers: Vec<String>,
    pub tests: Vec<MatrixTest>,
}

impl MatrixPage {
    /// Selects a page of the tests; if `differs`, of those whose providers have different outcomes or scores. In the order of the
    /// worst, tests with the most trials that did not pass come first, and then those with the lowest score. There are none if the
    /// stored tests cannot be read.
    #[must_use]
    pub fn new(
        planned: &PlannedTable,
        manifest: &Manifest,
        differs: bool,
        is_worst_first: bool,
        page: Range<usize>,
    ) -> Self {
        let PlannedTable { table, order, .. } = planned;
        let providers = manifest.planned().filter(|of| !of.is_grader);
        let providers = providers.map(|of| of.name.clone()).collect::<Vec<_>>();
        let places: Vec<_> = (0..order.len()).collect();
        let is_same =
            |left: &u32, right: &u32| test_of(table, order, *left) == test_of(table, order, *right);
        let mut tests: Vec<&[u32]> = match order.suite {
            Some(_) => places.chunk_by(is_same).collect(),
            None => Vec::new(),
        };
        let cells = |places: &[u32]| cells(table, order, providers.len(), places).0;
        if differs {
            tests.retain(|places| has_differences(&cells(places)));
        }
        if is_worst_first {
            let keys = tests.iter().map(|places| badness(&cells(places)));
            let mut sorted: Vec<_> = keys.zip(&tests).map(|(key, places)| (key, *places)).collect();
            sorted.sort_by(|((bad, score), _), ((other_bad, other_score), _)| {
                other_bad.cmp(bad).then(score.total_cmp(other_score))
            });
            tests = sorted.into_iter().map(|(_, places)| places).collect();
        }
        let shown = tests.iter().skip(page.start).take(page.len());
        let shown = shown.filter_map(|places| {
            let test = order.trial_id(table, places[0])?.test.to_string();
            Some(MatrixTest { test, cells: cells(places) })
        });
        let tests_of_page = shown.collect();
        let (total, offset) = (tests.len() as u64, page.start as u64);
        Self { v: VERSION, total, offset, providers, tests: tests_of_page }
    }
}

/// Returns whether providers have different shares of passes, or different scores.
fn has_differences(cells: &[Option<MatrixCell>]) -> bool {
    let mut results = cells.iter().flatten().map(|cell| {
        let Counts { passed, .. } = cell.counts;
        (passed as f64 / cell.counts.done().max(1) as f64, cell.score)
    });
    let first = results.next();
    results.any(|result| Some(result) != first)
}

/// Returns the number of trials that did not pass, and the mean score.
fn badness(cells: &[Option<MatrixCell>]) -> (u64, f64) {
    let bad = cells.iter().flatten().map(|cell| cell.counts.bad()).sum();
    let scores: Vec<_> = cells.iter().flatten().filter_map(|cell| cell.score).collect();
    (bad, scores.iter().sum::<f64>() / scores.len().max(1) as f64)
}

/// Calls `each` with the tests in the order of the plan, and the numbers of their trials that have rows.
fn each_test(
    table: &RunTable,
    order: &PlanOrder,
    providers: usize,
    each: &mut dyn FnMut(&MatrixTest, &[u32]),
) {
    // Trials of a test follow one another in a plan. Without it, they are in the order of their first rows.
    let mut places: Vec<_> = (0..order.len()).collect();
    if order.suite.is_none() {
        places.sort_by_key(|place| table.test(*place));
    }
    for places in
        places.chunk_by(|left, right| test_of(table, order, *left) == test_of(table, order, *right))
    {
        let Some(trial) = order.trial_id(table, places[0]) else { continue };
        let (cells, trials) = cells(table, order, providers, places);
        each(&MatrixTest { test: trial.test.to_string(), cells }, &trials);
    }
}

/// Returns the results of a test on each provider, and the numbers of its trials that have rows.
fn cells(
    table: &RunTable,
    order: &PlanOrder,
    providers: usize,
    places: &[u32],
) -> (Vec<Option<MatrixCell>>, Vec<u32>) {
    let mut cells = vec![None; providers];
    let trials: Vec<_> = places.iter().filter_map(|place| order.number(*place)).collect();
    for trial in &trials {
        let cell = cells.get_mut(table.provider(*trial));
        if let (Some(row), Some(cell)) = (table.result(*trial), cell) {
            let cell: &mut MatrixCell = cell.get_or_insert_default();
            cell.add(row.outcome, row.is_flaky(), row.score);
        }
    }
    (cells, trials)
}

fn test_of(table: &RunTable, order: &PlanOrder, place: u32) -> u64 {
    match &order.suite {
        Some(suite) => suite.trial(place.into()).test,
        None => table.test(place).into(),
    }
}

impl Serialize for MatrixTests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tests = Items::new(serializer)?;
        self.each(|test| tests.add(test));
        tests.end(Ok(()))
    }
}
