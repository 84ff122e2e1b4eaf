//! [`RunReader::settled_cells`]: what a table tells of each trial, of runs that are too large to be held.

use super::{
    fold::Fold,
    history::{History, NextSession},
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
    trial_slots::TrialSlots,
};
use crate::record::{
    error::RecordError,
    format::{cells::RowCells, line::check_crc},
};

impl RunReader {
    /// Reads all rows once, and takes something of each that settles its trial now, by ordinal: the same as
    /// [`RunReader::settled`] in a fraction of the time, for whoever needs no more than [`RowCells`].
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does, or if there are too many trials for something to be held of each.
    pub fn settled_cells<T>(
        &self,
        mut take: impl FnMut(&RowCells<'_>) -> T,
        mut damaged: impl FnMut(&LineError),
    ) -> Result<(History, TrialSlots<T>), RecordError> {
        self.check_size()?;
        let mut fold = Fold::new(self.manifest(), NextSession::default())?;
        let mut slots = TrialSlots::new(self.manifest().metadata.planned_test_count);
        let mut settle = |cells: &RowCells<'_>| {
            if let (true, Some(slot)) = (cells.is_final, slots.at(cells.ordinal)) {
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
        let state = &history.state;
        let settled = slots.map(|ordinal, (attempt, taken)| {
            state.is_settled_by(ordinal, attempt).then_some(taken)
        });
        Ok((history, settled))
    }

    fn checked_lines(&self) -> Rows<()> {
        self.judged(Rows::new(self.dir(), check_crc))
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
