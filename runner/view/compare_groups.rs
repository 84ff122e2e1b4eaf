//! [`Compared`]: what is different between two runs, or between two groups, run by run.

use schemars::JsonSchema;
use serde::Serialize;

use super::{CaseCounts, Comparison, version::DocumentVersion};

/// What is different between two groups.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupComparison {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The id of the group that is compared with.
    pub base: String,
    /// The id of the group that is compared.
    pub new: String,
    /// How many tests of all runs came to what.
    pub counts: CaseCounts,
    /// The comparisons of the runs of the same scenarios, in the order of the new group.
    pub runs: Vec<Comparison>,
    /// The names of the scenarios of which only the base group has a run.
    pub only_base: Vec<String>,
    /// The names of those of which only the new group has one.
    pub only_new: Vec<String>,
}

/// What is different between two runs or two groups.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Compared {
    /// Two runs.
    Runs(Comparison),
    /// Two groups.
    Groups(GroupComparison),
}

impl Compared {
    /// How many tests came to what.
    pub fn counts(&self) -> CaseCounts {
        match self {
            Self::Runs(comparison) => comparison.counts,
            Self::Groups(groups) => groups.counts,
        }
    }

    /// Tells whether something is significantly worse in any of the runs.
    pub fn is_significantly_worse(&self) -> bool {
        match self {
            Self::Runs(comparison) => comparison.is_significantly_worse(),
            Self::Groups(groups) => groups.runs.iter().any(Comparison::is_significantly_worse),
        }
    }
}

impl GroupComparison {
    /// What the two groups do not share, in a sentence each.
    pub fn unshared(&self) -> Vec<String> {
        let sides = [("base", &self.only_base), ("new", &self.only_new)];
        let sides = sides.into_iter().filter(|(_, names)| !names.is_empty());
        sides
            .map(|(side, names)| format!("only in the {side} group: {}", names.join(", ")))
            .collect()
    }
}
