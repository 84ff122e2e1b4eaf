//! [`FailuresPage`]: the trials of a run that did not pass, by their reasons.

use std::{sync::Arc, time::Instant};

use runner_model::Outcome;
use runner_record::{Manifest, RecordError, ResultsRoot};
use schemars::JsonSchema;
use serde::Serialize;

use super::rows::{IndexedRow, RunIndex};
use crate::failures::{FailureGroup, Failures};
use crate::{SincePrevious, VERSION};

/// The trials of a run that did not pass, or were skipped with a reason, by outcome and reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailuresPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Number of trials that did not pass.
    pub trials: u64,
    /// Up to 20 groups: errors, timeouts, failures, then skipped trials.
    pub groups: Vec<FailedTrials>,
    /// Number of trials in other groups.
    pub left_out: u64,
    /// One name for all flaky trials. `null` without any.
    pub flaky: Option<String>,
    /// The first trials that wait for a retry, each with the reason.
    pub retried: Vec<String>,
    /// Number of trials that wait for a retry.
    pub retries: u64,
}

/// Trials with the same outcome and reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailedTrials {
    pub outcome: Outcome,
    /// One line.
    pub reason: String,
    pub trials: u64,
    /// One name for all trials of the group.
    pub name: String,
    /// The first trials.
    pub first: Vec<String>,
    /// Names of up to 6 providers.
    pub providers: Vec<String>,
    /// `new`, `still`, or the number of trials that are new. Absent while the run is running, and without a previous run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl FailedTrials {
    fn new(group: &FailureGroup, since: Option<&SincePrevious>) -> Self {
        Self {
            outcome: group.outcome,
            reason: group.reason.clone(),
            trials: group.trials,
            name: group.name(),
            first: group.first().map(str::to_owned).collect(),
            providers: group.providers().map(str::to_owned).collect(),
            change: since.and_then(|since| since.change(group)),
        }
    }
}

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
        let is_told = |number: &u32| {
            let row = self.rows[*number as usize];
            row.is_flaky() || row.outcome != Outcome::Passed
        };
        let mut failures = Failures::default();
        self.each_row(self.numbers().filter(is_told), |indexed: IndexedRow, row| {
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
