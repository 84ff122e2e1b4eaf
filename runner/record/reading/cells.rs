//! [`SettledRows`]: what a table tells of each trial, of runs that are too large to be held: where the rows are is remembered,
//! and each is read again when it is its trial's turn.

use std::{collections::HashMap, error::Error, io, ops::Range};

use super::{
    fold::Fold,
    history::{History, NextSession},
    judgements::{Judged as _, Judgements},
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
    row_files::RowFiles,
    trial_pages::TrialPages,
};
use crate::{
    model::lines_of,
    record::{
        error::RecordError,
        format::{
            cells::RowCells,
            line::{check_crc, without_return},
            mark::Mark,
        },
    },
};

/// The rows that settle the trials of a run, by ordinal.
pub struct SettledRows {
    history: History,
    files: RowFiles,
    judgements: Option<Judgements>,
    places: TrialPages<SettledPlace>,
    /// How much of the files has whole lines.
    end: u64,
}

/// A row that may settle its trial.
#[derive(Clone, Copy, Default)]
struct SettledPlace {
    /// Where its line begins in all files together.
    at: u64,
    /// Which attempt it is of; 0 if there is no row.
    attempt: u32,
    /// What whoever reads has taken it for.
    kind: u32,
}

impl RunReader {
    /// Reads all rows once, and finds those that settle their trials now. `kind` says what each is taken for that may have
    /// measured something or was graded; the others are taken for 0.
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does, or if there are too many trials for something to be held of each.
    pub fn settled_rows(
        &self,
        mut kind: impl FnMut(&RowCells<'_>) -> u32,
        mut damaged: impl FnMut(&dyn Error),
    ) -> Result<SettledRows, RecordError> {
        self.check_size()?;
        let planned = self.manifest().metadata.planned_test_count;
        let mut fold = Fold::new(self.manifest(), NextSession::default())?;
        let mut places = TrialPages::<SettledPlace>::default();
        let mut end = 0;
        let mut rows = self.checked_lines();
        while let Some(line) = rows.next_line() {
            let at = rows.place();
            end = end.max(at.end);
            let read = match line {
                Ok(RowsLine::Judgement(judgement)) => {
                    fold.row(judgement);
                    continue;
                }
                Ok(RowsLine::Attempt(())) => read_cells(&rows, &mut fold, &mut |mark, cells| {
                    if mark.is_final && mark.key.ordinal < planned {
                        *places.slot(mark.key.ordinal) = SettledPlace {
                            at: at.start,
                            attempt: mark.key.number,
                            kind: cells.map_or(0, &mut kind),
                        };
                    }
                }),
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
        let (files, judgements) = rows.into_parts().map_err(|error| self.rows_failed(error))?;
        let history = fold.finish();
        self.tell_missing(&history, &mut damaged);
        Ok(SettledRows {
            history,
            files,
            judgements,
            places,
            end,
        })
    }

    fn checked_lines(&self) -> Rows<()> {
        self.judged(Rows::new(self.dir(), check_crc))
    }
}

/// Takes a row for the fold, and hands over what it means now, with its cells if it may need more columns than every table has.
fn read_cells(
    rows: &Rows<()>,
    fold: &mut Fold<'_>,
    settle: &mut impl FnMut(Mark, Option<&RowCells<'_>>),
) -> Result<(), LineError> {
    if let Some((written, trial)) = rows.without_columns()
        && rows
            .judgement_at((written.seq, written.mark.key))?
            .is_none()
    {
        settle(written.mark, None);
        fold.named_row((written, trial));
        return Ok(());
    }
    let mut cells = rows.cells()?;
    let written = cells.brief();
    rows.judge(&mut cells)?;
    settle(cells.brief().mark, Some(&cells));
    fold.named_row((written, &*cells.trial));
    Ok(())
}

impl SettledRows {
    /// What the rows and the sessions come to.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What the rows that settle trials were taken for.
    pub fn kinds(&self) -> impl Iterator<Item = u32> {
        let places = self.places.iter();
        places.filter_map(|(ordinal, place)| self.settles(ordinal, place).then_some(place.kind))
    }

    /// Reads the rows of some trials again, in the plan's order, and nothing of those that none settles.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or as `each` does.
    pub fn read(
        &self,
        ordinals: Range<u64>,
        mut each: impl FnMut(u64, Option<&RowCells<'_>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut blocks = LineBlocks::default();
        for ordinal in ordinals {
            let place = self.places.get(ordinal);
            let Some(place) = place.filter(|place| self.settles(ordinal, place)) else {
                each(ordinal, None)?;
                continue;
            };
            let line = blocks.line(&self.files, place.at..self.end)?;
            let mut cells = RowCells::decode(line).map_err(io::Error::other)?;
            if let Some(judgements) = &self.judgements
                && let Some(by) = judgements.of(cells.place())?
            {
                cells.judge(by);
            }
            each(ordinal, Some(&cells))?;
        }
        Ok(())
    }

    fn settles(&self, ordinal: u64, place: &SettledPlace) -> bool {
        place.attempt > 0 && self.history.state.is_settled_by(ordinal, place.attempt)
    }
}

/// Blocks of the files that were read lately: rows are about where those of other trials are that ran at the same time.
#[derive(Default)]
struct LineBlocks {
    blocks: HashMap<u64, Vec<u8>>,
    /// A line that is in no block as a whole.
    long: Vec<u8>,
}

impl LineBlocks {
    const BYTES: u64 = 32 * 1024;
    /// What of the next block is read along, for a line that goes on there.
    const BEHIND: u64 = 4 * 1024;
    const MOST: usize = 64;

    /// The line that begins where a part of the files does.
    fn line(&mut self, files: &RowFiles, part: Range<u64>) -> io::Result<&[u8]> {
        let number = part.start / Self::BYTES;
        let begin = number * Self::BYTES;
        if !self.blocks.contains_key(&number) {
            if self.blocks.len() == Self::MOST {
                self.blocks.clear();
            }
            let end = part.end.min(begin + Self::BYTES + Self::BEHIND);
            let bytes = read(files, begin..end)?;
            self.blocks.insert(number, bytes);
        }
        let rest = &self.blocks[&number][(part.start - begin) as usize..];
        let mut length = rest.len() as u64;
        if let Some(line) = first_line(rest, part.start + length == part.end) {
            return Ok(line);
        }
        loop {
            length *= 2;
            let to = part.end.min(part.start + length);
            self.long = read(files, part.start..to)?;
            if to == part.end || self.long.contains(&b'\n') {
                break;
            }
        }
        first_line(&self.long, true).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn read(files: &RowFiles, part: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(part.end - part.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    files.read_exact_at(&mut bytes, part.start)?;
    Ok(bytes)
}

/// The line at the beginning of a text, without its line end; `None` if that may be behind the text.
fn first_line(text: &[u8], is_all: bool) -> Option<&[u8]> {
    let line = lines_of(text).next()?;
    match line.strip_suffix(b"\n") {
        Some(line) => Some(without_return(line)),
        None => is_all.then(|| without_return(line)),
    }
}
