//! A lane: one provider's way through the plan, and what bounds how fast it is travelled.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
};

use super::{pacer::Pacer, reserve::Reserve};
use crate::{
    model::{ProviderId, TrialId},
    plugin::Moment,
    record::State,
    scenario::{Provider, Rate, Test},
};

/// One provider's pending trials in the plan's order, those that are begun again first.
pub(in crate::run) struct Lane {
    rules: LaneRules,
    tests: Tests,
    held: Arc<HashSet<u64>>,
    cursor: Cursor,
    /// The cursor's trial, read.
    next: Option<Trial>,
    /// Trials that are begun before all that are pending.
    due: VecDeque<Trial>,
    /// Whether it begins nothing more.
    is_closed: bool,
    /// How many of its attempts are assigned and not answered.
    running: usize,
    pacer: Option<Pacer>,
    reserve: Reserve,
}

/// Whose lane it is, and what bounds it.
pub(in crate::run) struct LaneRules {
    /// The provider's place in the scenario.
    pub(in crate::run) provider: usize,
    /// The provider's name.
    pub(in crate::run) id: ProviderId,
    /// How many attempts run at once.
    pub(in crate::run) concurrency: Option<usize>,
    /// How many attempts may start in which time.
    pub(in crate::run) rate: Option<Rate>,
    /// What each of its attempts may take, in bytes.
    pub(in crate::run) memory: u64,
    /// Whether their instances are kept.
    pub(in crate::run) keeps_instances: bool,
}

/// Where a lane reads the plan's tests.
pub(in crate::run) struct Tests {
    /// Finds the test in a place.
    pub(in crate::run) read: Box<dyn FnMut(u64) -> io::Result<Arc<Test>>>,
    /// The first in which something is pending.
    pub(in crate::run) first: u64,
    /// How many there are.
    pub(in crate::run) count: u64,
}

/// A trial that is to be attempted.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) ordinal: u64,
    pub(super) test: Arc<Test>,
    pub(super) repeat: u32,
    /// How many attempts this session has made of it.
    pub(super) tries: u32,
    /// When all its attempts must have ended; known once one was made.
    pub(super) ends: Option<Moment>,
}

impl Trial {
    /// The same before the attempt that was made last: it uses no retry up.
    pub(super) fn untried(self) -> Self {
        Self {
            tries: self.tries - 1,
            ..self
        }
    }
}

/// Where a lane looks for its next pending trial.
#[derive(Default)]
struct Cursor {
    test: u64,
    /// Repeats of that test that are behind the cursor.
    repeats: u32,
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
    /// Begins at the first of `tests`. Trials that are `held` come only when they are put back by [`Lane::put_first`].
    pub(in crate::run) fn new(rules: LaneRules, tests: Tests, held: Arc<HashSet<u64>>) -> Self {
        Self {
            pacer: rules.rate.map(Pacer::new),
            reserve: Reserve::new(rules.memory, rules.keeps_instances),
            rules,
            cursor: Cursor {
                test: tests.first,
                repeats: 0,
            },
            tests,
            held,
            next: None,
            due: VecDeque::new(),
            is_closed: false,
            running: 0,
        }
    }

    /// The lane of the grader in this place, which has what is put into it. At most so many of its attempts run at once, and
    /// each may take so much memory.
    pub(in crate::run) fn of_grader(
        place: usize,
        grader: &Provider,
        concurrency: usize,
        memory: u64,
    ) -> Self {
        let rules = LaneRules {
            provider: place,
            id: grader.id.clone(),
            concurrency: Some(concurrency),
            rate: grader.rate,
            memory,
            keeps_instances: false,
        };
        let tests = Tests {
            read: Box::new(|_| Err(io::ErrorKind::NotFound.into())),
            first: 0,
            count: 0,
        };
        Self::new(rules, tests, Arc::default())
    }

    /// Makes the id of one of the provider's trials.
    pub(super) fn id_of(&self, trial: &Trial) -> TrialId {
        TrialId {
            test: trial.test.id.clone(),
            provider: self.rules.id.clone(),
            repeat: trial.repeat,
        }
    }

    /// The provider's place in the scenario.
    pub(super) fn provider(&self) -> usize {
        self.rules.provider
    }

    /// What each of its attempts may take, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.rules.memory
    }

    /// What is reserved for its next attempt, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.reserve.each()
    }

    /// Notes what one of its attempts has held at most, in bytes.
    pub(super) fn measure(&mut self, peak: u64) {
        self.reserve.measure(peak);
    }

    /// Tells whether attempts may be assigned before an executor is free for them.
    pub(super) fn is_unbounded(&self) -> bool {
        self.rules.concurrency.is_none() && (self.pacer.is_none() || self.is_fast())
    }

    /// Tells whether its attempts are assigned some at a time, as its rate asks for.
    pub(super) fn is_fast(&self) -> bool {
        self.pacer.as_ref().is_some_and(Pacer::is_fast)
    }

    /// Looks whether an attempt can start `now`, of a trial that does not avoid whoever would make it.
    pub(super) fn readiness(
        &mut self,
        state: &State,
        now: Moment,
        avoids: impl Fn(u64) -> bool,
    ) -> io::Result<Readiness> {
        let Some(ordinal) = self.next_of(state, avoids)? else {
            return Ok(Readiness::Blocked);
        };
        if self
            .rules
            .concurrency
            .is_some_and(|most| self.running >= most)
        {
            return Ok(Readiness::Blocked);
        }
        Ok(match self.wait_until(now) {
            Some(then) => Readiness::At(then),
            None => Readiness::Ready(ordinal),
        })
    }

    /// Until when no other attempt may start, if it has to wait for its rate.
    pub(super) fn wait_until(&self, now: Moment) -> Option<Moment> {
        self.pacer.as_ref().and_then(|pacer| pacer.wait_until(now))
    }

    /// Takes the trial that [`Lane::readiness`] found; an attempt of it begins.
    pub(super) fn take(&mut self, ordinal: u64, now: Moment) -> Trial {
        if let Some(pacer) = &mut self.pacer {
            pacer.start(now);
        }
        self.running += 1;
        let mut due = self.due.iter();
        let place = due.position(|trial| trial.ordinal == ordinal);
        let trial = place.and_then(|place| self.due.remove(place));
        let mut trial = trial.unwrap_or_else(|| self.take_pending());
        trial.tries += 1;
        trial
    }

    /// Notes that one of its attempts was answered or given back.
    pub(super) fn release(&mut self) {
        self.running -= 1;
    }

    /// Puts a trial before all that are pending.
    pub(super) fn put_first(&mut self, trial: Trial) {
        self.due.push_back(trial);
    }

    /// Lets it begin nothing more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Tells whether it begins nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The provider's name.
    pub(super) fn name(&self) -> &str {
        self.rules.id.as_str()
    }

    /// Tells whether it has trials that nobody has begun, or some that are due.
    pub(super) fn has_more(&mut self, state: &State) -> io::Result<bool> {
        Ok(self.next_ordinal(state)?.is_some())
    }

    /// The place in the plan of the trial that it begins next.
    pub(super) fn next_ordinal(&mut self, state: &State) -> io::Result<Option<u64>> {
        self.next_of(state, |_| false)
    }

    /// The same of those that do not avoid whoever would make the attempt. Only trials that are due do.
    fn next_of(&mut self, state: &State, avoids: impl Fn(u64) -> bool) -> io::Result<Option<u64>> {
        if self.is_closed {
            return Ok(None);
        }
        let mut due = self.due.iter().map(|trial| trial.ordinal);
        if let Some(ordinal) = due.find(|ordinal| !avoids(*ordinal)) {
            return Ok(Some(ordinal));
        }
        while self.next.is_none() && self.cursor.test < self.tests.count {
            let test = (self.tests.read)(self.cursor.test)?;
            let is_pending =
                |ordinal: u64| state.is_pending(ordinal) && !self.held.contains(&ordinal);
            let pending = self
                .cursor
                .pending_of(&test, self.rules.provider, is_pending);
            match pending {
                Some((ordinal, repeat)) => {
                    self.next = Some(Trial {
                        ordinal,
                        test,
                        repeat,
                        tries: 0,
                        ends: None,
                    });
                }
                None => self.cursor.next_test(),
            }
        }
        Ok(self.next.as_ref().map(|pending| pending.ordinal))
    }

    fn take_pending(&mut self) -> Trial {
        let pending = self.next.take().expect("a lane that is ready has a trial");
        self.cursor.repeats = pending.repeat;
        pending
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
        let first = test.first_ordinal + place * test.repeats.count();
        let behind = test.repeats.behind(self.repeats);
        behind
            .map(|(nth, repeat)| (first + nth, repeat))
            .find(|(ordinal, _)| is_pending(*ordinal))
    }

    fn next_test(&mut self) {
        *self = Self {
            test: self.test + 1,
            repeats: 0,
        };
    }
}
