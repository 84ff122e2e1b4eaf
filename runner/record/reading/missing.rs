//! [`MissingRows`]: final rows that were counted when a session of a run was opened or closed, and are not there now.

use std::{error, fmt};

use super::{history::History, reader::RunReader};
use crate::{model::plural, record::disk::lock};

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
#[derive(Debug)]
struct MissingFromRun {
    run: String,
    rows: MissingRows,
}

impl fmt::Display for MissingFromRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "run `{}`: {}", self.run, self.rows.make_again())
    }
}

impl error::Error for MissingFromRun {}

impl History {
    /// Takes what is to be told of missing rows: whoever asks again has been told.
    pub(in crate::record) fn take_missing(&mut self) -> Option<MissingRows> {
        let untold = self.untold_missing();
        self.missing = None;
        untold
    }

    /// Rows that are missing and of which no damaged line has told.
    pub(in crate::record) fn untold_missing(&self) -> Option<MissingRows> {
        (self.missing).filter(|rows| rows.missing > self.damaged_lines)
    }
}

impl RunReader {
    /// Tells of rows that are missing, unless somebody is at work on the run.
    pub(in crate::record) fn tell_missing(
        &self,
        history: &History,
        tell: &mut impl FnMut(&dyn error::Error),
    ) {
        if let Some(rows) = history.untold_missing()
            && !lock::is_held(&self.dir().lock())
        {
            let run = self.id().to_string();
            tell(&MissingFromRun { run, rows });
        }
    }
}
