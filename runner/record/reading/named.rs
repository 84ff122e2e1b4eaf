//! [`NamedRows`]: the rows of some trials, read without the others.

use super::lines::{LineError, Rows, RowsLine};
use crate::record::format::{brief::Brief, row::Row};

/// The rows of a run, of which each is read in full only where its trial is asked for.
pub struct NamedRows(Rows<(Brief, String)>);

impl NamedRows {
    pub(in crate::record) fn new(rows: Rows<(Brief, String)>) -> Self {
        Self(rows)
    }

    /// The next row of a trial that `means` means, by its id; a damaged line is an item of its own.
    pub fn next_of(
        &mut self,
        mut means: impl FnMut(&str) -> bool,
    ) -> Option<Result<Row<'static>, LineError>> {
        loop {
            match self.0.next_line()? {
                Ok(RowsLine::Attempt((_, trial))) if means(&trial) => {
                    return Some(self.0.whole_row());
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
