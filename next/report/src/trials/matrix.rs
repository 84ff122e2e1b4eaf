//! [`MatrixDocument`]: the results of each test on each provider.

use std::collections::HashSet;

use runner_model::{Counts, RowRef};
use runner_record::{RecordError, ResultsRoot, RunDir};
use schemars::JsonSchema;
use serde::Serialize;

use super::history::Mark;
use crate::{RunDocument, RunSummary, VERSION, rows::Which};

/// `runner show --matrix`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixDocument {
    /// Always [`VERSION`].
    pub v: u8,
    pub run: RunSummary,
    /// The names of the providers, in the scenario's order.
    pub providers: Vec<Box<str>>,
    /// Tests with a result, in the order of the plan.
    pub tests: Vec<MatrixTest>,
}

/// A test on all providers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixTest {
    pub test: Box<str>,
    /// One for each of `providers`. `null` without a result.
    pub cells: Box<[Option<MatrixCell>]>,
}

/// The repeats of a test on a provider. There may be millions of cells.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct MatrixCell {
    pub passed: u32,
    pub failed: u32,
    pub error: u32,
    pub timeout: u32,
    pub skipped: u32,
    /// Trials in `passed` that needed more than one attempt.
    pub flaky: u32,
    /// Mean score of the repeats that have one.
    pub score: Option<f32>,
}

impl MatrixCell {
    fn new(counts: &Counts, scores: &[f64]) -> Self {
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            passed: count(counts.passed),
            failed: count(counts.failed),
            error: count(counts.error),
            timeout: count(counts.timeout),
            skipped: count(counts.skipped),
            flaky: count(counts.flaky),
            score: (!scores.is_empty()).then_some(mean as f32),
        }
    }

    /// Returns the counts of the cell.
    pub fn counts(&self) -> Counts {
        Counts {
            passed: self.passed.into(),
            failed: self.failed.into(),
            error: self.error.into(),
            timeout: self.timeout.into(),
            skipped: self.skipped.into(),
            flaky: self.flaky.into(),
            ungraded: 0,
        }
    }

    /// Returns the result of the repeats together.
    pub fn mark(&self) -> Option<Mark> {
        Mark::of(&self.counts())
    }
}

impl MatrixDocument {
    /// Reads the tests with a trial that `which` selects.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(root: &ResultsRoot, run: &RunDir, which: &Which) -> Result<Self, RecordError> {
        let mut selected = HashSet::new();
        if !matches!(which, Which::All) {
            RunDocument::read(root, run, which)?.rows.each(|row, _| {
                selected.insert(row.test.to_string());
            })?;
        }
        let is_selected =
            |row: &RowRef<'_>| matches!(which, Which::All) || selected.contains(&*row.test);
        let RunDocument { run, providers, rows, .. } =
            RunDocument::read(root, run, &Which::Settling)?;
        let providers: Vec<Box<str>> =
            providers.into_iter().map(|table| table.provider.into()).collect();
        let (mut tests, mut cell) = (Vec::<MatrixTest>::new(), (Counts::default(), Vec::new()));
        rows.each_in_plan_order(|row, _| {
            let place = providers.iter().position(|name| **name == *row.provider);
            let Some(place) = place.filter(|_| is_selected(row)) else { return };
            if tests.last().is_none_or(|last| *last.test != *row.test) {
                let cells = vec![None; providers.len()].into();
                tests.push(MatrixTest { test: (*row.test).into(), cells });
            }
            let Some(last) = tests.last_mut() else { return };
            if last.cells[place].is_none() {
                cell = (Counts::default(), Vec::new());
            }
            cell.0.add(row.outcome, row.flaky);
            cell.1.extend(row.trial_score());
            last.cells[place] = Some(MatrixCell::new(&cell.0, &cell.1));
        })?;
        Ok(Self { v: VERSION, run, providers, tests })
    }
}
