//! Reads all rows of a run in the order in which they were written, also if another program has sorted the file.

use std::os::unix::fs::FileExt as _;

use runner_model::row::{RowHead, read_head};

use crate::rows::line_reader::{ParsedLine, ReadLine};
use crate::{RecordError, RunDir, disk::layout::ROWS};

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

/// Adds a row, with its first byte and its line, to a value.
pub type AddRow<'a, T> = dyn for<'l> FnMut(&mut T, u64, RowHead, &'l [u8]) + 'a;

impl RunDir {
    /// Adds all rows to the value that `new` creates, each once, in the order in which they were written, also if another program
    /// has sorted or doubled them. Skips lines that are not rows. `new` is called as by [`Self::fold_lines`].
    pub fn fold_rows<T>(
        &self,
        new: &dyn Fn() -> T,
        add: &mut AddRow<'_, T>,
    ) -> Result<T, RecordError> {
        let new = || (new(), (0, 0));
        let fold = self.fold_lines(&new, |_| (), &mut |(value, last), place, (line, _)| {
            if let ReadLine::Row(row, bytes) = line {
                let number = (row.session, row.seq);
                if row.seq == 0 || number != *last {
                    add(value, place.at, row, bytes);
                }
                *last = number;
            }
        })?;
        Ok(fold.0)
    }

    /// Adds all lines to the value that `new` creates. Rows come in the order in which they were written: by session and
    /// number. For a file with another order, which costs 40 bytes of memory per row, `new` is called a second time. `look`
    /// gets the bytes of each row, on several threads.
    pub fn fold_lines<T, L: Send>(
        &self,
        new: &dyn Fn() -> T,
        look: fn(&[u8]) -> L,
        add: &mut AddLine<'_, T, L>,
    ) -> Result<T, RecordError> {
        let mut value = new();
        let mut number = 0;
        let mut last = (0, 0);
        let mut is_ordered = true;
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
        let mut places = Vec::new();
        let mut number = 0;
        self.read_lines(&mut |at, line| {
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
}
