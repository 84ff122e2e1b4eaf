//! [`RunReader::settled`]: a little of each row that settles its trial, of runs that are too large to be held.

use super::{
    lines::LineError,
    reader::RunReader,
    results::{RunResults, Wanted},
};
use crate::record::{error::RecordError, format::row::Row};

impl RunReader {
    /// Reads all rows once, and takes something of each that settles its trial now; by ordinal.
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does.
    pub fn settled<T>(
        &self,
        mut take: impl FnMut(&Row<'static>) -> T,
        damaged: impl FnMut(&LineError),
    ) -> Result<(RunResults, Vec<Option<T>>), RecordError> {
        let planned = usize::try_from(self.manifest().metadata.planned_test_count);
        let mut slots: Vec<Option<(u32, T)>> = Vec::new();
        slots.resize_with(planned.expect("a plan fits into memory"), || None);
        let wants = |row: &Row<'static>| {
            let slot = usize::try_from(row.ordinal).ok();
            let slot = slot.and_then(|ordinal| slots.get_mut(ordinal));
            if let (true, Some(slot)) = (row.is_final, slot) {
                *slot = Some((row.attempt, take(row)));
            }
            Wanted::No
        };
        let results = self.results(wants, damaged)?;
        let state = &results.history.state;
        let taken = (0..).zip(slots).map(|(ordinal, slot)| {
            let (attempt, taken) = slot?;
            let is_current = state.outcome(ordinal).is_some() && state.attempts(ordinal) == attempt;
            is_current.then_some(taken)
        });
        let taken = taken.collect();
        Ok((results, taken))
    }
}
