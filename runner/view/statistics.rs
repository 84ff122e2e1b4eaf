//! [`GroupStatistics`]: what the trials of a provider, or of one tag or dimension of its tests, say about those to come.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Spread;

/// What the trials of a provider, or of one tag or dimension of its tests, say about those to come.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupStatistics {
    /// The provider.
    pub provider: String,
    /// The tag of the tests; `null` where they are all of the provider's, or those with a value of a dimension.
    pub tag: Option<String>,
    /// The key of the tests' `meta`; `null` where no key tells them from others.
    pub dimension: Option<String>,
    /// What stands there; `null` where `dimension` is.
    pub value: Option<String>,
    /// How many tests have a trial that passed, failed, ended in an error or timed out.
    pub tests: u64,
    /// How many such trials there are.
    pub trials: u64,
    /// How many of them passed.
    pub passed: u64,
    /// Wilson's interval of 95 % for the share that passed. It takes trials as independent of each other, which repeats of
    /// one test are not: then `pass_rate` has the better standard error.
    pub pass_rate_interval: (f64, f64),
    /// The share that passed.
    pub pass_rate: SpreadSummary,
    /// The chances of several attempts at a test, where there are repeats.
    pub attempts: Vec<SeveralAttempts>,
    /// Their scores; `null` if none has one.
    pub score: Option<SpreadSummary>,
    /// What they measured, by name and unit.
    pub metrics: Vec<MetricSpread>,
}

/// A mean, and how far from the one behind it it may be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpreadSummary {
    /// The mean.
    pub mean: f64,
    /// Its standard error, with the repeats of a test as a cluster; `null` for one test alone.
    pub standard_error: Option<f64>,
    /// How many trials have a value.
    pub trials: u64,
    /// How many tests they are of.
    pub tests: u64,
}

/// The mean of a metric.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MetricSpread {
    /// Its name.
    pub name: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// Its mean.
    #[serde(flatten)]
    pub spread: SpreadSummary,
}

/// The chances of `k` attempts at a test, by the estimators without bias, as a mean over tests.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SeveralAttempts {
    /// How many attempts.
    pub k: u64,
    /// The chance that at least one passes: pass@k.
    pub any: f64,
    /// The chance that all pass: pass^k.
    pub all: f64,
    /// How many tests have so many repeats.
    pub tests: u64,
}

impl GroupStatistics {
    /// Which of the provider's tests they are: a tag, or `topic = dates`; `None` for all of them.
    pub fn of(&self) -> Option<String> {
        match (&self.tag, &self.dimension, &self.value) {
            (Some(tag), ..) => Some(tag.clone()),
            (None, Some(dimension), Some(value)) => Some(format!("{dimension} = {value}")),
            _ => None,
        }
    }
}

impl From<Spread> for SpreadSummary {
    fn from(spread: Spread) -> Self {
        Self {
            mean: spread.mean,
            standard_error: spread.standard_error,
            trials: spread.values,
            tests: spread.clusters,
        }
    }
}
