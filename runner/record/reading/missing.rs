//! [`MissingRows`]: final rows that were counted when a session of a run was opened or closed, and are not there now.

use std::fmt;

use thiserror::Error;

use crate::model::plural;

/// Final rows that the manifest counts, and that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingRows {
    /// How many the manifest counts.
    pub counted: u64,
    /// How many of them are not there.
    pub missing: u64,
}

impl MissingRows {
    /// The same with what becomes of their trials where the run is gone on with.
    pub fn run_again(self) -> String {
        let again = match self.missing {
            1 => "its trial runs again",
            _ => "their trials run again",
        };
        format!("{self}; {again}")
    }

    /// The same with what to do where the run is only read.
    pub fn make_again(self) -> String {
        let again = if self.missing == 1 { "it" } else { "them" };
        format!("{self}; `runner resume` makes {again} again")
    }
}

impl fmt::Display for MissingRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let are = if self.missing == 1 { "is" } else { "are" };
        write!(
            formatter,
            "the manifest counts {}, and {} of them {are} missing",
            plural(self.counted, "final row"),
            self.missing
        )
    }
}

/// The same of a run that is named, for whoever reads it.
#[derive(Debug, Error)]
#[error("run `{run}`: {}", rows.make_again())]
pub(in crate::record) struct MissingFromRun {
    pub(in crate::record) run: String,
    pub(in crate::record) rows: MissingRows,
}
