//! [`MatrixPage`]: a page of the results of each test on each provider.

use runner_model::Places as _;
use runner_record::{Manifest, RecordError};
use schemars::JsonSchema;
use serde::Serialize;

use super::rows::RunIndex;
use crate::{MatrixCell, MatrixTest, VERSION};

/// Tests of a run in the order of the plan, with their results on each provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatrixPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Number of tests.
    pub total: u64,
    /// Number of tests before the page.
    pub offset: u64,
    /// The names of the providers, in the order of the plan.
    pub providers: Vec<String>,
    pub tests: Vec<MatrixTest>,
}

impl RunIndex {
    /// Returns `limit` tests from `offset` on. There are none if the stored tests cannot be read.
    ///
    /// # Errors
    ///
    /// The stored tests cannot be read any more.
    pub fn matrix(
        &mut self,
        manifest: &Manifest,
        (offset, limit): (u64, u64),
    ) -> Result<MatrixPage, RecordError> {
        self.newest(self.rows.len());
        let providers: Vec<_> = manifest.providers.iter().filter(|one| !one.is_grader).collect();
        let providers: Vec<_> = providers.into_iter().map(|one| one.name.clone()).collect();
        let mut page = MatrixPage { v: VERSION, total: 0, offset, providers, tests: Vec::new() };
        let Some(suite) = &self.plan.suite else { return Ok(page) };
        page.total = suite.tests();
        let test_of = |place: &u64| suite.trial(*place).test;
        let first = partition(suite.trials(), |place| test_of(&place) < offset);
        let places = (first..suite.trials()).take_while(|place| test_of(place) < offset + limit);
        let mut last = None;
        for place in places {
            let Some(trial) = suite.trial_id(place) else { continue };
            if last.replace(test_of(&place)) != Some(test_of(&place)) {
                let cells = vec![None; page.providers.len()];
                page.tests.push(MatrixTest { test: trial.test.to_string(), cells });
            }
            let provider = page.providers.iter().position(|name| **name == *trial.provider);
            let row = self.row_of(place as u32).filter(|row| row.settles());
            if let (Some(row), Some(provider), Some(test)) = (row, provider, page.tests.last_mut())
            {
                let cell: &mut MatrixCell = test.cells[provider].get_or_insert_default();
                cell.add(row.outcome, row.is_flaky(), row.score().map(f64::from));
            }
        }
        Ok(page)
    }
}

/// Returns the first of `count` numbers that is not before the others.
fn partition(count: u64, is_before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
