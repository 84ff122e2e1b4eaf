//! [`attempt_logs`]: what guests have said in their attempts.

use std::{collections::HashSet, vec};

use globset::GlobMatcher;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::{
    error::{Error, ExitStatus},
    filter,
    record::{self, AttemptKey, LineError, LiveSaid, NamedRows, RunEntry, RunReader},
    view::SpokenAttempt,
};

/// What was said in attempts, one by one, because it may be too much to be held: of those that have ended in the order of
/// their rows, then of those that go on.
pub struct AttemptLogs<D> {
    reader: RunReader,
    rows: NamedRows,
    wanted: GlobMatcher,
    /// Found before, so that it is known that there is one.
    first: Option<SpokenAttempt>,
    live: vec::IntoIter<LiveSaid>,
    /// Which attempts that went on have ended meanwhile.
    ended: HashSet<AttemptKey>,
    damaged: D,
}

/// Finds what was said in the attempts of a run whose trial's id or test's id matches `glob`; `damaged` hears of lines that
/// give no row, and of attempts of which it cannot be read any more.
///
/// # Errors
///
/// Fails if no attempt is meant, or if the run cannot be read.
pub fn attempt_logs<D: FnMut(&dyn std::error::Error)>(
    run: &RunEntry,
    glob: &str,
    damaged: D,
) -> Result<AttemptLogs<D>, Error> {
    let wanted = filter::glob(glob)
        .into_diagnostic()
        .wrap_err("the trial is not a valid glob")
        .map_err(Error::usage)?
        .compile_matcher();
    let reader = RunReader::open(&run.dir).map_err(Error::record)?;
    // Before the rows: one that ends meanwhile has one.
    let mut live = reader.live_said();
    live.retain(|live| record::is_meant(&wanted, &live.trial));
    let mut logs = AttemptLogs {
        rows: reader.named_rows(),
        reader,
        wanted,
        first: None,
        live: live.into_iter(),
        ended: HashSet::new(),
        damaged,
    };
    logs.first = logs.next().transpose()?;
    if logs.first.is_none() {
        return Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!(
                help = "`runner logs RUN` prints all rows; a trial is `test@provider#repeat`, a test's id or a glob over either",
                "no attempt of `{glob}` has ended or said anything in run `{}`",
                run.id
            ),
        });
    }
    Ok(logs)
}

impl<D: FnMut(&dyn std::error::Error)> Iterator for AttemptLogs<D> {
    type Item = Result<SpokenAttempt, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let wanted = &self.wanted;
        while let Some(row) = self.rows.next_of(|trial| record::is_meant(wanted, trial)) {
            match row {
                Ok(row) => {
                    let key = row.mark().key;
                    if self.live.as_slice().iter().any(|live| live.key == key) {
                        self.ended.insert(key);
                    }
                    let said = self.reader.said(&row).unwrap_or_else(|error| {
                        (self.damaged)(&error);
                        Default::default()
                    });
                    return Some(Ok(SpokenAttempt::new(row, said)));
                }
                Err(error @ LineError::Damaged { .. }) => (self.damaged)(&error),
                Err(error) => return Some(Err(Error::storage(miette::Report::from_err(error)))),
            }
        }
        let live = self.live.find(|live| !self.ended.contains(&live.key))?;
        Some(Ok(SpokenAttempt::of_live(live)))
    }
}
