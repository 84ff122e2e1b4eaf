//! [`FailuresPage`]: the failures of a run, grouped.

use runner_model::Outcome;
use runner_record::RecordError;
use runner_results::RunTable;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Failures, SincePrevious, VERSION, rows::add_failures};

/// The trials of a run that did not pass, or were skipped with a reason, by outcome and reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailuresPage {
    /// Always [`VERSION`].
    v: u8,
    /// Number of trials that did not pass.
    trials: u64,
    /// Up to 20 groups: errors, timeouts, failures, then skipped trials.
    groups: Vec<FailedTrials>,
    /// Number of trials in other groups.
    left_out: u64,
    /// One name for all flaky trials. `null` without any.
    flaky: Option<String>,
    /// The first trials that wait for a retry, each with the reason.
    retried: Vec<String>,
    /// Number of trials that wait for a retry.
    retries: u64,
}

/// Trials with the same outcome and reason.
#[derive(Debug, Serialize, JsonSchema)]
struct FailedTrials {
    outcome: Outcome,
    /// One line.
    reason: String,
    trials: u64,
    /// One name for all trials of the group.
    name: String,
    /// The first trials.
    first: Vec<String>,
    /// Names of up to 6 providers.
    providers: Vec<String>,
    /// `new`, `still`, or the number of trials that are new. Absent while the run is running, and without a previous run.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

impl FailuresPage {
    /// Groups the failures of a table.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn new(table: &RunTable, since: Option<&SincePrevious>) -> Result<Self, RecordError> {
        let mut failures = Failures::default();
        add_failures(table, None, &mut failures)?;
        Ok(Self::of(&failures, since))
    }

    /// Lists grouped failures.
    pub(crate) fn of(failures: &Failures, since: Option<&SincePrevious>) -> Self {
        let (retried, retries) = failures.retried();
        let groups = failures.listed().into_iter().map(|group| FailedTrials {
            outcome: group.outcome,
            name: group.name(),
            first: group.first().map(str::to_owned).collect(),
            providers: group.providers().map(str::to_owned).collect(),
            change: since.and_then(|since| since.change(&group)),
            reason: group.reason,
            trials: group.trials,
        });
        Self {
            v: VERSION,
            trials: failures.trials,
            groups: groups.collect(),
            left_out: failures.left_out(),
            flaky: failures.flaky(),
            retried: retried.into_iter().map(str::to_owned).collect(),
            retries,
        }
    }
}
