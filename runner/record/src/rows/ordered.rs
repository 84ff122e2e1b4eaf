//! Reads all rows of a run: in the order in which they were written, also if another program has sorted the file, or the ones
//! that settle trials.

use std::{collections::HashSet, os::unix::fs::FileExt as _};

use runner_model::RowRef;
use runner_model::row::{read_head, read_line};

use crate::disk::layout::ROWS;
use crate::rows::fold::UnplannedFold;
use crate::rows::line_reader::{ParsedLine, ReadLine};
use crate::{Manifest, RecordError, RunDir};

/// The place of a line in the file.
#[derive(Clone, Copy, Debug)]
pub struct LinePlace {
    /// From 1.
    pub number: u64,
    /// The first byte.
    pub at: u64,
}

/// Adds a line and the result of `look` to a value.
pub type AddLine<'a, T, L> = dyn for<'l> FnMut(&mut T, LinePlace, ParsedLine<'l, L>) + 'a;

impl RunDir {
    /// Adds all lines to the value that `new` creates. Rows come in the order in which they were written: by session and
    /// number. For a file with another order, which costs 40 bytes of memory per row, `new` is called a second time. `look`
    /// gets the bytes of each row, on several threads.
    pub fn fold_lines<T, L: Send>(
        &self,
        new: &dyn Fn() -> T,
        look: fn(&[u8]) -> L,
        add: &mut AddLine<'_, T, L>,
    ) -> Result<T, RecordError> {
        let (mut value, mut number) = (new(), 0);
        let (mut last, mut is_ordered) = ((0, 0), true);
        self.rows_and(0, look, &mut |at, line| {
            number += 1;
            if let ReadLine::Row(row, _) = &line.0 {
                is_ordered &= last <= (row.session, row.seq);
                last = (row.session, row.seq);
            }
            if is_ordered {
                add(&mut value, LinePlace { number, at }, line);
            }
        })?;
        if is_ordered { Ok(value) } else { self.sort_lines(new(), look, add) }
    }

    /// Adds lines that are not rows, then all rows by session and number.
    fn sort_lines<T, L>(
        &self,
        mut value: T,
        look: fn(&[u8]) -> L,
        add: &mut AddLine<'_, T, L>,
    ) -> Result<T, RecordError> {
        let (mut places, mut number) = (Vec::new(), 0);
        self.rows(&mut |at, line| {
            number += 1;
            match line {
                ReadLine::Row(row, bytes) => {
                    places.push((row.session, row.seq, number, at, bytes.len()));
                }
                other => add(&mut value, LinePlace { number, at }, (other, None)),
            }
        })?;
        places.sort_unstable();
        let file = self.dir.read(ROWS)?;
        let mut line = Vec::new();
        for (_, _, number, at, length) in places {
            line.resize(length, 0);
            file.read_exact_at(&mut line, at)
                .map_err(|source| self.dir.error("read", ROWS, source))?;
            if let Ok(row) = read_head(&line) {
                let place = LinePlace { number, at };
                add(&mut value, place, (ReadLine::Row(row, &line), Some(look(&line))));
            }
        }
        Ok(value)
    }

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
