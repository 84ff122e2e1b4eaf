//! [`Effect`]: what the coordinator has to do, and the words that events and effects share.

use runner_model::{Reason, RunTime, TaskId, WorkerId};

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
    pub trial_started: Option<RunTime>,
}

/// Whose fault a worker's death is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The guest of this task was inside one instruction a second after its deadline, so the supervisor killed the worker.
    Stuck(TaskId),
    /// The worker died by a signal that we did not send, or exited with another code than 0.
    Died,
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
    /// Write the row of an attempt.
    Write {
        /// The attempt.
        task: TaskId,
        /// What became of it if its worker did not answer; none: what the report says that is being handled.
        lost: Option<LostReason>,
        /// Whether it settles the trial.
        is_final: bool,
        /// Whether it passed after an attempt that did not.
        flaky: bool,
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
pub enum LostReason {
    /// `stopped (lost)`: the worker died, the attempt is made again.
    Lost,
    /// `stopped (stopped)`: the session stopped and the worker did not answer in time.
    Stopped,
    /// `timeout`: the guest was stuck past its deadline.
    Stuck,
    /// `error (crash)`: the attempt ended its worker, twice and alone.
    Crash,
}
