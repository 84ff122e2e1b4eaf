//! [`Search`]: finds trials by the texts of their rows on disk.

use std::{ops::Range, panic::resume_unwind, thread, time::Instant};

use runner_model::row::LineTexts;
use runner_record::RecordError;
use runner_scenario::Filter;

use crate::{RunTable, row_filter};

/// Rows that are read between two looks at the clock.
const BETWEEN_LOOKS: usize = 1024;

/// A search in the rows of a run.
pub(crate) struct Search<'s> {
    pub(crate) table: &'s RunTable,
    pub(crate) filter: &'s Filter,
    /// A trial matches if its id has the text.
    pub(crate) is_text: bool,
    pub(crate) until: Instant,
}

/// Places of matching trials in the plan, and whether the time was over before all rows were read.
type Found = (Vec<u32>, bool);

impl Search<'_> {
    /// Searches rows on two threads: their numbers, in the order of the file, and the places of their trials.
    pub(crate) fn places(&self, rows: &[(u32, u32)]) -> Result<Found, RecordError> {
        let (first, second) = rows.split_at(rows.len() / 2);
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, || self.part(second));
            let (mut places, is_cut) = self.part(first)?;
            // The thread could not be started.
            let second = thread.map_or_else(
                |_| self.part(second),
                |thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            );
            let (more, is_also_cut) = second?;
            places.extend(more);
            Ok((places, is_cut || is_also_cut))
        })
    }

    fn part(&self, rows: &[(u32, u32)]) -> Result<Found, RecordError> {
        let filter = row_filter(self.table.run(), self.filter)?;
        let pattern = self.filter.line_pattern();
        if rows.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut places = Vec::new();
        let mut failed = Ok(());
        let mut read = 0;
        let is_in_time =
            |(count, _): &(usize, _)| count % BETWEEN_LOOKS != 0 || Instant::now() < self.until;
        let in_time = rows.iter().enumerate().take_while(is_in_time);
        let lines = in_time.map(|(_, (row, _))| self.table.place(*row));
        self.table.run().rows_at(lines, &mut |line| {
            let (number, place) = rows[read];
            read += 1;
            let mut is_match = || match self.table.parse(number, line) {
                Ok(row) => row.is_some_and(|row| filter.matches(&row)),
                Err(error) => {
                    failed = Err(error);
                    false
                }
            };
            let is_match = match (&pattern, LineTexts::of(line)) {
                (Some(pattern), Some(texts)) => {
                    let is_in_id = pattern.is_match(texts.trial);
                    let range = pattern.find(texts.rest).map(|range| range.range());
                    let range = range.filter(|range| !texts.is_in_tail(range.start));
                    let is_sure = |range: &Range<usize>| is_in_output(&texts, range);
                    // Parsing takes ten times as long.
                    self.is_text && (is_in_id || range.as_ref().is_some_and(is_sure))
                        || (is_in_id || range.is_some()) && is_match()
                }
                _ => is_match(),
            };
            if is_match {
                places.push(place);
            }
        })?;
        failed?;
        filter.finish()?;
        Ok((places, read < rows.len()))
    }
}

/// Returns whether a part of a line is certainly in the output's text and not in an escape sequence, which has up to 6 bytes.
fn is_in_output(texts: &LineTexts<'_>, part: &Range<usize>) -> bool {
    !texts.rest[part.start.saturating_sub(5)..part.start].contains(&b'\\')
        && texts.output().is_some_and(|output| part.end <= output.len())
}
