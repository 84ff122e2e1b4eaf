//! [`RunTables`]: the tables of a run's page.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::denials::Denials;
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
