//! [`MatrixMaker`]: what tests came to on each provider, made of the trials of a plan one by one.

use crate::{
    model::{Outcome, TrialId},
    view::{DocumentVersion, MatrixTest, ProviderCell, TrialMatrix},
};

/// Makes a [`TrialMatrix`].
pub(super) struct MatrixMaker {
    providers: Vec<String>,
    offset: usize,
    limit: usize,
    /// How many tests have come, those included that are passed over.
    count: usize,
    /// The test whose trials come.
    test: Option<String>,
    tests: Vec<MatrixTest>,
}

impl MatrixMaker {
    pub(super) fn new(providers: Vec<String>, offset: usize, limit: usize) -> Self {
        Self {
            providers,
            offset,
            limit,
            count: 0,
            test: None,
            tests: Vec::new(),
        }
    }

    /// Takes the next trial of the plan; the trials of a test come together.
    pub(super) fn add(&mut self, id: &TrialId, outcome: Option<Outcome>) {
        if self.test.as_deref() != Some(id.test.as_str()) {
            self.test = Some(id.test.to_string());
            self.count += 1;
            if self.is_shown() {
                self.tests.push(MatrixTest {
                    test: id.test.to_string(),
                    cells: vec![None; self.providers.len()],
                });
            }
        }
        if !self.is_shown() {
            return;
        }
        let mut providers = self.providers.iter();
        let column = providers.position(|provider| provider == id.provider.as_str());
        let (Some(test), Some(column)) = (self.tests.last_mut(), column) else {
            return;
        };
        let cell = test.cells[column].get_or_insert_with(|| ProviderCell {
            trial: id.to_string(),
            ..ProviderCell::default()
        });
        let word = outcome.map_or("pending", Outcome::as_str);
        *cell.counts.entry(word).or_default() += 1;
    }

    fn is_shown(&self) -> bool {
        self.count > self.offset && self.count <= self.offset.saturating_add(self.limit)
    }

    pub(super) fn finish(self, rev: u64) -> TrialMatrix {
        TrialMatrix {
            v: DocumentVersion,
            rev,
            more: self.count.saturating_sub(self.offset + self.tests.len()),
            providers: self.providers,
            tests: self.tests,
        }
    }
}
