//! The lines of `--dry-run --json`.

use std::{borrow::Cow, collections::BTreeSet};

use runner_model::{Outcome, ScenarioOverrides, TrialId};
use runner_record::ManifestProvider;
use runner_scenario::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::PlannedReceiver;

/// A line of `runner exec --dry-run --json`: the plan, then each of its trials; or else each problem of the scenario.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlanLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub part: PlanPart<'a>,
}

/// A part of a plan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum PlanPart<'a> {
    /// The plan.
    Plan {
        /// Name of the scenario.
        scenario: Cow<'a, str>,
        /// Most attempts that would run at once.
        jobs: u32,
        /// Number of selected trials.
        trials: u64,
        /// Values that replace those of the scenario.
        overrides: Cow<'a, ScenarioOverrides>,
        /// Providers as the manifest would list them.
        providers: Cow<'a, [ManifestProvider]>,
        /// The real folders, files and secrets that the scenario uses, a sentence for each.
        access: Cow<'a, [String]>,
        /// Granted secrets without a value.
        missing_secrets: Cow<'a, BTreeSet<String>>,
        /// Receivers of a message about the run's end.
        receivers: Cow<'a, [PlannedReceiver]>,
        /// Messages for people.
        notices: Cow<'a, [String]>,
    },
    /// A selected trial.
    Trial { trial: Cow<'a, TrialId> },
    /// A problem of the scenario.
    Problem {
        /// A problem of the scenario or of its lists.
        problem: ScenarioProblem,
    },
}

/// A problem of a scenario or of its lists.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioProblem {
    /// The problem, for people.
    pub message: String,
    /// The path as messages show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1. Left out for problems of a whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Character in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl ScenarioProblem {
    /// Returns the problems that messages show.
    pub fn all(problems: &Problems) -> impl Iterator<Item = Self> {
        problems.listed().map(|problem| Self {
            message: problem.message.to_owned(),
            file: problem.file.map(str::to_owned),
            line: problem.position.map(|(line, _)| line as u64),
            column: problem.position.map(|(_, column)| column as u64),
            help: problem.help.map(str::to_owned),
        })
    }
}

/// A line of `runner resume --dry-run --json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ResumeLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    pub trial: Cow<'a, TrialId>,
    /// Whether the trial would run.
    pub runs: bool,
    /// Whether its stored output would be judged again, without a call of its provider.
    pub judged: bool,
    /// Reason of the decision, for people.
    pub why: Cow<'a, str>,
}

/// A line of `runner rescore --dry-run --json`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RescoreLine<'a> {
    /// Always [`crate::VERSION`].
    pub v: u8,
    pub trial: Cow<'a, TrialId>,
    /// Whether the trial's output would be judged again.
    pub judged: bool,
    /// Reason of the decision, for people.
    pub why: Cow<'a, str>,
    #[serde(flatten)]
    pub change: Option<RescoreChange<'a>>,
}

/// The change of a trial that would be judged again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RescoreChange<'a> {
    /// The present outcome.
    pub before: Outcome,
    /// The new outcome without calls of graders. `ungraded` if a grader has to decide.
    pub after: Outcome,
    /// Graders that would be called.
    pub graders: Cow<'a, [String]>,
}
