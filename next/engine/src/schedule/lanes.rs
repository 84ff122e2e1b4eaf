//! One lane a provider: its way through the plan, what is due again, and how many of its attempts are in flight.

use std::collections::{BTreeMap, HashMap};

use runner_model::RunTime;

use super::{Pending, Settings, Trials, memory::Reserve, rates::Pacer, window::Turn};

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
    /// Whether its next attempt gets all the memory that it may ask for.
    pub(super) needs_limit: bool,
}

/// The lanes of all providers, by provider.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    trials: T,
    states: States,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// How many of its attempts may be in flight, if that is bounded.
    concurrency: Option<u32>,
    pacer: Option<Pacer>,
    reserve: Reserve,
    /// Whether its tasks never wait at workers, where they would begin whatever happens meanwhile.
    is_bounded: bool,
    /// Whether it begins nothing more.
    is_closed: bool,
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
    /// A lane for each provider.
    pub(super) fn new(
        trials: T,
        settings: &Settings,
        pending: impl FnMut(u64) -> Option<Pending>,
    ) -> Self {
        let states = States::new(trials.count(), pending);
        let lanes = (0..).zip(&settings.providers).map(|(provider, bounds)| {
            // More than run at once is no bound.
            let concurrency =
                Some(bounds.concurrency).filter(|most| (1..=settings.jobs).contains(most));
            Lane {
                concurrency,
                pacer: bounds.rate.map(Pacer::new),
                reserve: Reserve::new(bounds.memory),
                is_bounded: concurrency.is_some()
                    || bounds.rate.is_some()
                    || !settings.spending.is_empty(),
                is_closed: settings.spending.is_used_up_by(provider),
                in_flight: 0,
                due: BTreeMap::new(),
                next: states.next(&trials, provider, 0),
            }
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

    /// Of the lanes that may start an attempt, the one whose next trial comes first in the plan, and whether it is bounded.
    pub(super) fn first(&self, now: RunTime, turn: &Turn) -> Option<(u16, bool)> {
        let lanes = (0..).zip(&self.lanes);
        let ready = lanes.filter_map(|(provider, lane)| {
            let is_left_out = turn.only_unbounded && lane.is_bounded;
            let may_start = lane.may_start(now) && !is_left_out && !turn.passed.contains(&provider);
            may_start.then_some((lane.first()?.index, provider, lane.is_bounded))
        });
        let (_, provider, is_bounded) = ready.min()?;
        Some((provider, is_bounded))
    }

    /// Tells whether another attempt of the lane may be in flight.
    pub(super) fn may_start(&self, lane: u16, now: RunTime) -> bool {
        self.lane(lane).may_start(now)
    }

    /// When the first lane that waits for its time alone may start an attempt; those that are given have one, too.
    pub(super) fn opens_at(
        &self,
        now: RunTime,
        others: impl Iterator<Item = u16>,
    ) -> Option<RunTime> {
        let waiting = self.waiting(now).map(|(_, opens)| opens);
        let others = others.filter_map(|lane| self.lane(lane).opens_after(now));
        waiting.chain(others).min()
    }

    /// The next trials of lanes that wait for their time, and until when.
    pub(super) fn waiting(&self, now: RunTime) -> impl Iterator<Item = (u64, RunTime)> {
        let lanes = self.lanes.iter();
        lanes.filter_map(move |lane| Some((lane.first()?.index, lane.opens_after(now)?)))
    }

    /// Bytes that are to be reserved for the lane's next attempt.
    pub(super) fn reserve(&self, lane: u16) -> u64 {
        let lane = self.lane(lane);
        match lane.first() {
            Some(trial) if trial.needs_limit => lane.reserve.limit,
            _ => lane.reserve.each(),
        }
    }

    /// Bytes that an attempt of the lane may hold.
    pub(super) fn limit(&self, lane: u16) -> u64 {
        self.lane(lane).reserve.limit
    }

    /// Notes how many bytes an attempt has held at most.
    pub(super) fn measure(&mut self, lane: u16, peak: u64) {
        self.lanes[usize::from(lane)].reserve.measure(peak);
    }

    /// Lets the lane begin nothing more.
    pub(super) fn close(&mut self, lane: u16) {
        self.lanes[usize::from(lane)].is_closed = true;
    }

    pub(super) fn is_closed(&self, lane: u16) -> bool {
        self.lane(lane).is_closed
    }

    /// Tells whether a lane has something to do and is not closed.
    pub(super) fn has_open(&self) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| !lane.is_closed && lane.first().is_some())
    }

    fn lane(&self, lane: u16) -> &Lane {
        &self.lanes[usize::from(lane)]
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
    pub(super) fn start(&mut self, lane: u16, now: RunTime) {
        let lane = &mut self.lanes[usize::from(lane)];
        lane.in_flight += 1;
        if let Some(pacer) = &mut lane.pacer {
            pacer.start(now);
        }
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
    fn may_start(&self, now: RunTime) -> bool {
        self.has_room() && self.opens() <= now
    }

    fn has_room(&self) -> bool {
        !self.is_closed && self.concurrency.is_none_or(|most| self.in_flight < most)
    }

    /// Before this, its rate lets nothing start.
    fn opens(&self) -> RunTime {
        self.pacer.as_ref().map_or(RunTime(0), Pacer::opens)
    }

    /// When it may start an attempt, if it waits for that alone.
    fn opens_after(&self, now: RunTime) -> Option<RunTime> {
        Some(self.opens()).filter(|opens| *opens > now && self.has_room())
    }

    fn first(&self) -> Option<&OpenTrial> {
        let due = self.due.values().next();
        due.or(self.next.as_ref())
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
