//! [`RunTables`] and [`FailuresPage`]: the parts of a run's page that are computed from its rows.

use std::sync::Arc;

use runner_model::Outcome;
use schemars::JsonSchema;
use serde::Serialize;

use crate::denials::Denials;
use crate::failures::FailureGroup;
use crate::{GraderTable, MetaResults, ProviderTable, SincePrevious};

/// The parts of `show` that are computed from rows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunTables {
    /// One table per provider, in the scenario's order.
    pub providers: Vec<ProviderTable>,
    /// One table per grader.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<GraderTable>,
    /// Results by the keys of tests' `meta`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<MetaResults>,
    /// Damaged lines of the rows. If the run has ended and its verdict is not `damaged`, no result is lost.
    pub damaged_lines: u64,
    pub denials: Denials,
    /// Changes since the previous run. `None` while the run is running, and if there are no changes.
    #[serde(skip_serializing_if = "is_absent")]
    pub since_previous: Arc<Option<SincePrevious>>,
}

fn is_absent(changes: &Option<SincePrevious>) -> bool {
    changes.is_none()
}

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
    pub(super) fn new(group: &FailureGroup, since: Option<&SincePrevious>) -> Self {
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
