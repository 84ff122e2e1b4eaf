//! [`MatrixDocument`]: the results of each test on each provider.

use std::collections::HashSet;

use runner_model::{Counts, Outcome};
use runner_record::{RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{Rows, RunDocument, RunSummary, VERSION, json::Items, rows::RowSelection};

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

/// The tests of a matrix, read from disk at each use.
#[derive(Debug)]
pub struct MatrixTests {
    rows: Rows,
    providers: Vec<String>,
    /// `None` for all tests.
    selected: Option<HashSet<String>>,
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
        let selected = if matches!(which, RowSelection::All) {
            None
        } else {
            let mut selected = HashSet::new();
            RunDocument::read(root, run, which)?.rows.each(|row, _| {
                selected.insert(row.test.to_string());
            })?;
            Some(selected)
        };
        let RunDocument { run, providers, rows, .. } =
            RunDocument::read(root, run, &RowSelection::Settling)?;
        let providers: Vec<_> = providers.into_iter().map(|table| table.provider).collect();
        let tests = MatrixTests { rows, providers: providers.clone(), selected };
        Ok(Self { v: VERSION, run, providers, tests })
    }
}

impl MatrixTests {
    /// Calls `each` for every test.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn each(&self, mut each: impl FnMut(&MatrixTest)) -> Result<(), RecordError> {
        let mut test: Option<MatrixTest> = None;
        self.rows.each_in_plan_order(|row, _| {
            let place = self.providers.iter().position(|name| **name == *row.provider);
            let is_selected = self.selected.as_ref().is_none_or(|all| all.contains(&*row.test));
            let Some(place) = place.filter(|_| is_selected) else { return };
            if let Some(done) = test.take_if(|test| test.test != *row.test) {
                each(&done);
            }
            let test = test.get_or_insert_with(|| MatrixTest {
                test: row.test.to_string(),
                cells: vec![None; self.providers.len()],
            });
            let cell = test.cells[place].get_or_insert_default();
            cell.add(row.outcome, row.flaky, row.trial_score());
        })?;
        test.iter().for_each(each);
        Ok(())
    }
}

impl Serialize for MatrixTests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tests = Items::new(serializer)?;
        let read = self.each(|test| tests.add(test));
        tests.end(read)
    }
}
