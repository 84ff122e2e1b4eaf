//! The lines of `--dry-run --json`.

use std::collections::BTreeSet;

use runner_model::{Outcome, ScenarioOverrides, TrialId};
use runner_record::ManifestProvider;
use schemars::JsonSchema;
use serde::Serialize;

/// A line of `runner exec --dry-run --json`: the plan, then each of its trials.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub part: PlanPart<'a>,
}

/// A part of a plan.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum PlanPart<'a> {
    Plan {
        /// Name of the scenario.
        scenario: &'a str,
        /// Most attempts that would run at once.
        jobs: u32,
        /// Number of selected trials.
        trials: u64,
        /// Values that replace those of the scenario.
        overrides: &'a ScenarioOverrides,
        /// Providers as the manifest would list them.
        providers: &'a [ManifestProvider],
        /// Granted secrets without a value.
        missing_secrets: &'a BTreeSet<String>,
        /// Messages for people.
        notices: &'a [String],
    },
    Trial {
        trial: &'a TrialId,
    },
}

/// A line of `runner resume --dry-run --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ResumeLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    pub trial: &'a TrialId,
    /// Whether the trial would run.
    pub runs: bool,
    /// Reason of the decision, for people.
    pub why: &'a str,
}

/// A line of `runner rescore --dry-run --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RescoreLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    pub trial: &'a TrialId,
    /// Whether the trial's output would be judged again.
    pub judged: bool,
    /// Reason of the decision, for people.
    pub why: &'a str,
    #[serde(flatten)]
    pub change: Option<RescoreChange<'a>>,
}

/// The change of a trial that would be judged again.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RescoreChange<'a> {
    /// The present outcome.
    pub before: Outcome,
    /// The new outcome without calls of graders. `ungraded` if a grader has to decide.
    pub after: Outcome,
    /// Graders that would be called.
    pub graders: &'a [String],
}
