//! [`MatrixDocument`]: the results of each test on each provider. [`MatrixPage`]: a part of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use runner_model::{Counts, RowRef, visible::cut};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir};
use runner_results::{PlanOrder, PlannedTable, RowSelection, RunTable, TableRow};
use runner_scenario::Suite;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{document::suite_line, output};
use crate::{RunDocument, RunSummary, VERSION, failure, json::Items};

/// Characters of an answer or an input.
const ANSWER: usize = 300;
/// Bytes that are read of an output in a file. A character that is escaped as two surrogates has 12 of them.
const ANSWER_BYTES: u64 = 13 * ANSWER as u64;

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
    pub(crate) fn add(&mut self, row: &TableRow) {
        let score = row.score;
        row.count(&mut self.counts);
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
    tests: Vec<MatrixRow>,
}

/// The tests of a [`MatrixPage`].
#[derive(Clone, Debug)]
pub struct MatrixQuery {
    /// Only tests whose providers have different outcomes or scores.
    pub differs: bool,
    /// Tests with the most trials that did not pass come first, and then those with the lowest score.
    pub is_worst_first: bool,
    /// Whether the page has inputs and answers, which are read from disk.
    pub has_answers: bool,
    pub page: Range<usize>,
}

/// A test of a page.
#[derive(Debug, Serialize, JsonSchema)]
struct MatrixRow {
    #[serde(flatten)]
    test: MatrixTest,
    /// Start of the planned input: a text, or any other value as JSON. Only with answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    /// One for each of `providers`, `null` without a result. Only with answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Option<MatrixAnswer>>,
}

/// The answer of a provider: of its first repeat that did not pass, or else of its first one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct MatrixAnswer {
    /// Start of the output: a text, or any other value as JSON. `null` without an output.
    output: Option<String>,
    /// Start of the reason why the trial did not pass.
    reason: Option<String>,
}

impl MatrixPage {
    /// Selects a page of the tests. There are none if the stored tests cannot be read.
    ///
    /// # Errors
    ///
    /// The rows of answers cannot be read.
    pub fn read(
        planned: &PlannedTable,
        manifest: &Manifest,
        query: &MatrixQuery,
    ) -> Result<Self, RecordError> {
        let MatrixQuery { differs, is_worst_first, has_answers, page } = query.clone();
        let PlannedTable { table, order, .. } = planned;
        let providers = manifest.planned().filter(|of| of.is_tested());
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
        let shown: Vec<_> = tests.iter().skip(page.start).take(page.len()).copied().collect();
        let answers = if has_answers {
            read_answers(table, order, providers.len(), &shown)?
        } else {
            vec![Vec::new(); shown.len()]
        };
        let rows = shown.iter().zip(answers).filter_map(|(places, answers)| {
            let test = order.trial_id(table, places[0])?.test.to_string();
            let suite = order.suite.as_ref().filter(|_| has_answers);
            let input = suite.and_then(|suite| input(suite, &test));
            Some(MatrixRow { test: MatrixTest { test, cells: cells(places) }, input, answers })
        });
        let rows = rows.collect();
        let (total, offset) = (tests.len() as u64, page.start as u64);
        Ok(Self { v: VERSION, total, offset, providers, tests: rows })
    }
}

/// Reads the answers of tests, whose places in the plan these are.
fn read_answers(
    table: &RunTable,
    order: &PlanOrder,
    providers: usize,
    tests: &[&[u32]],
) -> Result<Vec<Vec<Option<MatrixAnswer>>>, RecordError> {
    // Test and provider, by the row of the answer.
    let mut places = HashMap::new();
    for (test, of_test) in tests.iter().enumerate() {
        let mut rows = vec![None; providers];
        for row in of_test.iter().filter_map(|place| table.result(order.number(*place)?)) {
            match rows.get_mut(table.provider(row.trial)) {
                Some(Some((_, is_bad))) if *is_bad || !row.outcome.is_bad() => {}
                Some(chosen) => *chosen = Some((row.number, row.outcome.is_bad())),
                None => {}
            }
        }
        let rows = rows.iter().enumerate();
        places.extend(rows.filter_map(|(provider, row)| Some((row.as_ref()?.0, (test, provider)))));
    }
    let mut answers = vec![vec![None; providers]; tests.len()];
    table.each_row(places.keys().copied(), |indexed, row, _| {
        let (test, provider) = places[&indexed.number];
        answers[test][provider] = Some(MatrixAnswer::read(table.run(), row));
    })?;
    Ok(answers)
}

impl MatrixAnswer {
    fn read(run: &RunDir, row: &RowRef<'_>) -> Self {
        let output = output::start(run, row, ANSWER_BYTES);
        let reason = row.outcome.is_bad().then(|| failure::headline(row));
        let [output, reason] = [output, reason].map(|text| text.map(|text| cut(&text, ANSWER)));
        Self { output, reason }
    }
}

/// Returns the start of a test's input.
fn input(suite: &Suite, test: &str) -> Option<String> {
    let line = suite_line(suite, test)?;
    let keys: BTreeMap<&str, &RawValue> = serde_json::from_str(line.get()).ok()?;
    Some(cut(&output::text(keys.get("input")?.get()), ANSWER))
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
    let bad = cells.iter().flatten().map(|cell| cell.counts.unexpected()).sum();
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
            cell.add(&row);
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
