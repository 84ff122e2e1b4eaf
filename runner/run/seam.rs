//! The seam between the dispatcher and whoever executes: the messages, and nothing else.
//!
//! Whoever executes may be a pool of this process, a script in a test or another machine: the dispatcher knows no more of
//! it than what stands here. Times are durations, never instants, because two sides have no clock in common.

use std::{sync::Arc, time::Duration};

use crate::{
    model::{Attempt, TrialId},
    record::AttemptKey,
    scenario::Test,
};

/// An executor, or several that take and answer assignments as one.
///
/// Nobody else ever has the same: one that is lost and comes back has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutorId(pub u32);

/// The name of whoever executes graders; nobody else does.
pub const GRADERS: ExecutorId = ExecutorId(u32::MAX);

/// The machine that executors are on, by the name of the worker that they belong to; without one it is the run's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineName(pub Option<Arc<str>>);

/// How much an executor carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many attempts it makes at the same time.
    pub slots: usize,
    /// What is reserved for these attempts may add up to so much, in bytes.
    pub memory: u64,
}

/// One attempt that an executor is to make.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// Which of the trial's attempts, from 1.
    pub number: u32,
    /// The provider's place in the scenario.
    pub provider: usize,
    /// The trial's id.
    pub trial: TrialId,
    /// What is reserved for it of the executor's memory, in bytes: less than its limit where others of its provider have held
    /// less.
    pub memory: u64,
    /// What is tested.
    pub test: Arc<Test>,
    /// How much is left of the test's `trial_timeout`, from the moment in which the assignment arrives; absent where the
    /// attempt is the trial's first one, with which that time begins.
    pub trial_left: Option<Duration>,
}

/// What the dispatcher says to an executor.
#[derive(Debug)]
pub enum ToExecutor {
    /// Make these attempts, in this order. There may be more than it has slots: the rest lies ready.
    Assign(Vec<Assignment>),
    /// Give back what has not been begun.
    TakeBack,
    /// The same, make what has been begun, and leave: the machine lacks what attempts need. The session goes on elsewhere.
    SetAside {
        /// Which attempts have failed there in a row, and what was lacking, for people.
        why: Arc<str>,
    },
    /// Ask guests to end by themselves, and interrupt them when so much time has passed. A later one may leave less.
    Stop {
        /// For how long guests are asked; zero interrupts them at once.
        grace: Duration,
    },
    /// Nothing more will be assigned: tear down what is kept, and leave.
    Close,
}

/// What executors say to the dispatcher. Messages of one executor arrive in the order in which it has sent them; one may
/// arrive twice, too late or not at all.
#[derive(Debug)]
pub enum FromExecutors {
    /// An executor is there, and may be assigned attempts from now on.
    Joined {
        /// Its name from now on.
        who: ExecutorId,
        /// What it carries.
        capacity: Capacity,
        /// Where it is: what one executor lacks, others of its machine lack as well.
        machine: MachineName,
    },
    /// Attempts were begun just now.
    Started {
        /// By whom.
        who: ExecutorId,
        /// Which.
        attempts: Vec<AttemptKey>,
    },
    /// Attempts were made and judged.
    Reports {
        /// By whom.
        who: ExecutorId,
        /// What they came to.
        attempts: Vec<Attempt>,
    },
    /// Attempts were made and judged, and the session's own machine could not keep what they have left: whoever has made them
    /// lacked nothing.
    Unkept {
        /// By whom.
        who: ExecutorId,
        /// What they came to by that.
        attempts: Vec<Attempt>,
    },
    /// Attempts that were assigned are given back: they were not begun, and will not be.
    Returned {
        /// By whom.
        who: ExecutorId,
        /// Which.
        attempts: Vec<AttemptKey>,
    },
    /// What these attempts came to will never be known.
    Lost {
        /// Who had them.
        who: ExecutorId,
        /// Which.
        attempts: Vec<AttemptKey>,
        /// Why.
        why: Loss,
    },
    /// An executor is not there any more. What it had and did not answer is lost.
    Left {
        /// Which.
        who: ExecutorId,
    },
}

/// Why attempts are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Their process, their machine or the way to it is gone.
    Gone,
    /// The runner's own code has failed where they ran, with these words; the session cannot be trusted any more.
    Broken(String),
}

impl Assignment {
    /// Which attempt of which trial it is.
    pub fn key(&self) -> AttemptKey {
        AttemptKey {
            ordinal: self.ordinal,
            number: self.number,
        }
    }
}
