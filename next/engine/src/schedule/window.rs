//! The workers, what is in flight at each, and how much of it may wait there.
//!
//! A worker that waits for the coordinator after each short attempt loses half of its time, so some milliseconds of work
//! wait at it. What waits there cannot run elsewhere, so it is no more than that.

use std::{collections::BTreeMap, time::Duration};

use runner_model::{Micros, RunTime, TaskId, WorkerId};

use super::lanes::OpenTrial;

/// How much work waits at each slot, in microseconds. Each frame of tasks wakes a second thread of the worker, which makes the
/// next resets of memory more expensive: with less than half of it, trials of 0.8 ms took 3 % longer.
const AHEAD: u64 = 50_000;
/// The largest window.
const MAX_WINDOW: usize = 512;
/// With less room than this a worker with enough to do gets nothing: frames of few tasks cost as much as those of many.
const BATCH: usize = 64;

/// A task that was sent and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentTask {
    pub(super) trial: OpenTrial,
    pub(super) sent: RunTime,
    /// Bytes of memory that are reserved for it.
    pub(super) memory: u64,
}

/// What a turn of assigning has found out.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whether lanes that are bounded get nothing more.
    pub(super) only_unbounded: bool,
    /// A worker that gets no tasks that would wait.
    pub(super) held_for_slot: Option<WorkerId>,
    /// A worker that gets nothing until there is memory for the first that lacks it.
    pub(super) held_for_memory: Option<WorkerId>,
    /// Lanes that wait for memory.
    pub(super) lanes_without_memory: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Worker {
    slots: usize,
    /// Bytes that its guests may have together; none if its slots can have all that they may ask for.
    memory: Option<u64>,
    /// Bytes that are reserved for what is in flight.
    reserved: u64,
    /// Whether it gets suspects only, one at a time.
    pub(super) is_alone: bool,
    /// In the order in which they were sent, which is the order in which it begins them.
    pub(super) flights: BTreeMap<TaskId, SentTask>,
    /// Smoothed duration of its attempts in microseconds; none before the first report.
    pace: Option<u64>,
    /// Whether its window is filled in this turn.
    is_open: bool,
    /// Whether it was asked to give tasks back and has not done anything since.
    is_returning: bool,
}

/// The workers that can take tasks, or have some.
#[derive(Debug, Default)]
pub(super) struct Workers(pub(super) BTreeMap<WorkerId, Worker>);

impl Worker {
    /// `largest` is what an attempt may hold at most.
    pub(super) fn new(slots: u32, memory: u64, largest: u64, is_alone: bool) -> Self {
        let most = largest.saturating_mul(u64::from(slots));
        Self {
            slots: slots as usize,
            memory: Some(memory).filter(|memory| *memory < most),
            reserved: 0,
            is_alone,
            flights: BTreeMap::new(),
            pace: None,
            is_open: false,
            is_returning: false,
        }
    }

    /// How many tasks may be sent to it and not answered.
    fn window(&self) -> usize {
        let ahead = self.pace.map_or(0, |pace| AHEAD / pace) as usize;
        (self.slots * (1 + ahead)).min(MAX_WINDOW.max(self.slots))
    }

    fn has_free_slot(&self) -> bool {
        self.flights.len() < self.slots
    }

    /// Whether there is so much memory for one more. One alone gets whatever there is.
    fn has_memory(&self, wanted: u64) -> bool {
        self.flights.is_empty()
            || self.memory.is_none_or(|memory| self.reserved.saturating_add(wanted) <= memory)
    }

    fn needs_more(&self) -> bool {
        let window = self.window();
        let room = window.saturating_sub(self.flights.len());
        self.has_free_slot() || room >= BATCH.min(window / 2)
    }

    /// How many of its tasks have not begun, if it has begun as many as it can.
    fn unbegun(&self) -> usize {
        self.flights.len().saturating_sub(self.slots)
    }

    /// How many of its tasks run, if it has begun as many as it can.
    pub(super) fn running(&self) -> usize {
        self.flights.len().min(self.slots)
    }

    fn measure(&mut self, duration: Duration) {
        let micros = Micros::from(duration).0.max(1);
        self.pace = Some(self.pace.map_or(micros, |pace| (pace * 7 + micros) / 8));
    }
}

impl Workers {
    /// Tasks that were sent and not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.0.values().map(|worker| worker.flights.len()).sum()
    }

    /// The workers that have tasks.
    pub(super) fn busy(&self) -> impl Iterator<Item = WorkerId> {
        let busy = self.0.iter().filter(|(_, worker)| !worker.flights.is_empty());
        busy.map(|(id, _)| *id)
    }

    /// Notes that a task was sent.
    pub(super) fn sent(&mut self, worker: WorkerId, task: TaskId, flight: SentTask) {
        if let Some(worker) = self.0.get_mut(&worker) {
            worker.reserved += flight.memory;
            worker.flights.insert(task, flight);
        }
    }

    /// Takes a task that a worker has given back, or has answered in so much time; none if it is not in flight there.
    pub(super) fn take(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        took: Option<Duration>,
    ) -> Option<SentTask> {
        let worker = self.0.get_mut(&worker)?;
        let flight = worker.flights.remove(&task)?;
        worker.reserved -= flight.memory;
        if let Some(took) = took {
            worker.measure(took);
        }
        worker.is_returning = false;
        Some(flight)
    }

    /// The worker that runs suspects, if there is one.
    pub(super) fn suspect_worker(&self) -> Option<(WorkerId, &Worker)> {
        let mut workers = self.0.iter();
        let (id, worker) = workers.find(|(_, worker)| worker.is_alone)?;
        Some((*id, worker))
    }

    /// Begins a turn: decides whose windows are filled.
    pub(super) fn open(&mut self) {
        for worker in self.0.values_mut() {
            worker.is_open = worker.needs_more();
        }
    }

    /// The worker with the least to do for its slots among those with a free slot, or if a task may wait, with room in
    /// their windows, and with so much memory.
    pub(super) fn choose(&self, may_wait: bool, turn: &Turn, memory: u64) -> Option<WorkerId> {
        let takes = |id: WorkerId, worker: &Worker| {
            let waits = may_wait
                && turn.held_for_slot != Some(id)
                && worker.is_open
                && worker.flights.len() < worker.window();
            !worker.is_alone
                && turn.held_for_memory != Some(id)
                && (worker.has_free_slot() || waits)
                && worker.has_memory(memory)
        };
        self.least_busy(takes)
    }

    /// Whether a slot is free that only lacks memory, if none was chosen.
    pub(super) fn have_free_slots(&self, turn: &Turn) -> bool {
        let mut workers = self.0.iter();
        workers.any(|(id, worker)| {
            !worker.is_alone && turn.held_for_memory != Some(*id) && worker.has_free_slot()
        })
    }

    /// The worker that will have a free slot first.
    pub(super) fn next_free(&self) -> Option<WorkerId> {
        self.least_busy(|_, worker| !worker.is_alone)
    }

    /// The worker that has memory for a large attempt first, as far as is known.
    pub(super) fn least_reserved(&self) -> Option<WorkerId> {
        let workers = self.0.iter().filter(|(_, worker)| !worker.is_alone);
        let least = workers.min_by_key(|(_, worker)| worker.reserved);
        least.map(|(id, _)| *id)
    }

    fn least_busy(&self, takes: impl Fn(WorkerId, &Worker) -> bool) -> Option<WorkerId> {
        let workers = self.0.iter().filter(|(id, worker)| takes(**id, worker));
        let least = workers.min_by(|(_, one), (_, other)| {
            let (one, other) = (one.flights.len() * other.slots, other.flights.len() * one.slots);
            one.cmp(&other)
        });
        least.map(|(id, _)| *id)
    }

    /// If a slot is idle: the worker at which the most tasks wait, and how many it is to keep of those.
    pub(super) fn take_back(&mut self) -> Option<(WorkerId, u32)> {
        let is_idle = |worker: &Worker| !worker.is_alone && worker.has_free_slot();
        if !self.0.values().any(is_idle) {
            return None;
        }
        let waiting = (self.0.iter_mut())
            .filter(|(_, worker)| worker.unbegun() > 0 && !worker.is_returning)
            .max_by_key(|(_, worker)| worker.unbegun());
        let (id, worker) = waiting?;
        worker.is_returning = true;
        Some((*id, u32::try_from(worker.unbegun() / 2).unwrap_or(0)))
    }
}
