//! [`Rerun`]: the settled trials that a session runs again.

use std::fmt;

use runner_model::{Digest, Outcome, known::KnownState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Trials that a session runs again, among those with a final row at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rerun {
    /// Trials that failed, ended in an error or timed out and are not known failures, and unexpected passes.
    Failed,
    /// Trials that ended in an error or timed out.
    Errors,
    All,
    /// Trials whose id, or whose test's id, matches.
    #[serde(untagged)]
    Glob(String),
    /// Trials that matched a filter when the session started.
    #[serde(untagged)]
    Filter {
        /// The filter's text.
        filter: String,
        /// Their ids in the store, one per line.
        trials: Digest,
    },
}

impl Rerun {
    /// Returns whether trials with this result are selected. [`Self::ids`] selects by id.
    pub fn is_of(&self, outcome: Outcome, state: KnownState) -> bool {
        match self {
            Self::Failed => state.is_unexpected(outcome),
            Self::Errors => matches!(outcome, Outcome::Error | Outcome::Timeout),
            Self::All | Self::Glob(_) | Self::Filter { .. } => true,
        }
    }

    /// Returns a key for the ids of the selected trials: the glob, or the digest of a filter's result.
    pub fn ids(&self) -> Option<String> {
        match self {
            Self::Glob(glob) => Some(glob.clone()),
            Self::Filter { trials, .. } => Some(trials.to_string()),
            Self::Failed | Self::Errors | Self::All => None,
        }
    }
}

impl fmt::Display for Rerun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Failed => "failed",
            Self::Errors => "errors",
            Self::All => "all",
            Self::Glob(glob) => glob,
            Self::Filter { filter, .. } => filter,
        })
    }
}

impl From<String> for Rerun {
    fn from(text: String) -> Self {
        match text.as_str() {
            "failed" => Self::Failed,
            "errors" => Self::Errors,
            "all" => Self::All,
            _ => Self::Glob(text),
        }
    }
}
