//! [`RunDir::settling_rows`]: the row of each trial that counts.

use std::collections::HashSet;

use runner_model::{RowRef, row::read_line};

use super::{fold::UnplannedFold, line_reader::ReadLine};
use crate::{Manifest, RecordError, RunDir};

impl RunDir {
    /// Calls `each` with the newest final row of each trial, in their order on disk. Reads the rows twice, and uses some 40 bytes
    /// per trial.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn settling_rows(
        &self,
        manifest: &Manifest,
        each: &mut dyn FnMut(&RowRef<'_>),
    ) -> Result<(), RecordError> {
        let (mut fold, mut newest) = (UnplannedFold::new(manifest), Vec::new());
        self.rows(&mut |_, line| {
            if let ReadLine::Row(row, _) = line
                && let Some((number, effect)) = fold.add(&row)
            {
                newest.resize(newest.len().max(number + 1), None);
                if effect.settles {
                    newest[number] = Some(row.seq);
                }
            }
        })?;
        // Another program may have doubled rows.
        let mut left: HashSet<_> = newest.into_iter().flatten().collect();
        self.rows(&mut |_, line| {
            if let ReadLine::Row(head, bytes) = line
                && left.remove(&head.seq)
                && let Ok(row) = read_line(bytes)
            {
                each(&row);
            }
        })
    }
}
