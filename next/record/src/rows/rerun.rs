//! [`Rerun`]: which settled trials a session runs again.

use std::fmt;

use runner_model::Outcome;
use serde::{Deserialize, Serialize};

/// Which trials a session runs again, of those that had a final row when it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Rerun {
    /// Those that failed, ended in an error or timed out.
    Failed,
    /// Those that ended in an error or timed out.
    Errors,
    /// All of them.
    All,
    /// Those whose id, or the id of whose test, matches.
    Glob(String),
}

impl Rerun {
    /// Tells whether trials of this outcome are meant, whatever they are called.
    pub fn is_of(&self, outcome: Outcome) -> bool {
        match self {
            Self::Failed => outcome.is_bad(),
            Self::Errors => matches!(outcome, Outcome::Error | Outcome::Timeout),
            Self::All | Self::Glob(_) => true,
        }
    }

    /// The glob that the ids of trials must match, if there is one.
    pub fn glob(&self) -> Option<&str> {
        match self {
            Self::Glob(glob) => Some(glob),
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

impl From<Rerun> for String {
    fn from(rerun: Rerun) -> Self {
        rerun.to_string()
    }
}
