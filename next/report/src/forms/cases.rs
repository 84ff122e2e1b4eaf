//! [`Cases`]: the trials of a run in the order of its plan, also those without a result.

use std::io;

use runner_model::{Counts, Outcome, Places as _, RowRef, TrialId};
use runner_record::{ReadLine, RecordError};
use runner_scenario::Suite;

use super::error::FormError;
use crate::rows::{Line, Rows, Which};
use crate::{RunDocument, commands::verify};

/// Bits of a trial's place in [`Part::key`].
const PLACE_BITS: u32 = 48;

/// The selected trials of a run, and the places of their rows. Uses 24 bytes per row.
pub(crate) struct Cases<'a> {
    rows: &'a Rows,
    /// `None` if it is damaged. Then trials without rows are unknown.
    suite: Option<Suite>,
    parts: Vec<Part>,
}

/// A row, or a trial without one.
#[derive(Clone, Copy)]
struct Part {
    /// The provider's index if cases are sorted by provider, then the trial's place in the plan.
    key: u64,
    /// First byte of the row.
    at: u64,
    /// Bytes of the row. 0 for a trial without one.
    bytes: u32,
    /// Outcome of a row that settles its trial.
    outcome: Option<Outcome>,
    flaky: bool,
}

/// A trial with its newest result.
pub(crate) struct Case<'a> {
    pub(crate) trial: TrialId,
    /// The row that settles the trial.
    pub(crate) result: Option<RowRef<'a>>,
    /// The newest row of a trial without a result.
    pub(crate) unsettled: Option<RowRef<'a>>,
    /// Attempts before the result, oldest first.
    pub(crate) retried: Vec<RowRef<'a>>,
}

/// Results of a provider's selected trials.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CaseCounts {
    pub(crate) counts: Counts,
    pub(crate) without_result: u64,
}

impl CaseCounts {
    pub(crate) fn trials(&self) -> u64 {
        self.counts.done() + self.without_result
    }
}

impl<'a> Cases<'a> {
    /// Reads the places of all rows. `by_provider` sorts by provider first.
    pub(crate) fn read(document: &'a RunDocument, by_provider: bool) -> Result<Self, RecordError> {
        let rows = &document.rows;
        let suite = verify::plan(&rows.run).ok().flatten();
        let providers = &document.manifest.providers;
        let key = |provider: usize, place: u64| match by_provider {
            true => (provider as u64) << PLACE_BITS | place,
            false => place,
        };
        let key_of = |trial: &TrialId| {
            let provider = providers.iter().position(|one| *one.name == *trial.provider)?;
            let place = match &suite {
                Some(suite) => suite.index(trial)?,
                None => rows.settled.number(trial)? as u64,
            };
            Some((key(provider, place), place))
        };
        let trials = suite.as_ref().filter(|_| matches!(rows.which, Which::All));
        let mut has_row = vec![false; trials.map_or(0, |suite| suite.trials() as usize)];
        let mut parts = Vec::with_capacity(document.manifest.counts.done() as usize);
        let mut add = |at: u64, line: &[u8], trial: &TrialId, seq: u64, is_final: bool| {
            let Some((key, place)) = key_of(trial) else { return };
            let newest = rows.settled.of(trial).filter(|newest| is_final && newest.seq == seq);
            let outcome = newest.map(|newest| newest.outcome);
            let flaky = newest.is_some_and(|newest| newest.flaky);
            parts.push(Part { key, at, bytes: line.len() as u32, outcome, flaky });
            if let Some(has_row) = has_row.get_mut(place as usize) {
                *has_row = true;
            }
        };
        match rows.which {
            Which::All => rows.run.rows(&mut |at, line| {
                if let ReadLine::Row(row, line) = line {
                    add(at, line, &row.trial, row.seq, row.r#final);
                }
            })?,
            _ => rows.each_at(|at, row, line| {
                add(at, line, &row.trial, row.seq.unwrap_or(0), row.r#final == Some(true));
            })?,
        }
        if let Some(suite) = trials {
            let missing = (0_u64..).zip(&has_row).filter(|(_, has_row)| !**has_row);
            parts.extend(missing.map(|(place, _)| {
                let key = key(usize::from(suite.trial(place).provider), place);
                Part { key, at: 0, bytes: 0, outcome: None, flaky: false }
            }));
        }
        parts.sort_unstable_by_key(|part| (part.key, part.at));
        Ok(Self { rows, suite, parts })
    }

    /// Returns the results of each provider, in the manifest's order, if the cases are sorted by provider. Else all are in the first.
    pub(crate) fn counts(&self, providers: usize) -> Vec<CaseCounts> {
        let mut all = vec![CaseCounts::default(); providers];
        for parts in self.parts.chunk_by(|one, other| one.key == other.key) {
            let of = &mut all[(parts[0].key >> PLACE_BITS) as usize];
            match parts.iter().rev().find_map(|part| Some((part.outcome?, part.flaky))) {
                Some((outcome, flaky)) => of.counts.add(outcome, flaky),
                None => of.without_result += 1,
            }
        }
        all
    }

    /// Calls `each` for every case in order, with its provider's index if cases are sorted by provider. The first error ends it.
    pub(crate) fn each(
        &self,
        mut each: impl FnMut(usize, &Case<'_>) -> io::Result<()>,
    ) -> Result<(), FormError> {
        let (mut parts, mut lines, mut written) = (self.parts.iter().peekable(), vec![], Ok(()));
        let mut add = |line: &[u8]| {
            let Some(part) = parts.next() else { return };
            lines.extend(Line::of(line).filter(|_| part.bytes > 0));
            if parts.peek().is_some_and(|next| next.key == part.key) {
                return;
            }
            if written.is_ok()
                && let Some(case) = self.case(part.key, &lines)
            {
                written = each((part.key >> PLACE_BITS) as usize, &case);
            }
            lines.clear();
        };
        if self.parts.iter().all(|part| part.bytes == 0) {
            self.parts.iter().for_each(|_| add(&[]));
        } else {
            let places = self.parts.iter().map(|part| (part.at, part.bytes as usize));
            self.rows.run.rows_at(places, &mut add)?;
        }
        Ok(written?)
    }

    fn case<'l>(&self, key: u64, lines: &'l [Line]) -> Option<Case<'l>> {
        let mut rows: Vec<_> = lines.iter().filter_map(Line::row).collect();
        let Some(last) = rows.last() else {
            let suite = self.suite.as_ref()?;
            let trial = suite.trial_id(key & ((1 << PLACE_BITS) - 1))?;
            return Some(Case { trial, result: None, unsettled: None, retried: Vec::new() });
        };
        let trial = last.trial.clone();
        let newest = self.rows.settled.of(&trial).map(|newest| newest.seq);
        let settles = |row: &RowRef<'_>| row.r#final == Some(true) && row.seq == newest;
        let Some(place) = rows.iter().rposition(settles) else {
            return Some(Case { trial, result: None, unsettled: rows.pop(), retried: Vec::new() });
        };
        rows.truncate(place + 1);
        let result = rows.pop()?;
        // Sessions may have made the same attempt again.
        rows.retain(|row| {
            row.outcome.is_bad() && row.r#final == Some(false) && row.attempt < result.attempt
        });
        rows.sort_by_key(|row| row.attempt);
        Some(Case { trial, result: Some(result), unsettled: None, retried: rows })
    }
}
