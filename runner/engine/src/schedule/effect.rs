//! [`Effect`]: instructions to the coordinator, and types that events and effects share.

use runner_model::{Micros, Outcome, Reason, RunTime, TaskId, WorkerId};

/// An attempt for a worker. The coordinator creates its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub task: TaskId,
    /// Index of the trial.
    pub trial: u64,
    /// Index of the grader that judges the newest row of the trial. `None` for an attempt of the trial's provider.
    pub grader: Option<u16>,
    /// Number of the provider's attempt, from 1. Unless its row is graded or judged, no row of the trial has it.
    pub attempt: u32,
    /// Number of the attempt among those that were not stopped, from 1: since the session's start, or since that of the
    /// session whose attempt this one continues.
    pub tries: u32,
    /// Start of the trial's first attempt in this session, from which `trial_timeout` counts. `None` for the first attempt.
    pub trial_started: Option<RunTime>,
}

/// The cause of a worker's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The guest of this task was inside one instruction a second after its deadline, so the supervisor killed the worker.
    Stuck(TaskId),
    /// The worker died by a signal that we did not send, exited with a code other than 0 or before its tasks ended, was
    /// silent or overdue, or broke the protocol.
    Died,
}

/// Mode of a stop. A stronger mode replaces a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMode {
    /// Starts no attempts. Running attempts finish.
    Drain,
    /// Interrupts running attempts after the grace.
    Stop,
    /// Interrupts running attempts immediately.
    Kill,
}

/// The progress of a stop.
#[derive(Debug)]
pub(super) struct StopState {
    pub(super) mode: StopMode,
    pub(super) reason: Reason,
    pub(super) message: Option<String>,
    pub(super) next: Step,
}

/// The next step of a stop with attempts in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Waits for running attempts without a bound.
    Wait,
    /// Kills workers that have not answered by this time.
    Kill(RunTime),
    /// Writes the rows of started attempts at this time, even if the worker's exit was not reported.
    GiveUp(RunTime),
    /// No attempts are in flight.
    Done,
}

/// The next step after a row, by its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Nothing,
    /// The row is `ungraded` until this grader has answered.
    Grader(u16),
    /// The attempt was cut off. If no retry follows, its outcome is final, and this grader only adds its grade.
    Partial(u16),
    /// The attempt was cut off. If no retry follows, its workspace decides: the outcome, and a grader if that is `ungraded`.
    Decided(Outcome, Option<u16>),
}

/// The row that is written of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    Reported,
    /// Final, and a grader that only adds its grade is called.
    Partial,
    /// That of [`Next::Decided`].
    Decided,
}

/// An instruction to the coordinator. Instructions must be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends a task to a worker.
    Send { worker: WorkerId, assignment: Assignment },
    /// Requests that a worker returns all but `keep` of its tasks that have not started.
    TakeBack { worker: WorkerId, keep: u32 },
    /// Pauses or continues all guests.
    Pause(bool),
    /// Sends a stop to all workers. They interrupt guests immediately with `kill`, otherwise after the grace.
    Stop { kill: bool },
    /// Kills a worker that has not answered in time.
    Kill(WorkerId),
    /// Starts a worker that runs suspects one at a time, in addition to the other workers.
    StartAlone {
        /// Whether the suspect is the task of a grader.
        for_grader: bool,
    },
    /// Writes the row of an attempt.
    Write {
        task: TaskId,
        /// `None` writes the report that is being handled.
        lost: Option<LostReason>,
        form: RowForm,
        /// Whether the row settles the trial.
        is_final: bool,
        /// Whether the attempt passed after one that did not.
        flaky: bool,
    },
    /// Reports a retry that is left out, because its wait would end after `bound`.
    LeaveOutRetry {
        /// Index of the trial.
        trial: u64,
        wait: Micros,
        bound: &'static str,
    },
    /// Ends the session.
    Finish {
        /// Reason why trials are left. `None` if all trials are done.
        reason: Option<Reason>,
        /// Details for the user.
        message: Option<String>,
    },
}

/// A trial whose next attempt waits for a backoff or a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Index of the trial.
    pub trial: u64,
    /// Index of the provider or grader.
    pub lane: usize,
    /// `retry` for a backoff, `rate-limit` for the rate of the provider or grader.
    pub why: &'static str,
    pub until: RunTime,
}

/// Reason why an attempt ended without a report. Each variant starts with the outcome and any fixed code of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// `stopped (lost)`: the worker died, and the attempt runs again.
    Lost,
    /// `stopped (stopped)`: the session stopped and the worker did not answer in time.
    Stopped,
    /// `timeout`: the guest was stuck past its deadline.
    Stuck,
    /// `error (crash)`: two workers died while they ran only this trial.
    Crash,
}
