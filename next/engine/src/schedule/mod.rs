//! Decides what happens after each report, death, stop or tick. It has no clock and no I/O, so tests can lead it through any
//! schedule.

use runner_model::{HostFault, Micros, Reason, RowRef, RunTime, TaskId, WorkerId, test::Retries};
use runner_scenario::PlannedTrial;

/// The plan's trials, by index. Implemented by the suite.
pub trait Trials {
    /// Number of trials; every index is below it.
    fn count(&self) -> u64;
    /// The trial of an index.
    fn trial(&self, index: u64) -> PlannedTrial;
    /// The first trial of `provider` with an index of at least `from`.
    fn next_trial(&self, provider: u16, from: u64) -> Option<u64>;
}

/// What a schedule goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many attempts run at once.
    pub jobs: u32,
    /// For each provider, how many of its attempts run at once; 0: as many as `jobs`.
    pub concurrency: Vec<u32>,
    /// For each provider, the memory limit of an attempt in bytes.
    pub memory: Vec<u64>,
    /// When the session's time is over.
    pub timeout: RunTime,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Micros,
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
        /// Bytes that its guests may have together.
        memory: u64,
    },
    /// A worker is gone; reports of its tasks no longer count.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// The tasks that its slots had begun.
        begun: &'a [TaskId],
        /// Whose fault it is; none: nobody's.
        blame: Option<Blame>,
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
        /// How many rows are handed over and not on disk.
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
    },
    /// Guests stand still, or go on (part 2).
    Pause(bool),
    /// Time has passed.
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
