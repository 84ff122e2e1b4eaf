//! [`ManifestCounts`]: how many trials came to what, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Counts;

/// How many trials came to what, by their final rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestCounts {
    /// Trials of the plan.
    pub planned: u64,
    /// Every check held.
    pub passed: u64,
    /// A check did not hold, or the provider said so.
    pub failed: u64,
    /// The provider could not evaluate the test, or broke.
    pub error: u64,
    /// A deadline fired.
    pub timeout: u64,
    /// The provider skipped the test.
    pub skipped: u64,
    /// Those of the passed that needed more than one attempt.
    pub flaky: u64,
}

impl From<Counts> for ManifestCounts {
    fn from(counts: Counts) -> Self {
        Self {
            planned: counts.planned,
            passed: counts.passed,
            failed: counts.failed,
            error: counts.error,
            timeout: counts.timeout,
            skipped: counts.skipped,
            flaky: counts.flaky,
        }
    }
}

impl From<ManifestCounts> for Counts {
    fn from(counts: ManifestCounts) -> Self {
        Self {
            planned: counts.planned,
            passed: counts.passed,
            failed: counts.failed,
            error: counts.error,
            timeout: counts.timeout,
            skipped: counts.skipped,
            flaky: counts.flaky,
        }
    }
}
