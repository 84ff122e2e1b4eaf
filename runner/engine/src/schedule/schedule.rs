//! [`Schedule`]: the state of a session's trials and workers. Each event is a method, and `tick` decides.

use std::collections::{BTreeMap, VecDeque};

use runner_model::{Reason, RunTime, TaskId, WorkerId};

use super::budgets::Spending;
use super::effect::{Assignment, Effect, StopState, Waiting};
use super::lanes::{Lane, LaneKind, OpenTrial};
use super::settings::{Pending, ScheduleSettings, Shape, Trials};
use super::window::{SentTask, Turn, Worker, Workers};

/// Rows not on disk above which no task is assigned.
const MAX_UNACKED_ROWS: u64 = 4_096;
/// Bytes of rows not on disk above which no task is assigned.
const MAX_UNACKED_BYTES: u64 = 8 << 20;

/// The scheduler of a session. Call [`Self::apply`] for each event, then once with [`Self::tick`].
#[derive(Debug)]
pub struct Schedule {
    pub(super) settings: ScheduleSettings,
    /// Lanes by provider, then that of judgements.
    pub(super) lanes: Vec<Lane>,
    /// Trials that wait for a backoff, by its end and their index.
    pub(super) later: BTreeMap<(RunTime, u64), OpenTrial>,
    /// Trials that wait until their newest row is on disk, and then until a time, to be graded. By their index.
    pub(super) ungraded: BTreeMap<u64, (RunTime, OpenTrial)>,
    /// Trials that must run alone.
    pub(super) suspects: VecDeque<OpenTrial>,
    /// Tries of pending trials before the attempts that continue from an earlier session.
    pub(super) tried: BTreeMap<u64, u32>,
    /// Whether the worker for suspects is being started.
    pub(super) is_alone_starting: bool,
    pub(super) workers: Workers,
    /// Time of the current event.
    pub(super) now: RunTime,
    /// Effects of the current event.
    pub(super) effects: Vec<Effect>,
    pub(super) last_task: u64,
    /// Trials without a final row.
    pub(super) left: u64,
    /// Trials with a final row, to which graders have yet to add their grades.
    pub(super) partial: u64,
    /// Trials of this session that ended unexpectedly.
    pub(super) bad: u64,
    pub(super) waits_for_memory: bool,
    pub(super) unacked_rows: u64,
    pub(super) unacked_bytes: u64,
    /// Attempts that ended `stopped` since the last one that did not.
    pub(super) faults: u32,
    pub(super) stop: Option<StopState>,
    pub(super) is_paused: bool,
    pub(super) is_finished: bool,
}

impl Schedule {
    /// Creates the schedule of a session with `left` pending trials.
    pub fn new(settings: ScheduleSettings, left: u64, trials: &dyn Trials) -> Self {
        let lanes = (0..=settings.providers.len()).map(|lane| Lane::new(lane, &settings, trials));
        Self {
            lanes: lanes.collect(),
            settings,
            later: BTreeMap::new(),
            ungraded: BTreeMap::new(),
            suspects: VecDeque::new(),
            tried: BTreeMap::new(),
            is_alone_starting: false,
            workers: Workers::default(),
            now: RunTime(0),
            effects: Vec::new(),
            last_task: 0,
            left,
            partial: 0,
            bad: 0,
            waits_for_memory: false,
            unacked_rows: 0,
            unacked_bytes: 0,
            faults: 0,
            stop: None,
            is_paused: false,
            is_finished: false,
        }
    }

    /// Applies an event: `event` calls its method. Returns the effects, and none after [`Effect::Finish`].
    pub fn apply(&mut self, now: RunTime, event: impl FnOnce(&mut Self)) -> Vec<Effect> {
        if !self.is_finished {
            self.now = now;
            event(self);
        }
        std::mem::take(&mut self.effects)
    }

    /// Adds a worker. `alone` if it was started for [`Effect::StartAlone`].
    pub fn worker_ready(&mut self, worker: WorkerId, shape: Shape, alone: bool) {
        self.is_alone_starting &= !alone;
        let bounds = self.settings.providers.iter();
        let largest = bounds.map(|bounds| bounds.memory).max().unwrap_or(0);
        let most = largest.saturating_mul(u64::from(shape.slots + shape.graders));
        self.workers.insert(worker, Worker::new(shape, most, alone));
    }

    /// Takes back tasks that a worker returned. Ignores tasks that it does not have.
    pub fn returned(&mut self, worker: WorkerId, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(flight) = self.workers.take(worker, *task, None) {
                self.drop_unstarted(flight);
            }
        }
    }

    /// Sets how many rows and bytes are not yet on disk.
    pub fn acked(&mut self, rows: u64, bytes: u64) {
        (self.unacked_rows, self.unacked_bytes) = (rows, bytes);
    }

    /// Queues a trial to be graded, because its row is on disk. Ignores trials that are not.
    pub fn is_on_disk(&mut self, trial: u64) {
        match self.ungraded.remove(&trial) {
            Some((_, open)) if open.tries == 0 => self.lanes[open.lane].add_output(&open),
            Some((at, open)) => {
                self.later.insert((at, trial), open);
            }
            None => {}
        }
    }

    /// Queues a trial of a provider that the results so far need, and that was not pending before.
    pub fn need(&mut self, provider: u16, pending: Pending) {
        let lane = usize::from(provider);
        let Pending { trial, attempts, had_bad } = pending;
        self.left += 1;
        self.put_back(OpenTrial { index: trial, lane, attempts, had_bad, ..OpenTrial::default() });
    }

    /// Sets the tries of a pending trial before its attempt, which continues from an earlier session. Guests see the number, and
    /// retries count from it.
    pub fn continues(&mut self, trial: u64, tries: u32) {
        self.tried.insert(trial, tries);
    }

    /// Ends the session after a failed write. After that, no tasks are assigned and no rows are written.
    pub fn storage_failed(&mut self) {
        self.effects.push(Effect::Stop { kill: true });
        self.finish(Some(Reason::Storage), None);
    }

    /// Returns the time at which the next [`Self::tick`] is due without an event.
    pub fn wake_at(&self) -> Option<RunTime> {
        if self.is_finished {
            return None;
        }
        let retry = self.later.keys().next().map(|(at, _)| *at);
        let lanes = self.lanes.iter().filter(|lane| lane.first().is_some());
        let lanes = lanes.chain(self.suspects.iter().map(|trial| &self.lanes[trial.lane]));
        let rates = lanes.filter_map(|lane| lane.opens_after(self.now));
        let starts = retry.into_iter().chain(rates).filter(|_| self.stop.is_none());
        starts.chain(self.next_bound()).min()
    }

    /// Returns whether more attempts would run with more memory.
    pub fn waits_for_memory(&self) -> bool {
        self.waits_for_memory
    }

    pub fn spending(&self) -> &Spending {
        &self.settings.spending
    }

    /// Returns the number of attempts with a slot.
    pub fn running(&self) -> u64 {
        self.workers.running() as u64
    }

    /// Returns whether workers other than `lacking` have tasks. If no worker has any, because the next tasks cannot start yet,
    /// returns whether others can take them.
    pub fn can_continue_without(&self, lacking: &[WorkerId]) -> bool {
        if self.workers.in_flight() > 0 {
            return self.workers.busy().any(|worker| !lacking.contains(&worker));
        }
        let is_waiting = self.is_paused || self.unacked_rows > 0 || self.waiting().next().is_some();
        is_waiting && self.workers.for_tasks().any(|worker| !lacking.contains(&worker))
    }

    /// Returns the number of trials without a final row, counting rows that are not on disk yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Returns the trials that wait for a backoff, then for each provider the one that waits for its rate.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> {
        let retries = self.later.iter().map(|((until, trial), open)| Waiting {
            trial: *trial,
            lane: open.lane,
            why: "retry",
            until: *until,
        });
        let rates = self.lanes.iter().enumerate().filter_map(move |(place, lane)| {
            let until = lane.opens_after(self.now)?;
            Some(Waiting { trial: lane.first()?, lane: place, why: "rate-limit", until })
        });
        retries.chain(rates).filter(|_| self.stop.is_none())
    }

    /// Call once after all events are applied: fires timers, sends tasks, and ends the session. `trials` must be the trials that
    /// the schedule was created with.
    pub fn tick(&mut self, trials: &dyn Trials) {
        self.enforce_bounds();
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= self.now
        {
            let trial = first.remove();
            self.lanes[trial.lane].put_back(trial);
        }
        let is_disk_behind =
            self.unacked_rows >= MAX_UNACKED_ROWS || self.unacked_bytes >= MAX_UNACKED_BYTES;
        if self.stop.is_none() && !self.is_paused && !is_disk_behind {
            self.assign_suspect();
            self.assign(trials);
            // If idle slots lack memory, tasks that wait at other workers could not run in them.
            if !self.waits_for_memory
                && let Some((worker, keep)) = self.workers.take_back()
            {
                self.effects.push(Effect::TakeBack { worker, keep });
            }
        }
        if !self.is_ending() {
            return;
        }
        if self.left == 0 {
            // If every trial is done, the stop does not count.
            self.finish(None, None);
        } else if let Some(stop) = &mut self.stop {
            let reason = stop.reason;
            let message = stop.message.take();
            self.finish(Some(reason), message);
        } else {
            let message = self.settings.spending.used_up_by_providers();
            self.finish(Some(Reason::Budget), Some(message));
        }
    }

    /// Returns whether [`Self::tick`] ends the session: nothing is running, and nothing can start.
    pub fn is_ending(&self) -> bool {
        let is_idle = self.unacked_rows == 0 && self.workers.in_flight() == 0;
        is_idle && (self.left + self.partial == 0 || self.stop.is_some() || self.is_used_up())
    }

    pub(super) fn finish(&mut self, reason: Option<Reason>, message: Option<String>) {
        self.is_finished = true;
        self.effects.push(Effect::Finish { reason, message });
    }

    /// Fills the workers' windows with trials in the order of the plan.
    pub(super) fn assign(&mut self, trials: &dyn Trials) {
        self.workers.open();
        self.waits_for_memory = false;
        let mut turn = Turn::default();
        while let Some(place) = self.first_lane(&turn) {
            let lane = &mut self.lanes[place];
            let memory = lane.reserved();
            let is_bounded = lane.is_bounded;
            let is_grader = lane.kind == LaneKind::Grades;
            let may_wait = !is_bounded && self.may_queue_ahead();
            match self.workers.choose(may_wait, is_grader, &turn, memory) {
                Some(worker) => {
                    if let Some(mut trial) = self.lanes[place].take(trials) {
                        trial.tries = self.tried.remove(&trial.index).unwrap_or(trial.tries);
                        self.send(worker, trial, memory);
                    }
                }
                // Keep the memory of one worker, or smaller attempts would take all memory that becomes free.
                None if self.workers.have_free_slots(is_grader, &turn) => {
                    self.waits_for_memory = true;
                    let least = self.workers.least_reserved(is_grader);
                    turn.held_for_memory = turn.held_for_memory.or(least);
                    turn.left_out.push(place);
                }
                // Graders have slots of their own, so they take none from providers.
                None if is_grader => turn.left_out.push(place),
                // Keep the next slot of one worker, or a bounded lane would wait until unbounded lanes have no trials.
                None if is_bounded => {
                    turn.only_unbounded = true;
                    turn.held_for_slot = self.workers.next_free();
                }
                None => turn.only_graders = true,
            }
        }
    }

    /// Returns the lane whose next trial is first in the plan, of the lanes that may start an attempt.
    pub(super) fn first_lane(&self, turn: &Turn) -> Option<usize> {
        let ready = self.lanes.iter().enumerate().filter_map(|(place, lane)| {
            let is_left_out = lane.kind != LaneKind::Grades
                && (turn.only_graders || turn.only_unbounded && lane.is_bounded);
            let may_start =
                lane.may_start(self.now) && !is_left_out && !turn.left_out.contains(&place);
            may_start.then_some((lane.first()?, place))
        });
        ready.min().map(|(_, place)| place)
    }

    /// Returns whether tasks may wait at workers: with `fail_fast`, no more tasks are in flight than may still end badly.
    pub(super) fn may_queue_ahead(&self) -> bool {
        let most = self.settings.most_bad();
        most.is_none_or(|most| (self.workers.in_flight() as u64) < most.saturating_sub(self.bad))
    }

    pub(super) fn send(&mut self, worker: WorkerId, trial: OpenTrial, memory: u64) {
        self.last_task += 1;
        let task = TaskId(self.last_task);
        let kind = self.lanes[trial.lane].kind;
        let assignment = Assignment {
            task,
            trial: trial.index,
            grader: (kind == LaneKind::Grades).then_some(trial.lane as u16),
            attempt: trial.attempts + u32::from(kind == LaneKind::Attempts),
            tries: trial.tries + 1,
            trial_started: trial.started,
        };
        self.effects.push(Effect::Send { worker, assignment });
        self.lanes[trial.lane].start(self.now);
        let flight = SentTask { trial, kind, sent: self.now, memory };
        self.workers.sent(worker, task, flight);
    }
}
