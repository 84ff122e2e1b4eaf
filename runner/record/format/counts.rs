//! [`ManifestCounts`]: how many trials came to what, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::model::{Counts, MOST_TRIALS, count, plural};

/// Reads how many trials there are of something: no more than a plan may have, because whoever reads rows holds some bytes for
/// each of them.
pub(super) fn trials<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let trials = u64::deserialize(deserializer)?;
    if trials <= MOST_TRIALS {
        return Ok(trials);
    }
    let (trials, most) = (plural(trials, "trial"), count(MOST_TRIALS));
    Err(de::Error::custom(format!(
        "it has {trials}, and a run has at most {most}"
    )))
}

/// How many trials came to what, by their final rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestCounts {
    /// Trials of the plan.
    #[serde(deserialize_with = "trials")]
    pub planned: u64,
    /// Every check held.
    #[serde(deserialize_with = "trials")]
    pub passed: u64,
    /// A check did not hold, or the provider said so.
    #[serde(deserialize_with = "trials")]
    pub failed: u64,
    /// The provider could not evaluate the test, or broke.
    #[serde(deserialize_with = "trials")]
    pub error: u64,
    /// A deadline fired.
    #[serde(deserialize_with = "trials")]
    pub timeout: u64,
    /// The provider skipped the test.
    #[serde(deserialize_with = "trials")]
    pub skipped: u64,
    /// Those of the passed that needed more than one attempt.
    #[serde(deserialize_with = "trials")]
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
