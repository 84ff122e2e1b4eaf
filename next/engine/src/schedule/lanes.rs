//! One lane a provider: its way through the plan, what is due again, and how many of its attempts are in flight.

use std::collections::BTreeMap;

use runner_model::RunTime;

use super::{
    memory::Reserve,
    rates::Pacer,
    settings::{ScheduleSettings, Trials},
};

/// A trial without a final row that has left its lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenTrial {
    /// Its index in the plan.
    pub(super) index: u64,
    /// Its provider.
    pub(super) lane: usize,
    /// Attempts that its rows have.
    pub(super) attempts: u32,
    /// Attempts of this session that its retries count.
    pub(super) tries: u32,
    /// Whether an attempt did not pass, in any session.
    pub(super) had_bad: bool,
    /// When its first attempt of this session began.
    pub(super) started: Option<RunTime>,
    /// For a suspect: how many workers have died while they ran it alone.
    pub(super) suspect: Option<u8>,
    /// Whether its next attempt gets all the memory that it may ask for.
    pub(super) needs_limit: bool,
}

impl OpenTrial {
    /// The first pending trial of a lane with an index of at least `from`.
    fn next(lane: usize, from: u64, trials: &dyn Trials) -> Option<Self> {
        let pending = trials.next_pending(lane as u16, from)?;
        Some(Self {
            index: pending.trial,
            lane,
            attempts: pending.attempts,
            had_bad: pending.had_bad,
            ..Self::default()
        })
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    /// How many of its attempts may be in flight, if that is bounded.
    concurrency: Option<u32>,
    pacer: Option<Pacer>,
    pub(super) reserve: Reserve,
    /// Whether its tasks never wait at workers, where they would begin whatever happens meanwhile.
    pub(super) is_bounded: bool,
    /// Whether it begins nothing more.
    pub(super) is_closed: bool,
    pub(super) in_flight: u32,
    /// Trials that come before all that are pending.
    due: BTreeMap<u64, OpenTrial>,
    /// The next pending trial.
    next: Option<OpenTrial>,
}

impl Lane {
    pub(super) fn new(lane: usize, settings: &ScheduleSettings, trials: &dyn Trials) -> Self {
        let bounds = settings.providers[lane];
        // More than run at once is no bound.
        let concurrency =
            Some(bounds.concurrency).filter(|most| (1..=settings.session.jobs).contains(most));
        Self {
            concurrency,
            pacer: bounds.rate.map(Pacer::new),
            reserve: Reserve::new(bounds.memory),
            is_bounded: concurrency.is_some()
                || bounds.rate.is_some()
                || !settings.spending.is_empty(),
            is_closed: settings.spending.is_used_up_by(lane as u16),
            in_flight: 0,
            due: BTreeMap::new(),
            next: OpenTrial::next(lane, 0, trials),
        }
    }

    /// Tells whether another attempt may be in flight.
    pub(super) fn may_start(&self, now: RunTime) -> bool {
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
    pub(super) fn opens_after(&self, now: RunTime) -> Option<RunTime> {
        Some(self.opens()).filter(|opens| *opens > now && self.has_room())
    }

    pub(super) fn first(&self) -> Option<&OpenTrial> {
        let due = self.due.values().next();
        due.or(self.next.as_ref())
    }

    /// Bytes that are to be reserved for the next attempt.
    pub(super) fn reserved(&self) -> u64 {
        match self.first() {
            Some(trial) if trial.needs_limit => self.reserve.limit,
            _ => self.reserve.bytes(),
        }
    }

    /// Takes the next trial.
    pub(super) fn take(&mut self, trials: &dyn Trials) -> Option<OpenTrial> {
        if let Some((_, trial)) = self.due.pop_first() {
            return Some(trial);
        }
        let trial = self.next?;
        self.next = OpenTrial::next(trial.lane, trial.index + 1, trials);
        Some(trial)
    }

    /// Notes that an attempt is in flight.
    pub(super) fn start(&mut self, now: RunTime) {
        self.in_flight += 1;
        if let Some(pacer) = &mut self.pacer {
            pacer.start(now);
        }
    }

    /// Puts a trial before all that are pending.
    pub(super) fn put_back(&mut self, trial: OpenTrial) {
        self.due.insert(trial.index, trial);
    }
}
