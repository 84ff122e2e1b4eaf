//! [`Lane`]: the queue of a provider, of a grader, or of the stored rows to judge: its position in the plan, trials to run again
//! or to grade, and tasks in flight.

use std::collections::BTreeMap;

use runner_model::RunTime;

use super::settings::{Bounds, ScheduleSettings, Trials};
use super::{memory::Reserve, timing::Pacer};

/// The tasks of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    /// Attempts of a provider.
    Attempts,
    /// Grades by a grader. The lane gets trials by [`Lane::put_back`] only.
    Grades,
    /// Judgements of stored rows of all providers. They call no guest, so no bound of a provider applies to them.
    Judgements,
}

/// A trial without a final row that has left its lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenTrial {
    /// Index in the plan.
    pub(super) index: u64,
    /// Index of the provider or of the next grader, or the number of both for a judgement.
    pub(super) lane: usize,
    /// Attempts with rows.
    pub(super) attempts: u32,
    /// Attempts that count towards `retries.max`, the first included. Those of earlier sessions count only if the trial
    /// continues one of them.
    pub(super) tries: u32,
    /// Whether an attempt of any session did not pass.
    pub(super) had_bad: bool,
    /// Start of the first attempt of this session.
    pub(super) started: Option<RunTime>,
    /// Number of workers that died while they ran only this trial. `None` if it is not a suspect.
    pub(super) suspect: Option<u8>,
    /// Whether the next attempt reserves its full memory limit.
    pub(super) needs_limit: bool,
    /// Whether the trial has its final row, to which graders only add their grades.
    pub(super) is_settled: bool,
}

impl OpenTrial {
    /// Returns the first pending trial of a lane with an index of at least `from`.
    fn next(lane: usize, kind: LaneKind, from: u64, trials: &dyn Trials) -> Option<Self> {
        let provider = match kind {
            LaneKind::Attempts => Some(lane as u16),
            LaneKind::Judgements => None,
            LaneKind::Grades => return None,
        };
        let pending = trials.next_pending(provider, from)?;
        Some(Self {
            index: pending.trial,
            lane,
            attempts: pending.attempts,
            had_bad: pending.had_bad,
            ..Self::default()
        })
    }
}

/// A row on disk that a grader has not been called for. Small, because a slow grader may have millions.
#[derive(Clone, Copy, Debug)]
struct Output {
    /// Attempts with rows.
    attempts: u32,
    /// Whether an attempt of any session did not pass.
    had_bad: bool,
    /// Whether the trial has its final row.
    is_settled: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    /// Index of the lane.
    place: usize,
    pub(super) kind: LaneKind,
    /// Maximum number of tasks in flight.
    concurrency: Option<u32>,
    pacer: Option<Pacer>,
    pub(super) reserve: Reserve,
    /// Whether the lane is a grader's, or a provider's that has a concurrency or rate or is in a run with any budget. Its tasks
    /// must not wait at workers, because a worker starts waiting tasks whenever a slot is free.
    pub(super) is_bounded: bool,
    /// Whether interrupted attempts continue.
    pub(super) has_journal: bool,
    /// Whether a budget of the provider is used up.
    pub(super) is_closed: bool,
    pub(super) in_flight: u32,
    /// Trials to run again, which precede `next`.
    due: BTreeMap<u64, OpenTrial>,
    /// Outputs that a grader has not been called for, by trial.
    outputs: BTreeMap<u64, Output>,
    /// The next pending trial of the plan.
    next: Option<OpenTrial>,
}

impl Lane {
    pub(super) fn new(lane: usize, settings: &ScheduleSettings, trials: &dyn Trials) -> Self {
        let (bounds, kind) = match settings.providers.get(lane) {
            Some(bounds) if bounds.is_grader => (*bounds, LaneKind::Grades),
            Some(bounds) => (*bounds, LaneKind::Attempts),
            None => (Bounds::default(), LaneKind::Judgements),
        };
        // A concurrency above the number of jobs bounds nothing, and tasks of unbounded lanes may wait at workers.
        let concurrency =
            Some(bounds.concurrency).filter(|most| (1..=settings.session.jobs).contains(most));
        Self {
            place: lane,
            kind,
            concurrency,
            pacer: bounds.rate.map(Pacer::new),
            reserve: Reserve::new(bounds.memory, bounds.unmeasured),
            is_bounded: match kind {
                LaneKind::Attempts => {
                    let has_bound = concurrency.is_some() || bounds.rate.is_some();
                    has_bound || !settings.spending.is_empty()
                }
                LaneKind::Grades => true,
                LaneKind::Judgements => false,
            },
            has_journal: bounds.has_journal && kind == LaneKind::Attempts,
            is_closed: settings.spending.is_used_up_by(lane as u16),
            in_flight: 0,
            due: BTreeMap::new(),
            outputs: BTreeMap::new(),
            next: OpenTrial::next(lane, kind, 0, trials),
        }
    }

    /// Returns whether an attempt may start now.
    pub(super) fn may_start(&self, now: RunTime) -> bool {
        self.has_room() && self.opens() <= now
    }

    fn has_room(&self) -> bool {
        !self.is_closed && self.concurrency.is_none_or(|most| self.in_flight < most)
    }

    /// Returns the earliest start that the rate allows.
    fn opens(&self) -> RunTime {
        self.pacer.as_ref().map_or(RunTime(0), Pacer::opens)
    }

    /// Returns the time at which the rate allows a start. `None` if the lane does not wait for its rate.
    pub(super) fn opens_after(&self, now: RunTime) -> Option<RunTime> {
        Some(self.opens()).filter(|opens| *opens > now && self.has_room())
    }

    /// Returns the index of the next trial.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.due.keys().next().into_iter().chain(self.outputs.keys().next()).min();
        first.copied().or(self.next.map(|trial| trial.index))
    }

    /// Returns the bytes to reserve for the next attempt.
    pub(super) fn reserved(&self) -> u64 {
        match self.first().and_then(|first| self.due.get(&first)) {
            Some(trial) if trial.needs_limit => self.reserve.limit,
            _ => self.reserve.bytes(),
        }
    }

    /// Removes the next trial.
    pub(super) fn take(&mut self, trials: &dyn Trials) -> Option<OpenTrial> {
        let index = self.first()?;
        if let Some(trial) = self.due.remove(&index) {
            return Some(trial);
        }
        if let Some(Output { attempts, had_bad, is_settled }) = self.outputs.remove(&index) {
            let open = OpenTrial { index, lane: self.place, attempts, ..OpenTrial::default() };
            return Some(OpenTrial { had_bad, is_settled, ..open });
        }
        let trial = self.next?;
        self.next = OpenTrial::next(trial.lane, self.kind, trial.index + 1, trials);
        Some(trial)
    }

    /// Counts a sent attempt.
    pub(super) fn start(&mut self, now: RunTime) {
        self.in_flight += 1;
        if let Some(pacer) = &mut self.pacer {
            pacer.start(now);
        }
    }

    /// Queues a trial whose row is on disk for its next grader.
    pub(super) fn add_output(&mut self, trial: &OpenTrial) {
        let OpenTrial { attempts, had_bad, is_settled, .. } = *trial;
        let output = Output { attempts, had_bad, is_settled };
        self.outputs.insert(trial.index, output);
    }

    /// Queues a trial before all pending ones.
    pub(super) fn put_back(&mut self, trial: OpenTrial) {
        self.due.insert(trial.index, trial);
    }
}
