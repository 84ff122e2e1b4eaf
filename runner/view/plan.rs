//! [`PlanLine`]: what `--dry-run --json` prints, JSON Lines: first the plan, then each trial that would run.

use schemars::JsonSchema;
use serde::Serialize;

use super::{trial::PlannedTrial, version::DocumentVersion};
use crate::{
    model::Digest,
    record::{
        ManifestProvider,
        words::{self, DigestSchema},
    },
};

/// One line. A plan of a million trials is never in memory as a whole.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlanLine<'a> {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What the line tells.
    #[serde(flatten)]
    pub part: PlanPart<'a>,
}

/// What a line tells.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum PlanPart<'a> {
    /// The first line: the plan as a whole.
    Plan(PlanHead),
    /// Every other line: a trial that would run, in the plan's order.
    Trial(PlannedTrial<'a>),
}

/// A plan without its trials.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlanHead {
    /// The scenario's name.
    pub scenario: String,
    /// The scenario's file, as it was given.
    pub path: String,
    /// The digest of the plan, as in `benchmark.json`.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub plan_digest: Digest,
    /// The id of the run that would go on; `null` where a new one would begin.
    pub run: Option<String>,
    /// How many trials the plan has: tests, times providers, times repeats.
    pub planned: u64,
    /// How many of them would run: so many lines follow.
    pub pending: u64,
    /// How many attempts would run at the same time.
    pub jobs: usize,
    /// The providers that have trials, in the scenario's order.
    pub providers: Vec<PlannedAccess>,
    /// The graders that tests name, in the scenario's order; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<PlannedAccess>,
}

/// A provider or a grader of a plan: its plugin, its limits and what it is granted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedAccess {
    /// The provider, as in `benchmark.json`.
    #[serde(flatten)]
    pub provider: ManifestProvider,
    /// The secrets that it is granted and that have no value; no run begins while there are any.
    pub missing_secrets: Vec<String>,
}

impl<'a> From<PlanPart<'a>> for PlanLine<'a> {
    fn from(part: PlanPart<'a>) -> Self {
        Self {
            v: DocumentVersion,
            part,
        }
    }
}
