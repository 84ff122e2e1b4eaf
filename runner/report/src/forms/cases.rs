//! [`Cases`]: the trials of a run in the order of its plan, also those without a result. [`FormError`].

use std::{collections::HashSet, fmt, io, mem};

use runner_model::{Counts, Places as _, RowRef, TrialId};
use runner_record::RecordError;
use runner_scenario::Suite;

use crate::failures::Failures;
use crate::results::Final;
use crate::rows::{Line, RowSelection, Rows};
use crate::{RunDocument, stored_tests};

/// Number of a trial without rows.
const NO_NUMBER: u32 = u32::MAX;

/// The selected trials of a run. Uses 12 bytes per trial.
pub(crate) struct Cases<'a> {
    rows: &'a Rows,
    /// `None` if it is damaged. Then trials without rows are unknown.
    pub(crate) suite: Option<Suite>,
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
struct Part {
    /// Index of the provider.
    provider: u16,
    /// Index of the trial in the plan, if the suite is known.
    place: u32,
    /// Number of the trial in [`Settled`](crate::rows::Settled), or [`NO_NUMBER`].
    number: u32,
}

/// A trial with its newest result.
pub(crate) struct Case<'a> {
    pub(crate) trial: TrialId,
    /// The row that settles the trial.
    pub(crate) result: Option<RowRef<'a>>,
    /// The newest row of a trial without a result.
    pub(crate) unsettled: Option<RowRef<'a>>,
    /// Bad attempts before the result, oldest first.
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
    /// Finds the trials. `by_provider` sorts by provider first.
    pub(crate) fn read(document: &'a RunDocument, by_provider: bool) -> Result<Self, RecordError> {
        let rows = &document.rows;
        let selected = match rows.which {
            RowSelection::All => None,
            _ => {
                let mut selected = HashSet::new();
                rows.each(|row, _| selected.extend(rows.settled.number(&row.trial)))?;
                Some(selected)
            }
        };
        let is_selected = |number: &u32| {
            selected.as_ref().is_none_or(|selected| selected.contains(&(*number as usize)))
        };
        let suite = stored_tests::plan(&rows.run);
        let mut parts = Vec::new();
        if let Some(suite) = &suite {
            parts.reserve_exact(suite.trials() as usize);
            for place in 0..suite.trials() {
                let number = suite.trial_id(place).and_then(|trial| rows.settled.number(&trial));
                let number = number.map_or(NO_NUMBER, |number| number as u32);
                if is_selected(&number) {
                    let provider = suite.trial(place).provider;
                    parts.push(Part { provider, place: place as u32, number });
                }
            }
        } else {
            for number in (0..rows.settled.numbers() as u32).filter(is_selected) {
                if let Some(newest) = rows.settled.newest(number as usize) {
                    parts.push(Part { provider: newest.provider, place: 0, number });
                }
            }
        }
        if by_provider {
            parts.sort_by_key(|part| part.provider);
        }
        Ok(Self { rows, suite, parts })
    }

    /// Groups the trials that failed, also with an error or a timeout.
    pub(crate) fn failures(mut self) -> Result<Failures, FormError> {
        let mut parts = mem::take(&mut self.parts);
        parts.retain(|part| self.result(*part).is_some_and(|result| result.outcome.is_bad()));
        let (failed, mut failures, mut place) = (Self { parts, ..self }, Failures::default(), 0);
        failed.each(|_, case| {
            place += 1;
            case.result.iter().for_each(|row| failures.add(row, place));
            Ok(())
        })?;
        Ok(failures)
    }

    /// Returns the result of a trial. `None` without one.
    fn result(&self, part: Part) -> Option<Final> {
        let newest = self.rows.settled.newest(part.number as usize);
        newest.filter(|newest| newest.outcome.can_be_final())
    }

    /// Returns the results of each provider, in the manifest's order.
    pub(crate) fn counts(&self, providers: usize) -> Vec<CaseCounts> {
        let mut all = vec![CaseCounts::default(); providers];
        for part in &self.parts {
            let Some(of) = all.get_mut(usize::from(part.provider)) else { continue };
            match self.result(*part) {
                Some(newest) => of.counts.add(newest.outcome, newest.flaky),
                None => of.without_result += 1,
            }
        }
        all
    }

    /// Calls `each` for every case in order, with its provider's index. The first error ends it.
    pub(crate) fn each(
        &self,
        mut each: impl FnMut(usize, &Case<'_>) -> io::Result<()>,
    ) -> Result<(), FormError> {
        // The lines of each case, the newest row last. A trial without it has an empty line.
        let steps = || {
            self.parts.iter().flat_map(|part| {
                let number = part.number as usize;
                let others = self.rows.settled.unsettling(number).iter().map(|at| (*at, false));
                let newest = self.rows.settled.newest(number);
                let last = newest.map_or((0, 0), |newest| (newest.at, newest.bytes as usize));
                others.chain([(last, true)]).map(|step| (*part, step))
            })
        };
        let (mut next, mut lines, mut written) = (steps(), Vec::new(), Ok(()));
        let mut add = |line: &[u8]| {
            let Some((part, (_, is_last))) = next.next() else { return };
            lines.extend(Line::of(line).filter(|_| !line.is_empty()));
            if !is_last {
                return;
            }
            if written.is_ok()
                && let Some(case) = self.case(part, &lines)
            {
                written = each(part.provider.into(), &case);
            }
            lines.clear();
        };
        // A run without rows may have no file of rows.
        if self.rows.settled.numbers() == 0 {
            steps().for_each(|_| add(&[]));
        } else {
            self.rows.run.rows_at(steps().map(|(_, (place, _))| place), &mut add)?;
        }
        Ok(written?)
    }

    fn case<'l>(&self, part: Part, lines: &'l [Line]) -> Option<Case<'l>> {
        let mut retried: Vec<_> = lines.iter().filter_map(Line::row).collect();
        let newest = retried.pop();
        let trial = match &newest {
            Some(row) => row.trial.clone(),
            None => self.suite.as_ref()?.trial_id(part.place.into())?,
        };
        let has_result = self.result(part).is_some();
        let (result, unsettled) = if has_result { (newest, None) } else { (None, newest) };
        // Sessions may have made the same attempt again.
        let is_before = |row: &RowRef<'_>| {
            row.outcome.is_bad()
                && result.as_ref().is_some_and(|result| row.attempt < result.attempt)
        };
        retried.retain(is_before);
        retried.sort_by_key(|row| row.attempt);
        Some(Case { trial, result, unsettled, retried })
    }
}

/// An error of a report that is written.
#[derive(Debug)]
pub enum FormError {
    /// The run cannot be read.
    Record(RecordError),
    /// The report cannot be written.
    Io(io::Error),
}

impl From<RecordError> for FormError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<io::Error> for FormError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(formatter),
            Self::Io(error) => error.fmt(formatter),
        }
    }
}
