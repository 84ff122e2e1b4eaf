//! Following a run that another process works on: its rows, and what its runner writes down, as they come.

use std::ops::ControlFlow;

use super::{Observe, Waiting};
use crate::{
    error::Error,
    record::{LineError, Row, RowTail, RunEntry, RunReader},
};

/// What is seen of the rows of a run. Whoever sees it breaks off to see no more.
pub enum SeenRow<'a> {
    /// A row.
    Row(&'a Row<'a>),
    /// A line that is damaged; the rows behind it follow.
    Damaged(&'a LineError),
    /// All rows that are there have been seen.
    UpToDate,
}

/// Why nothing more is to be seen of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Nobody works on it any more, and everything was seen.
    ToItsEnd,
    /// Whoever saw it has broken off.
    NoLonger,
}

/// The rows of a run, each seen once, until nobody works on the run any more.
pub struct RunRows<'a> {
    run: &'a RunEntry,
    tail: RowTail,
    see: &'a mut dyn FnMut(SeenRow<'_>) -> ControlFlow<()>,
}

impl<'a> RunRows<'a> {
    /// Begins before the first row.
    ///
    /// # Errors
    ///
    /// Fails if the run or its rows cannot be read.
    pub fn new(
        run: &'a RunEntry,
        see: &'a mut dyn FnMut(SeenRow<'_>) -> ControlFlow<()>,
    ) -> Result<Self, Error> {
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        let tail = reader.tail().map_err(Error::record)?;
        Ok(Self { run, tail, see })
    }

    /// Hands over the rows that are there.
    fn hand_over(&mut self) -> Result<ControlFlow<()>, Error> {
        while let Some(next) = self.tail.next_row() {
            let seen = match &next {
                Ok(row) => (self.see)(SeenRow::Row(row)),
                Err(error @ LineError::Damaged { .. }) => (self.see)(SeenRow::Damaged(error)),
                Err(_) => {
                    let error = next.expect_err("it is none that was read");
                    return Err(Error::storage(miette::Report::from_err(error)));
                }
            };
            if seen.is_break() {
                return Ok(seen);
            }
        }
        Ok((self.see)(SeenRow::UpToDate))
    }
}

impl Waiting for RunRows<'_> {
    type Answer = Followed;

    fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<Followed>, Error> {
        // Asked before the rows are read: what a process has written is there before it ends.
        let reader = RunReader::open(&self.run.dir).map_err(Error::record)?;
        let is_over = !reader.is_alive();
        if self.hand_over()?.is_break() {
            return Ok(Some(Followed::NoLonger));
        }
        if is_over && let Some(last) = self.tail.last_row() {
            // Nothing comes behind it that it could break off.
            let _ = (self.see)(SeenRow::Row(&last));
        }
        Ok(is_over.then_some(Followed::ToItsEnd))
    }
}

/// What the runner itself has written down of a run, in whole lines, until nobody holds the run any more.
pub struct RunnerLog<'a> {
    run: &'a RunEntry,
    /// How much of it was seen, in bytes.
    seen: u64,
    see: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
}

impl<'a> RunnerLog<'a> {
    /// Begins at its first line. `see` is called at each look, also if nothing has come since.
    pub fn new(run: &'a RunEntry, see: &'a mut dyn FnMut(&str) -> ControlFlow<()>) -> Self {
        Self { run, seen: 0, see }
    }
}

impl Waiting for RunnerLog<'_> {
    type Answer = Followed;

    fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<Followed>, Error> {
        let reader = RunReader::open(&self.run.dir).map_err(Error::record)?;
        // As with rows; a holder that has yet to open its session, or to tell how it ended, still writes.
        let is_over = reader.holder().is_none();
        let mut log = reader.log_from(self.seen).map_err(Error::record)?;
        if !is_over {
            let end = log.iter().rposition(|byte| *byte == b'\n');
            log.truncate(end.map_or(0, |at| at + 1));
        }
        self.seen += log.len() as u64;
        if (self.see)(&String::from_utf8_lossy(&log)).is_break() {
            return Ok(Some(Followed::NoLonger));
        }
        Ok(is_over.then_some(Followed::ToItsEnd))
    }
}
