//! One lane a provider: its way through the plan, what is due again, and how many of its attempts are in flight.

use std::collections::{BTreeMap, HashMap};

use runner_model::RunTime;

use super::{Pending, Trials};

/// A trial without a final row that has left its lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenTrial {
    /// Its index in the plan.
    pub(super) index: u64,
    /// Its provider.
    pub(super) lane: u16,
    /// Attempts that its rows have.
    pub(super) attempts: u32,
    /// Attempts of this session that its retries count.
    pub(super) tries: u32,
    /// Whether an attempt did not pass, in any session.
    pub(super) had_bad: bool,
    /// When its first attempt of this session began.
    pub(super) began: Option<RunTime>,
    /// For a suspect: how many workers have died while they ran it alone.
    pub(super) suspect: Option<u8>,
}

/// The lanes of all providers, by provider.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    trials: T,
    states: States,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    /// How many of its attempts may be in flight, if that is bounded.
    concurrency: Option<u32>,
    in_flight: u32,
    /// Trials that come before all that are pending.
    due: BTreeMap<u64, OpenTrial>,
    /// The next pending trial.
    next: Option<OpenTrial>,
}

/// What a session has to do when it begins: one byte a trial.
#[derive(Debug)]
struct States {
    bytes: Vec<u8>,
    /// Attempts of trials that have more of them than a byte can tell.
    many: HashMap<u64, u32>,
}

const PENDING: u8 = 0x80;
const HAD_BAD: u8 = 0x40;
/// The bits of a byte that count attempts, if those are enough.
const ATTEMPTS: u8 = 0x3f;

impl<T: Trials> Lanes<T> {
    /// A lane for each entry of `concurrency`, which says how many of its attempts may be in flight.
    pub(super) fn new(
        trials: T,
        concurrency: impl Iterator<Item = Option<u32>>,
        pending: impl FnMut(u64) -> Option<Pending>,
    ) -> Self {
        let states = States::new(trials.count(), pending);
        let lanes = (0..).zip(concurrency).map(|(provider, concurrency)| Lane {
            concurrency,
            next: states.next(&trials, provider, 0),
            ..Lane::default()
        });
        Self {
            lanes: lanes.collect(),
            trials,
            states,
        }
    }

    /// How many trials are pending. Only true before any was taken.
    pub(super) fn pending(&self) -> u64 {
        self.states.bytes.iter().filter(|byte| **byte != 0).count() as u64
    }

    /// Of the lanes that may start an attempt, the one whose next trial comes first in the plan, and whether it is bounded;
    /// if asked, only of those that are not.
    pub(super) fn first(&self, only_unbounded: bool) -> Option<(u16, bool)> {
        let lanes = (0..).zip(&self.lanes);
        let ready = lanes.filter_map(|(provider, lane)| {
            let is_bounded = lane.concurrency.is_some();
            let may_start = lane.may_start() && !(only_unbounded && is_bounded);
            may_start.then_some((lane.first()?, provider, is_bounded))
        });
        let (_, provider, is_bounded) = ready.min()?;
        Some((provider, is_bounded))
    }

    /// Tells whether another attempt of the lane may be in flight.
    pub(super) fn may_start(&self, lane: u16) -> bool {
        self.lanes[usize::from(lane)].may_start()
    }

    /// Takes the lane's next trial.
    pub(super) fn take(&mut self, provider: u16) -> Option<OpenTrial> {
        let lane = &mut self.lanes[usize::from(provider)];
        if let Some((_, trial)) = lane.due.pop_first() {
            return Some(trial);
        }
        let trial = lane.next?;
        lane.next = self.states.next(&self.trials, provider, trial.index + 1);
        Some(trial)
    }

    /// Notes that an attempt of the lane is in flight.
    pub(super) fn start(&mut self, lane: u16) {
        self.lanes[usize::from(lane)].in_flight += 1;
    }

    /// Notes that an attempt of the lane is not in flight any more.
    pub(super) fn release(&mut self, lane: u16) {
        self.lanes[usize::from(lane)].in_flight -= 1;
    }

    /// Puts a trial before all that are pending in its lane.
    pub(super) fn put_back(&mut self, trial: OpenTrial) {
        self.lanes[usize::from(trial.lane)]
            .due
            .insert(trial.index, trial);
    }
}

impl Lane {
    fn may_start(&self) -> bool {
        self.concurrency.is_none_or(|most| self.in_flight < most)
    }

    fn first(&self) -> Option<u64> {
        let due = self.due.keys().next().copied();
        due.or(self.next.map(|trial| trial.index))
    }
}

impl States {
    fn new(count: u64, mut pending: impl FnMut(u64) -> Option<Pending>) -> Self {
        let mut many = HashMap::new();
        let bytes = (0..count).map(|index| {
            let Some(pending) = pending(index) else {
                return 0;
            };
            if pending.attempts > u32::from(ATTEMPTS) {
                many.insert(index, pending.attempts);
            }
            let attempts = pending.attempts as u8 & ATTEMPTS;
            PENDING | attempts | if pending.had_bad { HAD_BAD } else { 0 }
        });
        Self {
            bytes: bytes.collect(),
            many,
        }
    }

    /// The first pending trial of a provider with an index of at least `from`.
    fn next(&self, trials: &impl Trials, provider: u16, mut from: u64) -> Option<OpenTrial> {
        loop {
            let index = trials.next_trial(provider, from)?;
            let byte = self.bytes[index as usize];
            if byte & PENDING != 0 {
                let attempts = self.many.get(&index).copied();
                return Some(OpenTrial {
                    index,
                    lane: provider,
                    attempts: attempts.unwrap_or(u32::from(byte & ATTEMPTS)),
                    had_bad: byte & HAD_BAD != 0,
                    ..OpenTrial::default()
                });
            }
            from = index + 1;
        }
    }
}
