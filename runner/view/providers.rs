//! [`ProviderSummary`]: a line of the table of providers that closes a run.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::written;
use crate::record::{ManifestCounts, Tally};

/// What one provider's trials came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderSummary {
    /// Its name.
    pub provider: String,
    /// How many of its trials came to what; `planned` is 0, as a plan is not divided by provider.
    pub counts: ManifestCounts,
    /// What half of the attempts that settled them did not exceed, in milliseconds.
    #[serde(rename = "p50_ms", serialize_with = "written::optional_duration")]
    #[schemars(with = "Option<f64>")]
    pub p50: Option<Duration>,
    /// What 95 of 100 did not, in milliseconds.
    #[serde(rename = "p95_ms", serialize_with = "written::optional_duration")]
    #[schemars(with = "Option<f64>")]
    pub p95: Option<Duration>,
    /// How long the longest took, in milliseconds.
    #[serde(rename = "max_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub max: Duration,
}

impl ProviderSummary {
    /// One for each provider that has settled a trial, by name.
    pub fn all(tally: &Tally) -> Vec<Self> {
        let providers = tally.providers.iter();
        providers
            .map(|(name, tally)| Self {
                provider: name.clone(),
                counts: tally.counts.into(),
                p50: tally.durations.percentile(0.5),
                p95: tally.durations.percentile(0.95),
                max: tally.durations.max(),
            })
            .collect()
    }
}
