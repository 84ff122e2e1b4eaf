//! [`Tally`]: what the rows of a run came to, the same whether they are written or read back.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use super::denials::Denials;
use crate::{
    model::{Counts, ErrorClass, Histogram, Outcome},
    record::format::{
        entry::Entry,
        glance::RowGlance,
        row::{Row, RowDenied},
    },
};

/// What the rows of a run came to, by provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What each provider's trials came to, by its name.
    pub providers: BTreeMap<String, ProviderTally>,
    /// The first trials that ended badly, as far as somebody has kept them.
    pub failures: Vec<Row<'static>>,
    /// What providers tried and were not granted.
    pub denials: Denials,
}

/// What one provider's trials came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderTally {
    /// How many came to what.
    pub counts: Counts,
    /// How long the attempts took that settled them.
    pub durations: Histogram,
}

/// What of an attempt is tallied.
pub struct Tallied<'a> {
    provider: &'a str,
    outcome: Outcome,
    is_final: bool,
    is_flaky: bool,
    duration: Duration,
    class: Option<ErrorClass>,
    denied: Cow<'a, [RowDenied<'a>]>,
}

impl Row<'_> {
    /// How long the attempt took.
    pub fn duration(&self) -> Duration {
        duration(self.duration_ms)
    }
}

impl RowGlance {
    /// How long the attempt took.
    pub fn duration(&self) -> Duration {
        duration(self.duration_ms)
    }
}

/// To the microsecond, as it is written; what somebody else wrote may be anything.
fn duration(milliseconds: f64) -> Duration {
    Duration::from_micros((milliseconds * 1e3).round() as u64)
}

impl Tallied<'_> {
    /// What it settled its trial with, and whether the trial is flaky, if it did.
    pub(super) fn settled(&self) -> Option<(Outcome, bool)> {
        self.is_final.then_some((self.outcome, self.is_flaky))
    }
}

impl<'a> From<&'a Entry> for Tallied<'a> {
    fn from(entry: &'a Entry) -> Self {
        let attempt = &entry.attempt;
        Self {
            provider: attempt.trial.provider.as_str(),
            outcome: attempt.outcome,
            is_final: entry.is_final,
            is_flaky: entry.is_flaky,
            duration: attempt.duration,
            class: attempt.error.as_ref().and_then(|error| error.class),
            denied: attempt.denied.iter().map(RowDenied::new).collect(),
        }
    }
}

impl<'a> From<&'a Row<'_>> for Tallied<'a> {
    fn from(row: &'a Row<'_>) -> Self {
        Self {
            provider: &row.provider,
            outcome: row.outcome,
            is_final: row.is_final,
            is_flaky: row.is_flaky,
            duration: row.duration(),
            class: row.error.as_ref().and_then(|error| error.class),
            denied: Cow::Borrowed(&row.denied),
        }
    }
}

impl<'a> From<&'a RowGlance> for Tallied<'a> {
    fn from(row: &'a RowGlance) -> Self {
        Self {
            provider: row.provider(),
            outcome: row.outcome,
            is_final: row.is_final,
            is_flaky: row.is_flaky,
            duration: row.duration(),
            class: row.class(),
            denied: Cow::Borrowed(&row.denied),
        }
    }
}

impl Tally {
    /// How many failures a summary tells in full.
    pub(in crate::record) const MAX_FAILURES: usize = 10;

    /// Adds an attempt. It counts if it `settles` its trial: of a trial that was run again, only the last one does.
    pub fn add(&mut self, attempt: &Tallied<'_>, settles: bool) {
        self.deny(attempt);
        if settles {
            self.settle_with(attempt);
        }
    }

    /// Adds what a final attempt settles its trial with, if it is one.
    pub(in crate::record) fn settle_with(&mut self, attempt: &Tallied<'_>) {
        if let Some((outcome, is_flaky)) = attempt.settled() {
            let mut counts = Counts::default();
            counts.add(outcome, is_flaky);
            self.settle(attempt.provider, counts, attempt.duration);
        }
    }

    /// Adds only what was denied to an attempt.
    pub(in crate::record) fn deny(&mut self, attempt: &Tallied<'_>) {
        let Tallied {
            provider,
            outcome,
            class,
            ..
        } = *attempt;
        self.denials.add(provider, &attempt.denied, outcome, class);
    }

    /// Adds a trial that is settled.
    pub fn settle(&mut self, provider: &str, counts: Counts, duration: Duration) {
        if !self.providers.contains_key(provider) {
            self.providers
                .insert(provider.to_owned(), ProviderTally::default());
        }
        if let Some(tally) = self.providers.get_mut(provider) {
            tally.counts += counts;
            tally.durations.add(duration);
        }
    }

    /// Adds a trial that is settled by what graders have said of this row, of which everything else was added before.
    pub fn settle_by(&mut self, row: &Row<'_>) {
        let mut counts = Counts::default();
        counts.add(row.outcome, row.is_flaky);
        self.settle(&row.provider, counts, row.duration());
    }

    /// Keeps a trial that ended badly, unless enough are kept.
    pub fn keep_failure(&mut self, row: &Row<'static>) {
        if self.failures.len() < Self::MAX_FAILURES {
            self.failures.push(row.clone());
        }
    }

    /// How many trials came to what, together.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for provider in self.providers.values() {
            all += provider.counts;
        }
        all.planned = all.done();
        all
    }
}
