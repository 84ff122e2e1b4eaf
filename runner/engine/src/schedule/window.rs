//! [`Workers`]: the tasks in flight at each worker, and the choice of the worker for the next task.
//!
//! A worker that waits for the coordinator after each short attempt loses half of its time. So some milliseconds of work wait
//! at each worker, and no more, because waiting tasks cannot run on other workers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runner_model::{Micros, RunTime, TaskId, WorkerId};

use super::lanes::{LaneKind, OpenTrial};
use super::settings::Shape;

/// Work that waits at each slot, in microseconds. Each frame of tasks wakes a second thread of the worker, which makes the next
/// resets of memory more expensive: with less than half of this value, trials of 0.8 ms took 3 % longer.
const AHEAD: u64 = 50_000;
/// Tasks of the largest window.
const MAX_WINDOW: usize = 512;
/// Minimum room in the window of a busy worker before it gets tasks: small frames cost as much as large ones.
const BATCH: usize = 64;

/// A task in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentTask {
    pub(super) trial: OpenTrial,
    pub(super) kind: LaneKind,
    pub(super) sent: RunTime,
    /// Reserved memory, in bytes.
    pub(super) memory: u64,
}

/// Findings of one turn of [`Schedule::assign`](super::Schedule::assign).
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whether bounded lanes of providers have no free slot.
    pub(super) only_unbounded: bool,
    /// Whether no worker can take another task of a provider.
    pub(super) only_graders: bool,
    /// The worker whose next free slot is kept for a bounded lane. It gets no tasks that would wait.
    pub(super) held_for_slot: Option<WorkerId>,
    /// The worker whose memory is kept for the first lane that lacks it. It gets no tasks.
    pub(super) held_for_memory: Option<WorkerId>,
    /// Lanes whose next task no worker can take.
    pub(super) left_out: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Worker {
    /// Slots for attempts and judgements.
    slots: usize,
    /// Further slots for graders.
    grader_slots: usize,
    /// Bytes for all guests. `None` if the limits of all slots fit.
    memory: Option<u64>,
    /// Bytes reserved for tasks in flight.
    reserved: u64,
    /// Whether the worker runs only suspects, one at a time.
    pub(super) is_alone: bool,
    /// Tasks in flight. Ids increase, so this is the order in which the worker starts them.
    pub(super) flights: BTreeMap<TaskId, SentTask>,
    /// Number of tasks in flight that grade. All of them have a slot.
    grading: usize,
    /// Smoothed duration of providers' attempts, in microseconds. `None` before the first report.
    pace: Option<u64>,
    /// Whether the window is filled in this turn.
    is_open: bool,
    /// Whether the worker has received a request to return tasks, and has sent neither an answer nor a report since.
    is_returning: bool,
}

/// The workers that can take tasks, or have some.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<WorkerId, Worker>,
    /// The load of each worker that is not alone, so that a choice does not compare a thousand workers.
    by_load: BTreeSet<(usize, WorkerId)>,
    in_flight: usize,
}

impl Worker {
    /// Creates a worker. `most` is the sum of the memory limits of all attempts that run at once.
    pub(super) fn new(shape: Shape, most: u64, is_alone: bool) -> Self {
        Self {
            slots: shape.slots as usize,
            grader_slots: shape.graders as usize,
            memory: Some(shape.memory).filter(|memory| *memory < most),
            reserved: 0,
            is_alone,
            flights: BTreeMap::new(),
            grading: 0,
            pace: None,
            is_open: false,
            is_returning: false,
        }
    }

    /// Returns the maximum number of tasks in flight.
    fn window(&self) -> usize {
        let ahead = self.pace.map_or(0, |pace| AHEAD / pace) as usize;
        (self.slots * (1 + ahead)).min(MAX_WINDOW.max(self.slots))
    }

    /// Returns the number of tasks in flight that do not grade.
    fn attempts(&self) -> usize {
        self.flights.len() - self.grading
    }

    fn has_free_slot(&self, for_grader: bool) -> bool {
        if for_grader { self.grading < self.grader_slots } else { self.attempts() < self.slots }
    }

    /// Returns the tasks in flight per slot, as a fixed-point number.
    fn load(&self) -> usize {
        (self.flights.len() << 20) / self.slots.max(1)
    }

    /// Returns whether `bytes` more can be reserved. An idle worker takes a task of any size.
    fn has_memory(&self, bytes: u64) -> bool {
        self.flights.is_empty()
            || self.memory.is_none_or(|memory| self.reserved.saturating_add(bytes) <= memory)
    }

    fn needs_more(&self) -> bool {
        let window = self.window();
        let room = window.saturating_sub(self.attempts());
        self.has_free_slot(false) || room >= BATCH.min(window / 2)
    }

    /// Returns the number of tasks without a slot.
    fn queued(&self) -> usize {
        self.attempts().saturating_sub(self.slots)
    }

    /// Returns the number of tasks with a slot.
    pub(super) fn running(&self) -> usize {
        self.attempts().min(self.slots) + self.grading
    }

    /// Removes all tasks. Returns the attempts of providers that have started: a worker starts its oldest tasks first, so these
    /// are as many as it has slots.
    fn take_started(&mut self) -> Vec<(TaskId, usize)> {
        let flights = std::mem::take(&mut self.flights).into_iter();
        self.grading = 0;
        let started =
            flights.filter(|(_, flight)| flight.kind != LaneKind::Grades).take(self.slots);
        let attempts = started.filter(|(_, flight)| flight.kind == LaneKind::Attempts);
        attempts.map(|(task, flight)| (task, flight.trial.lane)).collect()
    }

    fn measure(&mut self, duration: Duration) {
        let micros = Micros::from(duration).0.max(1);
        self.pace = Some(self.pace.map_or(micros, |pace| (pace * 7 + micros) / 8));
    }
}

impl Workers {
    pub(super) fn insert(&mut self, id: WorkerId, worker: Worker) {
        if !worker.is_alone {
            self.by_load.insert((worker.load(), id));
        }
        self.all.insert(id, worker);
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.all.remove(&id)?;
        self.by_load.remove(&(worker.load(), id));
        self.in_flight -= worker.flights.len();
        Some(worker)
    }

    /// Changes the tasks in flight of a worker.
    fn change<T>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let worker = self.all.get_mut(&id)?;
        let load = worker.load();
        let flights = worker.flights.len();
        let changed = change(worker);
        self.in_flight = self.in_flight - flights + worker.flights.len();
        if !worker.is_alone && worker.load() != load {
            self.by_load.remove(&(load, id));
            self.by_load.insert((worker.load(), id));
        }
        Some(changed)
    }

    /// Removes all tasks of all workers. Returns the attempts of providers that have started, with their lanes.
    pub(super) fn take_started(&mut self) -> Vec<(TaskId, usize)> {
        let ids: Vec<_> = self.all.keys().copied().collect();
        let started = ids.into_iter().filter_map(|id| self.change(id, Worker::take_started));
        started.flatten().collect()
    }

    /// Returns the number of tasks in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the number of tasks in flight with a slot.
    pub(super) fn running(&self) -> usize {
        self.all.values().map(Worker::running).sum()
    }

    /// Returns the workers with tasks in flight.
    pub(super) fn busy(&self) -> impl Iterator<Item = WorkerId> {
        let busy = self.all.iter().filter(|(_, worker)| !worker.flights.is_empty());
        busy.map(|(id, _)| *id)
    }

    /// Returns the workers that are not only for suspects.
    pub(super) fn for_tasks(&self) -> impl Iterator<Item = WorkerId> {
        self.by_load.iter().map(|(_, id)| *id)
    }

    /// Adds a sent task.
    pub(super) fn sent(&mut self, worker: WorkerId, task: TaskId, flight: SentTask) {
        self.change(worker, |worker| {
            worker.reserved += flight.memory;
            worker.grading += usize::from(flight.kind == LaneKind::Grades);
            worker.flights.insert(task, flight);
        });
    }

    /// Removes a task that a worker returned, or reported with a duration of `took`. `None` if the worker does not have it.
    pub(super) fn take(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        took: Option<Duration>,
    ) -> Option<SentTask> {
        let taken = self.change(worker, |worker| {
            let flight = worker.flights.remove(&task)?;
            worker.reserved -= flight.memory;
            worker.grading -= usize::from(flight.kind == LaneKind::Grades);
            if let Some(took) = took.filter(|_| flight.kind == LaneKind::Attempts) {
                worker.measure(took);
            }
            worker.is_returning = false;
            Some(flight)
        });
        taken.flatten()
    }

    /// Returns the worker that runs suspects of this kind. Only workers on this machine run graders.
    pub(super) fn suspect_worker(&self, for_grader: bool) -> Option<(WorkerId, &Worker)> {
        let mut workers = self.all.iter();
        let (id, worker) = workers.find(|(_, worker)| {
            let slots = if for_grader { worker.grader_slots } else { worker.slots };
            worker.is_alone && slots > 0
        })?;
        Some((*id, worker))
    }

    /// Decides which windows are filled in this turn.
    pub(super) fn open(&mut self) {
        for worker in self.all.values_mut() {
            worker.is_open = worker.needs_more();
        }
    }

    /// Returns the least busy worker with enough memory and a free slot or, if the task may wait, room in its window.
    pub(super) fn choose(
        &self,
        may_wait: bool,
        is_grader: bool,
        turn: &Turn,
        memory: u64,
    ) -> Option<WorkerId> {
        self.least_busy(|id, worker| {
            let waits = may_wait
                && turn.held_for_slot != Some(id)
                && worker.is_open
                && worker.attempts() < worker.window();
            turn.held_for_memory != Some(id)
                && (worker.has_free_slot(is_grader) || waits)
                && worker.has_memory(memory)
        })
    }

    /// Returns whether a worker has a free slot. If [`Self::choose`] returned `None`, such a worker lacks memory.
    pub(super) fn have_free_slots(&self, for_grader: bool, turn: &Turn) -> bool {
        self.all.iter().any(|(id, worker)| {
            !worker.is_alone
                && turn.held_for_memory != Some(*id)
                && worker.has_free_slot(for_grader)
        })
    }

    /// Returns the worker that is likely to have the next free slot.
    pub(super) fn next_free(&self) -> Option<WorkerId> {
        self.least_busy(|_, worker| worker.slots > 0)
    }

    /// Returns the worker that is likely to have memory for a large attempt first.
    pub(super) fn least_reserved(&self, for_grader: bool) -> Option<WorkerId> {
        let workers = self.all.iter().filter(|(_, worker)| {
            let slots = if for_grader { worker.grader_slots } else { worker.slots };
            slots > 0 && !worker.is_alone
        });
        let least = workers.min_by_key(|(_, worker)| worker.reserved);
        least.map(|(id, _)| *id)
    }

    fn least_busy(&self, takes: impl Fn(WorkerId, &Worker) -> bool) -> Option<WorkerId> {
        let mut workers = self.by_load.iter().map(|(_, id)| *id);
        workers.find(|id| self.all.get(id).is_some_and(|worker| takes(*id, worker)))
    }

    /// If a slot is idle, returns the worker with the most waiting tasks, and the number of them that it keeps.
    pub(super) fn take_back(&mut self) -> Option<(WorkerId, u32)> {
        if !self.all.values().any(|worker| !worker.is_alone && worker.has_free_slot(false)) {
            return None;
        }
        let waiting = (self.all.iter_mut())
            .filter(|(_, worker)| worker.queued() > 0 && !worker.is_returning)
            .max_by_key(|(_, worker)| worker.queued());
        let (id, worker) = waiting?;
        worker.is_returning = true;
        Some((*id, u32::try_from(worker.queued() / 2).unwrap_or(0)))
    }
}
