//! Decides what happens after each report, death, stop or tick. It has no clock and no I/O, so tests can lead it through any
//! schedule.
//!
//! Begin reading at [`Schedule::on`]. A trial leaves its lane (`lanes`, `rates`), is sent to a worker with room (`window`,
//! `memory`), and its report settles it or puts it back (`retries`). Deaths of workers are in `suspects`, ends before the end
//! in `stopping` and `budgets`.

mod budgets;
mod lanes;
mod memory;
mod rates;
mod retries;
mod stopping;
mod suspects;
mod window;

use std::collections::BTreeMap;

use runner_model::{
    HostFault, Micros, Outcome, Reason, RowRef, RunTime, TaskId, WorkerId, provider::Rate,
    test::Retries,
};

pub use self::budgets::Spending;
use self::{
    lanes::{Lanes, OpenTrial},
    retries::Ending,
    stopping::Stopping,
    suspects::Suspects,
    window::{Flight, Turn, Worker, Workers},
};

/// Rows that may be handed over and not on disk before nothing more is assigned.
const MAX_UNACKED_ROWS: u64 = 4_096;
/// Bytes of such rows.
const MAX_UNACKED_BYTES: u64 = 8 << 20;
/// So many attempts in a row that the machine could not carry end the session.
const MAX_FAULTS: u32 = 3;

/// The plan's trials, by index. Implemented by the suite.
pub trait Trials {
    /// Number of trials; every index is below it.
    fn count(&self) -> u64;
    /// The first trial of `provider` with an index of at least `from`.
    fn next_trial(&self, provider: u16, from: u64) -> Option<u64>;
}

/// What a schedule goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many attempts run at once.
    pub jobs: u32,
    /// What bounds each provider's attempts.
    pub providers: Vec<Bounds>,
    /// When the session's time is over.
    pub timeout: RunTime,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Micros,
    /// At how many trials that ended badly the session begins no more.
    pub fail_fast: Option<u64>,
    /// The run's budgets, with what earlier sessions have used up.
    pub spending: Spending,
}

/// What bounds the attempts of a provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// How many run at once; 0: as many as there are jobs.
    pub concurrency: u32,
    /// How many may start in which time.
    pub rate: Option<Rate>,
    /// Bytes of memory that one may hold.
    pub memory: u64,
}

/// What a test's line says about attempts; the coordinator keeps it with each task that it sends.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which attempts are made again.
    pub retries: Retries,
    /// How long all attempts of a trial may take together.
    pub trial_timeout: Option<Micros>,
}

/// A trial that this session has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Attempts that its rows have already.
    pub attempts: u32,
    /// Whether a row that did not pass was seen in an earlier session; then a pass is flaky.
    pub had_bad: bool,
}

/// An attempt that a worker is to make. The coordinator reads the test's line and makes the task of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// A new id.
    pub task: TaskId,
    /// The trial's index.
    pub trial: u64,
    /// From 1; never a number that the trial's rows have.
    pub attempt: u32,
    /// When the trial's first attempt of this session began; `trial_timeout` counts from there.
    pub trial_began: Option<RunTime>,
}

/// Whose fault a worker's death is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The guest of this task was inside one instruction a second after its deadline, so the supervisor killed the worker.
    Stuck(TaskId),
    /// The worker died by a signal that we did not send, or exited with another code than 0.
    Died,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A worker can take tasks.
    WorkerReady {
        /// The worker.
        worker: WorkerId,
        /// How many tasks it runs at once.
        slots: u32,
        /// Bytes that the memories of its guests may have together.
        memory: u64,
        /// Whether it was started for [`Effect::StartAlone`].
        alone: bool,
    },
    /// A worker is gone; reports of its tasks no longer count.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// The tasks that its slots had begun.
        begun: &'a [TaskId],
        /// Whose fault it is; none: nobody's.
        blame: Option<Blame>,
        /// Of the test of the task that was stuck.
        policy: Option<&'a Policy>,
    },
    /// A worker gave tasks back that it has not begun.
    Returned {
        /// The worker.
        worker: WorkerId,
        /// The tasks.
        tasks: &'a [TaskId],
    },
    /// A worker's checked report. Reports of tasks that are not in flight there are ignored.
    Report {
        /// The worker.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// The row.
        row: &'a RowRef<'a>,
        /// What the machine lacked.
        host_fault: Option<HostFault>,
        /// Of the task's test.
        policy: &'a Policy,
    },
    /// Rows are on disk.
    Acked {
        /// How many rows are handed over and not on disk, as of this call.
        rows: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A row could not be stored. Nothing is assigned or written any more.
    StorageFailed,
    /// The session is to stop.
    Stop {
        /// How.
        mode: StopMode,
        /// Why.
        reason: Reason,
        /// More, for people.
        message: Option<String>,
    },
    /// The session is paused, or goes on. A stop ends a pause, and none begins during a stop.
    Pause(bool),
    /// All that has happened was told. Only now tasks are sent and the session ends, and what is due is done.
    Tick,
}

/// How a session stops. A stronger mode takes the place of a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMode {
    /// Begin nothing; what runs finishes.
    Drain,
    /// Interrupt what runs, after the grace.
    Stop,
    /// Interrupt what runs at once.
    Kill,
}

/// What the coordinator must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a task.
    Send {
        /// To this worker.
        worker: WorkerId,
        /// What it is.
        assignment: Assignment,
    },
    /// Ask a worker to give back unbegun tasks.
    TakeBack {
        /// The worker.
        worker: WorkerId,
        /// How many unbegun tasks it keeps.
        keep: u32,
    },
    /// Let all guests wait, or let them go on.
    Pause(bool),
    /// Tell all workers to stop.
    Stop {
        /// Interrupt at once.
        kill: bool,
    },
    /// Kill a worker that has not answered in time.
    Kill(WorkerId),
    /// Start a worker that gets one suspect alone, beside the others.
    StartAlone,
    /// Write the row of the report that is being handled.
    WriteReport {
        /// The task.
        task: TaskId,
        /// Whether it settles the trial.
        is_final: bool,
        /// Whether it passed after an attempt that did not.
        flaky: bool,
    },
    /// Write a row for an attempt whose worker did not answer.
    WriteFor {
        /// The attempt.
        assignment: Assignment,
        /// What became of it.
        fate: Fate,
        /// Whether it settles the trial.
        is_final: bool,
    },
    /// Nothing is left to do, or nothing more can be done; end the session.
    Finish {
        /// Why trials are left; none if nothing is.
        reason: Option<Reason>,
        /// More, for people.
        message: Option<String>,
    },
}

/// A trial whose next attempt waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The trial's index.
    pub trial: u64,
    /// `retry`: for its backoff. `rate-limit`: for the rate of its provider.
    pub why: &'static str,
    /// Until when.
    pub until: RunTime,
}

/// What became of an attempt whose worker did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// `stopped (lost)`: the worker died, the attempt is made again.
    Lost,
    /// `stopped (stopped)`: the session stopped and the worker did not answer in time.
    Stopped,
    /// `timeout`: the guest was stuck past its deadline.
    Stuck,
    /// `error (crash)`: the attempt ended its worker, twice and alone.
    Crash,
}

/// Decides what a session does. Tell it what happens with [`Schedule::on`], then [`Event::Tick`]; the first tick may come
/// before there is a worker.
#[derive(Debug)]
pub struct Schedule<T> {
    settings: Settings,
    lanes: Lanes<T>,
    /// Trials whose next attempt waits for its time, by that and their index.
    later: BTreeMap<(RunTime, u64), OpenTrial>,
    suspects: Suspects,
    workers: Workers,
    /// When the event that is being taken happened.
    now: RunTime,
    /// What follows from it.
    effects: Vec<Effect>,
    last_task: u64,
    /// Pending trials that have no final row yet, on disk or not.
    left: u64,
    /// Trials of this session that ended badly.
    bad: u64,
    /// Whether more would run if there were memory for them.
    waits_for_memory: bool,
    unacked_rows: u64,
    unacked_bytes: u64,
    /// Attempts that the machine could not carry since it has carried one.
    faults: u32,
    stop: Option<Stopping>,
    is_paused: bool,
    is_finished: bool,
}

impl<T: Trials> Schedule<T> {
    /// A session that does those of `trials` for which `pending` says something. Asks for each index once, in order.
    pub fn new(settings: Settings, trials: T, pending: impl FnMut(u64) -> Option<Pending>) -> Self {
        let lanes = Lanes::new(trials, &settings, pending);
        Self {
            left: lanes.pending(),
            lanes,
            settings,
            later: BTreeMap::new(),
            suspects: Suspects::default(),
            workers: Workers::default(),
            now: RunTime(0),
            effects: Vec::new(),
            last_task: 0,
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

    /// Takes what happened, and appends what the coordinator must do. Does nothing after [`Effect::Finish`].
    pub fn on(&mut self, now: RunTime, event: Event<'_>, effects: &mut Vec<Effect>) {
        if self.is_finished {
            return;
        }
        self.now = now;
        match event {
            Event::WorkerReady {
                worker,
                slots,
                memory,
                alone,
            } => self.on_ready(worker, slots, memory, alone),
            Event::WorkerLost {
                worker,
                begun,
                blame,
                policy,
            } => self.on_lost(worker, begun, blame, policy),
            Event::Returned { worker, tasks } => self.on_returned(worker, tasks),
            Event::Report {
                worker,
                task,
                row,
                host_fault,
                policy,
            } => {
                if let Some(flight) = self.workers.take(worker, task, Some(row.duration())) {
                    self.on_report((task, flight), row, host_fault, policy);
                }
            }
            Event::Acked { rows, bytes } => {
                (self.unacked_rows, self.unacked_bytes) = (rows, bytes);
            }
            Event::StorageFailed => {
                self.effects.push(Effect::Stop { kill: true });
                self.finish(Some(Reason::Storage), None);
            }
            Event::Stop {
                mode,
                reason,
                message,
            } => self.begin_stop(mode, reason, message),
            Event::Pause(is_paused) => self.pause(is_paused),
            Event::Tick => self.on_tick(),
        }
        effects.append(&mut self.effects);
    }

    /// When the next [`Event::Tick`] is due, if nothing happens before.
    pub fn wake_at(&self) -> Option<RunTime> {
        if self.is_finished {
            return None;
        }
        let retry = self.later.keys().next().map(|(at, _)| *at);
        let suspects = self.suspects.waiting.iter();
        let rate = self
            .lanes
            .opens_at(self.now, suspects.map(|trial| trial.lane));
        let starts = retry.into_iter().chain(rate);
        let starts = starts.filter(|_| self.stop.is_none());
        starts.chain(self.next_bound()).min()
    }

    /// Whether more would run if there were memory for them.
    pub fn waits_for_memory(&self) -> bool {
        self.waits_for_memory
    }

    /// What of the run's budgets is used up.
    pub fn spending(&self) -> &Spending {
        &self.settings.spending
    }

    /// How many attempts run, if each worker has begun what it can.
    pub fn running(&self) -> u64 {
        let running = self.workers.0.values().map(Worker::running);
        running.sum::<usize>() as u64
    }

    /// Trials that have no final row yet, on disk or not.
    pub fn left(&self) -> u64 {
        self.left
    }

    fn on_tick(&mut self) {
        self.enforce_bounds();
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= self.now
        {
            self.lanes.put_back(first.remove());
        }
        let is_disk_behind =
            self.unacked_rows >= MAX_UNACKED_ROWS || self.unacked_bytes >= MAX_UNACKED_BYTES;
        if self.stop.is_none() && !self.is_paused && !is_disk_behind {
            self.assign_suspect();
            self.assign();
            // A slot that lacks memory is no better place for what waits elsewhere.
            if !self.waits_for_memory
                && let Some((worker, keep)) = self.workers.take_back()
            {
                self.effects.push(Effect::TakeBack { worker, keep });
            }
        }
        if self.unacked_rows > 0 || self.workers.in_flight() > 0 {
            return;
        }
        if self.left == 0 {
            // A stop that leaves nothing undone is none.
            self.finish(None, None);
        } else if let Some(stop) = &mut self.stop {
            let (reason, message) = (stop.reason, stop.message.take());
            self.finish(Some(reason), message);
        } else if self.is_used_up() {
            let message = self.settings.spending.used_up_by_providers();
            self.finish(Some(Reason::Budget), Some(message));
        }
    }

    fn finish(&mut self, reason: Option<Reason>, message: Option<String>) {
        self.is_finished = true;
        self.effects.push(Effect::Finish { reason, message });
    }

    /// Fills the workers' windows with the trials that come first in the plan.
    fn assign(&mut self) {
        self.workers.open();
        self.waits_for_memory = false;
        let mut turn = Turn::default();
        while let Some((lane, is_bounded)) = self.lanes.first(self.now, &turn) {
            let memory = self.lanes.reserve(lane);
            let may_wait = !is_bounded && self.may_get_ahead();
            match self.workers.choose(may_wait, &turn, memory) {
                Some(worker) => {
                    if let Some(trial) = self.lanes.take(lane) {
                        self.send(worker, trial, memory);
                    }
                }
                // One worker gets nothing else, or others would take what it frees for ever.
                None if self.workers.have_free_slots(&turn) => {
                    self.waits_for_memory = true;
                    turn.kept = turn.kept.or(self.workers.least_reserved());
                    turn.passed.push(lane);
                }
                // One worker gets nothing more ahead, or a bounded lane would wait for a slot until others have no trials.
                None if is_bounded => {
                    turn.only_unbounded = true;
                    turn.held = self.workers.next_free();
                }
                None => return,
            }
        }
    }

    /// Whether tasks may wait at workers: never more than may end badly before the session gives up.
    fn may_get_ahead(&self) -> bool {
        let most = self.settings.fail_fast;
        most.is_none_or(|most| (self.workers.in_flight() as u64) < most.saturating_sub(self.bad))
    }

    fn send(&mut self, worker: WorkerId, trial: OpenTrial, memory: u64) {
        self.last_task += 1;
        let task = TaskId(self.last_task);
        let flight = Flight {
            trial,
            sent: self.now,
            memory,
        };
        let assignment = flight.assignment(task);
        self.effects.push(Effect::Send { worker, assignment });
        self.lanes.start(trial.lane, self.now);
        self.workers.sent(worker, task, flight);
    }

    fn on_returned(&mut self, worker: WorkerId, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(flight) = self.workers.take(worker, *task, None) {
                self.never_began(flight);
            }
        }
    }

    /// Takes a report of a task that was in flight.
    fn on_report(
        &mut self,
        (task, flight): (TaskId, Flight),
        row: &RowRef<'_>,
        host_fault: Option<HostFault>,
        policy: &Policy,
    ) {
        let took = Micros::from(row.duration());
        let began = RunTime(self.now.0.saturating_sub(took.0)).max(flight.sent);
        let mut trial = self.has_begun(flight, began);
        self.lanes.measure(trial.lane, row.usage.peak_memory);
        self.spend(trial.lane, &row.metrics);
        if !row.outcome.can_be_final() {
            // It needed more than was reserved for it, and others had the rest.
            let is_share_full = host_fault == Some(HostFault::Memory)
                && flight.memory < self.lanes.limit(trial.lane);
            trial.needs_limit |= is_share_full;
            self.put_back(trial);
            self.write_report(task, false, false);
            if !is_share_full {
                self.on_fault(row, host_fault);
            }
            return;
        }
        self.faults = 0;
        trial.suspect = None;
        let flaky = row.outcome == Outcome::Passed && trial.had_bad;
        trial.had_bad |= row.outcome.is_bad();
        let is_final = !self.retry(trial, Ending::of(row), policy);
        self.write_report(task, is_final, is_final && flaky);
        if is_final {
            self.settle(row.outcome.is_bad());
        }
    }

    /// Counts an attempt that the machine could not carry. Other attempts of outcome `stopped` count, too: unless the
    /// session stops, nobody asked for them, and then it changes nothing.
    fn on_fault(&mut self, row: &RowRef<'_>, fault: Option<HostFault>) {
        self.faults += 1;
        if self.faults < MAX_FAULTS {
            return;
        }
        let message = row.error.as_ref().map_or("", |error| &error.message);
        let message = format!("{MAX_FAULTS} attempts in a row could not be made: {message}");
        let reason = fault.map_or(Reason::Internal, HostFault::reason);
        self.begin_stop(StopMode::Drain, reason, Some(message));
    }

    /// Notes that a task is not in flight any more and has a row.
    fn has_begun(&mut self, flight: Flight, began: RunTime) -> OpenTrial {
        self.lanes.release(flight.trial.lane);
        let mut trial = flight.trial;
        trial.attempts += 1;
        trial.began.get_or_insert(began);
        trial
    }

    /// Notes that a task is not in flight any more and never was made: the number of its attempt is free again.
    fn never_began(&mut self, flight: Flight) {
        self.lanes.release(flight.trial.lane);
        self.put_back(flight.trial);
    }

    /// Lets a trial be attempted again at once.
    fn put_back(&mut self, trial: OpenTrial) {
        match trial.suspect {
            Some(_) => self.suspects.waiting.push_back(trial),
            None => self.lanes.put_back(trial),
        }
    }

    fn write_report(&mut self, task: TaskId, is_final: bool, flaky: bool) {
        self.unacked_rows += 1;
        self.effects.push(Effect::WriteReport {
            task,
            is_final,
            flaky,
        });
    }

    fn write_for(&mut self, (task, flight): (TaskId, Flight), fate: Fate, is_final: bool) {
        let assignment = flight.assignment(task);
        self.unacked_rows += 1;
        self.effects.push(Effect::WriteFor {
            assignment,
            fate,
            is_final,
        });
    }
}

impl Flight {
    fn assignment(&self, task: TaskId) -> Assignment {
        Assignment {
            task,
            trial: self.trial.index,
            attempt: self.trial.attempts + 1,
            trial_began: self.trial.began,
        }
    }
}

#[cfg(test)]
#[path = "../tests/schedule_bounds.rs"]
mod bounds;
#[cfg(test)]
#[path = "../tests/schedule_desk.rs"]
mod desk;
#[cfg(test)]
#[path = "../tests/schedule_random.rs"]
mod random;
#[cfg(test)]
#[path = "../tests/schedule.rs"]
mod tests;
