//! [`RunReader::settled_cells`]: what a table tells of each trial, of runs that are too large to be held.

use super::{
    fold::Fold,
    history::{History, NextSession},
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
};
use crate::record::{
    error::RecordError,
    format::{cells::RowCells, line::check_crc},
};

/// By ordinal, what was taken of the row that settles the trial.
pub type SettledCells<T> = Vec<Option<T>>;

impl RunReader {
    /// Reads all rows once, and takes something of each that settles its trial now, by ordinal: the same as
    /// [`RunReader::settled`] in a fraction of the time, for whoever needs no more than [`RowCells`].
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does.
    pub fn settled_cells<T>(
        &self,
        mut take: impl FnMut(&RowCells<'_>) -> T,
        mut damaged: impl FnMut(&LineError),
    ) -> Result<(History, SettledCells<T>), RecordError> {
        let mut fold = Fold::new(self.manifest(), NextSession::default())?;
        let planned = usize::try_from(self.manifest().metadata.planned_test_count);
        let mut slots: Vec<Option<(u32, T)>> = Vec::new();
        slots.resize_with(planned.expect("a plan fits into memory"), || None);
        let mut settle = |cells: &RowCells<'_>| {
            let slot = usize::try_from(cells.ordinal).ok();
            let slot = slot.and_then(|ordinal| slots.get_mut(ordinal));
            if let (true, Some(slot)) = (cells.is_final, slot) {
                *slot = Some((cells.attempt, take(cells)));
            }
        };
        let mut rows = self.checked_lines();
        while let Some(line) = rows.next_line() {
            let read = match line {
                Ok(RowsLine::Judgement(judgement)) => {
                    fold.row(judgement);
                    continue;
                }
                Ok(RowsLine::Attempt(())) => read_cells(&rows, &mut fold, &mut settle),
                Err(error) => Err(error),
            };
            match read {
                Ok(()) => {}
                Err(error @ LineError::Damaged { .. }) => {
                    fold.damaged();
                    damaged(&error);
                }
                Err(LineError::Io(source)) => return Err(self.rows_failed(source)),
            }
        }
        let history = fold.finish();
        let settled = (0..).zip(slots).map(|(ordinal, slot)| {
            let (attempt, taken) = slot?;
            history
                .state
                .is_settled_by(ordinal, attempt)
                .then_some(taken)
        });
        let settled = settled.collect();
        Ok((history, settled))
    }

    fn checked_lines(&self) -> Rows<()> {
        self.judged(Rows::new(self.pieces(), check_crc))
    }
}

fn read_cells(
    rows: &Rows<()>,
    fold: &mut Fold<'_>,
    settle: &mut impl FnMut(&RowCells<'_>),
) -> Result<(), LineError> {
    let cells = rows.cells()?;
    let written = cells.brief();
    let place = (written.seq, written.mark.key);
    match rows.judgement_at(place)? {
        None => settle(&cells),
        Some(by) => {
            let mut row = rows.row_as_written()?;
            row.judge(by);
            settle(&RowCells::of(row));
        }
    }
    fold.named_row((written, &*cells.trial));
    Ok(())
}
