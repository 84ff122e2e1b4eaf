//! [`Tally`]: what a summary says, gathered row by row.

use std::{collections::BTreeMap, time::Duration};

use super::{denials::Denials, failure, histogram::Histogram};
use crate::{
    model::{Counts, Outcome},
    record::{LineError, Row, RunReader, State},
};

/// How many failures a summary tells in full.
const MAX_FAILURES: usize = 10;

/// What the rows of a run came to, by provider.
#[derive(Default)]
pub struct Tally {
    pub(super) providers: BTreeMap<String, ProviderTally>,
    /// The first failures.
    pub(super) failures: Vec<Failure>,
    /// What providers tried and were not granted.
    pub(super) denied: Denials,
}

/// A trial that ended badly.
pub(super) struct Failure {
    /// The session that it ended in.
    pub(super) session: u32,
    /// What is said of it.
    pub(super) lines: String,
}

/// What one provider's trials came to.
#[derive(Default)]
pub(super) struct ProviderTally {
    pub(super) counts: Counts,
    pub(super) durations: Histogram,
}

impl Tally {
    /// Gathers the current rows of a run: of each trial the one that settles it now. `visit` sees every row, and whether
    /// it is one of these.
    pub fn of_run(
        reader: &RunReader,
        state: &State,
        mut visit: impl FnMut(Row<'static>, bool),
        mut damaged: impl FnMut(&LineError),
    ) -> Self {
        let mut tally = Self::default();
        for row in reader.rows() {
            match row {
                Ok(row) => {
                    let class = row.error.as_ref().and_then(|error| error.class);
                    let denied = &mut tally.denied;
                    denied.add(&row.provider, &row.denied, row.outcome, class);
                    let is_current = state.outcome(row.ordinal).is_some()
                        && state.attempts(row.ordinal) == row.attempt;
                    if is_current {
                        tally.add(&row);
                    }
                    visit(row, is_current);
                }
                Err(error) => damaged(&error),
            }
        }
        tally
    }

    /// How many trials came to what, together.
    pub(super) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for provider in self.providers.values() {
            all += provider.counts;
        }
        all.planned = all.done();
        all
    }

    /// Adds a final row's essentials.
    pub(super) fn count(
        &mut self,
        provider: &str,
        outcome: Outcome,
        is_flaky: bool,
        duration: Duration,
    ) {
        if !self.providers.contains_key(provider) {
            self.providers
                .insert(provider.into(), ProviderTally::default());
        }
        if let Some(tally) = self.providers.get_mut(provider) {
            tally.counts.add(outcome, is_flaky);
            tally.durations.add(duration);
        }
    }

    /// Keeps a failure's lines, unless enough are kept.
    pub(super) fn keep_failure(&mut self, row: &Row<'_>) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                session: row.session,
                lines: failure::lines(row),
            });
        }
    }

    /// Adds a row as it was read back.
    fn add(&mut self, row: &Row<'_>) {
        if !row.is_final {
            return;
        }
        let duration = Duration::from_secs_f64(row.duration_ms.max(0.0) / 1e3);
        self.count(&row.provider, row.outcome, row.is_flaky, duration);
        if row.outcome.is_bad() {
            self.keep_failure(row);
        }
    }
}
