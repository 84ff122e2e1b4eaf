//! [`RunReader::settled`]: a little of each row that settles its trial, of runs that are too large to be held.

use std::error::Error;

use super::{
    reader::RunReader,
    results::{RunResults, Wanted},
    trial_slots::TrialSlots,
};
use crate::record::{error::RecordError, format::row::Row};

impl RunReader {
    /// Reads all rows once, and takes something of each that settles its trial now; by ordinal.
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does, or if there are too many trials for something to be held of each.
    pub fn settled<T>(
        &self,
        mut take: impl FnMut(&Row<'static>) -> T,
        damaged: impl FnMut(&dyn Error),
    ) -> Result<(RunResults, TrialSlots<T>), RecordError> {
        self.check_size()?;
        let mut slots = TrialSlots::new(self.manifest().metadata.planned_test_count);
        let wants = |row: &Row<'static>| {
            if let (true, Some(slot)) = (row.is_final, slots.at(row.ordinal)) {
                *slot = Some((row.attempt, take(row)));
            }
            Wanted::No
        };
        let results = self.results(wants, damaged)?;
        let state = &results.history.state;
        let taken = slots.map(|ordinal, (attempt, taken)| {
            state.is_settled_by(ordinal, attempt).then_some(taken)
        });
        Ok((results, taken))
    }
}
