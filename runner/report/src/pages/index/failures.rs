//! Computes [`FailuresPage`].

use std::{sync::Arc, time::Instant};

use runner_model::Outcome;
use runner_record::{Manifest, RecordError, ResultsRoot};

use super::rows::{IndexedRow, RunIndex};
use crate::failures::Failures;
use crate::pages::tables::{FailedTrials, FailuresPage};
use crate::{SincePrevious, VERSION};

impl RunIndex {
    /// Returns the failures. Those of a run that is running may be some seconds old if they take long.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn failures(
        &mut self,
        root: &ResultsRoot,
        manifest: &Manifest,
    ) -> Result<Arc<FailuresPage>, RecordError> {
        let (rev, is_running) = (self.rev(), !manifest.status.is_terminal());
        if let Some(kept) = self.failures.get(rev, is_running) {
            return Ok(kept);
        }
        let started = Instant::now();
        let since = self.since_previous(root, manifest)?;
        let computed = self.compute_failures(Option::as_ref(&since));
        self.failures.keep(rev, started.elapsed(), computed)
    }

    fn compute_failures(
        &mut self,
        since: Option<&SincePrevious>,
    ) -> Result<FailuresPage, RecordError> {
        self.newest(self.rows.len());
        let is_listed = |number: &u32| {
            let row = self.rows[*number as usize];
            row.is_flaky() || row.outcome != Outcome::Passed
        };
        let mut failures = Failures::default();
        self.each_row(self.numbers().filter(is_listed), |indexed: IndexedRow, row| {
            let place = indexed.place.into();
            if indexed.settles() {
                failures.add(row, place);
            } else if row.outcome.is_bad() {
                failures.add_retried(row, place);
            }
        })?;
        let (retried, retries) = failures.retried();
        let groups = failures.listed().into_iter().map(|group| FailedTrials::new(group, since));
        Ok(FailuresPage {
            v: VERSION,
            trials: failures.trials,
            groups: groups.collect(),
            left_out: failures.left_out(),
            flaky: failures.flaky(),
            retried: retried.into_iter().map(str::to_owned).collect(),
            retries,
        })
    }
}
