//! A lane: one provider's way through the plan, and what bounds how fast it is travelled.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use super::{executor::Task, plan::PlannedProvider};
use crate::{
    model::{ProviderId, TrialId},
    plugin::Moment,
    record::State,
    scenario::{Rate, Suite, SuiteReader, Test},
};

/// One provider's pending trials in the plan's order, retries first.
pub(super) struct Lane {
    provider: usize,
    id: ProviderId,
    reader: SuiteReader,
    test_count: u64,
    held: Arc<HashSet<u64>>,
    cursor: Cursor,
    /// The cursor's trial, read.
    next: Option<Pending>,
    /// Retries whose backoff has passed.
    due: VecDeque<Retry>,
    /// How many of its attempts are assigned and not answered.
    running: usize,
    concurrency: Option<usize>,
    pacer: Option<Pacer>,
    /// What each of its attempts may take, in bytes.
    pub(super) memory: u64,
}

/// A trial that is to be attempted again.
pub(super) struct Retry {
    pub(super) ordinal: u64,
    pub(super) test: Arc<Test>,
    pub(super) repeat: u32,
    /// How many attempts this session has made of it.
    pub(super) tries: u32,
    pub(super) trial_ends: Option<Moment>,
}

/// A trial that nobody has begun.
struct Pending {
    ordinal: u64,
    test: Arc<Test>,
    repeat: u32,
}

/// Where a lane looks for its next pending trial.
#[derive(Default)]
struct Cursor {
    test: u64,
    /// Repeats of that test that are behind the cursor.
    repeats: u32,
}

/// Spaces the starts of attempts evenly.
struct Pacer {
    gap: Duration,
    next: Option<Moment>,
}

/// Whether a lane can start an attempt.
pub(super) enum Readiness {
    /// It can, and its next trial has this ordinal.
    Ready(u64),
    /// Not before then.
    At(Moment),
    /// Not before one of its attempts ends, or never again.
    Blocked,
}

impl Lane {
    /// Begins at the plan's first trial on the scenario's provider at `index`.
    ///
    /// Tests before the `first_test` have nothing pending. Trials that are `held` come only when they are put back by [`Lane::retry`].
    pub(super) fn new(
        index: usize,
        provider: &PlannedProvider,
        suite: &Suite,
        held: Arc<HashSet<u64>>,
        first_test: u64,
    ) -> Self {
        let definition = &provider.definition;
        Self {
            provider: index,
            id: definition.id.clone(),
            reader: suite.reader(),
            test_count: suite.test_count(),
            held,
            cursor: Cursor {
                test: first_test,
                repeats: 0,
            },
            next: None,
            due: VecDeque::new(),
            running: 0,
            concurrency: definition.concurrency.map(Into::into),
            pacer: definition.rate.map(Pacer::new),
            memory: provider.limits.memory,
        }
    }

    /// Makes the id of one of the provider's trials.
    pub(super) fn trial(&self, test: &Test, repeat: u32) -> TrialId {
        TrialId {
            test: test.id.clone(),
            provider: self.id.clone(),
            repeat,
        }
    }

    /// The provider's place in the scenario.
    pub(super) fn provider(&self) -> usize {
        self.provider
    }

    /// Tells whether attempts may be assigned before an executor is free for them.
    pub(super) fn is_unbounded(&self) -> bool {
        self.concurrency.is_none() && self.pacer.is_none()
    }

    /// Looks whether an attempt can start `now`.
    pub(super) fn readiness(&mut self, state: &State, now: Moment) -> io::Result<Readiness> {
        let Some(ordinal) = self.next_ordinal(state)? else {
            return Ok(Readiness::Blocked);
        };
        if self.concurrency.is_some_and(|most| self.running >= most) {
            return Ok(Readiness::Blocked);
        }
        Ok(
            match self.pacer.as_ref().and_then(|pacer| pacer.wait_until(now)) {
                Some(then) => Readiness::At(then),
                None => Readiness::Ready(ordinal),
            },
        )
    }

    /// Takes the trial that [`Lane::readiness`] found and begins its next attempt.
    pub(super) fn take(&mut self, state: &mut State, now: Moment) -> Task {
        if let Some(pacer) = &mut self.pacer {
            pacer.start(now);
        }
        self.running += 1;
        let retry = self.due.pop_front().unwrap_or_else(|| self.take_pending());
        let trial = self.trial(&retry.test, retry.repeat);
        Task {
            ordinal: retry.ordinal,
            number: state.assign(retry.ordinal),
            provider: self.provider,
            trial_text: trial.to_string().into(),
            trial,
            test: retry.test,
            tries: retry.tries + 1,
            trial_ends: retry.trial_ends,
        }
    }

    /// Notes that one of its attempts was answered or taken back.
    pub(super) fn release(&mut self) {
        self.running -= 1;
    }

    /// Puts a trial before all that are pending.
    pub(super) fn retry(&mut self, retry: Retry) {
        self.due.push_back(retry);
    }

    /// Tells whether it has trials that nobody has begun, or retries that are due.
    pub(super) fn has_more(&mut self, state: &State) -> io::Result<bool> {
        Ok(self.next_ordinal(state)?.is_some())
    }

    fn next_ordinal(&mut self, state: &State) -> io::Result<Option<u64>> {
        if let Some(retry) = self.due.front() {
            return Ok(Some(retry.ordinal));
        }
        while self.next.is_none() && self.cursor.test < self.test_count {
            let test = self.reader.test(self.cursor.test)?;
            let is_pending =
                |ordinal: u64| state.is_pending(ordinal) && !self.held.contains(&ordinal);
            match self.cursor.pending_of(&test, self.provider, is_pending) {
                Some((ordinal, repeat)) => {
                    self.next = Some(Pending {
                        ordinal,
                        test,
                        repeat,
                    });
                }
                None => self.cursor.next_test(),
            }
        }
        Ok(self.next.as_ref().map(|pending| pending.ordinal))
    }

    fn take_pending(&mut self) -> Retry {
        let pending = self.next.take().expect("a lane that is ready has a trial");
        self.cursor.repeats = pending.repeat;
        Retry {
            ordinal: pending.ordinal,
            test: pending.test,
            repeat: pending.repeat,
            tries: 0,
            trial_ends: None,
        }
    }
}

impl Cursor {
    /// The next pending trial of `test` on `provider`, with its ordinal and repeat.
    fn pending_of(
        &self,
        test: &Test,
        provider: usize,
        is_pending: impl Fn(u64) -> bool,
    ) -> Option<(u64, u32)> {
        let place = test.providers.iter().position(|index| index == provider)? as u64;
        let first = test.first_ordinal + place * u64::from(test.repeat);
        (self.repeats + 1..=test.repeat)
            .map(|repeat| (first + u64::from(repeat - 1), repeat))
            .find(|(ordinal, _)| is_pending(*ordinal))
    }

    fn next_test(&mut self) {
        *self = Self {
            test: self.test + 1,
            repeats: 0,
        };
    }
}

impl Pacer {
    fn new(rate: Rate) -> Self {
        Self {
            gap: rate.per / rate.count,
            next: None,
        }
    }

    fn wait_until(&self, now: Moment) -> Option<Moment> {
        self.next.filter(|next| *next > now)
    }

    fn start(&mut self, now: Moment) {
        let planned = self.next.unwrap_or(now);
        // A late start does not shorten the gap to the one after it: bursts are what a rate forbids.
        self.next = Some(planned.max(now) + self.gap);
    }
}
