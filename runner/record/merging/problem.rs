//! [`ShardProblem`]: why a shard cannot be merged.

use thiserror::Error;

use crate::{
    model::{Reason, RunStatus},
    record::error::RecordError,
};

/// Why a shard cannot be merged.
#[derive(Debug, Error)]
pub enum ShardProblem {
    /// There is no run.
    #[error("is no run")]
    NoRun,
    /// There is one that cannot be read.
    #[error("cannot be read: {error}")]
    Unreadable {
        /// Why.
        error: Box<RecordError>,
    },
    /// It is a run of a whole plan.
    #[error("is a run of a whole plan, and no shard")]
    NoShard,
    /// It was divided by another version of the runner, in another way.
    #[error("divides its plan in another way than this version of the runner: `{function}`")]
    OtherFunction {
        /// How it does.
        function: String,
    },
    /// A process works on it.
    #[error("is running{}", pid.map(|pid| format!(", as process {pid}")).unwrap_or_default())]
    Running {
        /// Which process.
        pid: Option<u32>,
    },
    /// It is of another plan than the first one that is named.
    #[error("is of another plan than `{base}`: {difference}")]
    OtherPlan {
        /// The first shard's directory.
        base: String,
        /// In what they differ.
        difference: String,
    },
    /// There is another run of the same shard.
    #[error("is shard {shard}, as is `{other}`: their trials overlap")]
    Twice {
        /// Which shard.
        shard: String,
        /// The other one's directory.
        other: String,
    },
    /// A row is of a trial that another shard has.
    #[error("has a row of `{trial}`, which is another shard's trial (line {line} of `{file}`)")]
    Misplaced {
        /// The name of the file.
        file: String,
        /// Which line, from 1.
        line: u64,
        /// The trial.
        trial: String,
    },
    /// Lines of its rows are damaged.
    #[error("has {} of rows, the first of them line {line} of `{file}`: {problem}", crate::model::plural(*lines, "damaged line"))]
    Damaged {
        /// How many.
        lines: u64,
        /// The name of the first one's file.
        file: String,
        /// The first of them, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The last line is only the beginning of one.
    #[error("ends in the middle of a row: {problem}")]
    Torn {
        /// What is wrong with it.
        problem: String,
    },
    /// Trials have no final row.
    #[error("is {status}{}: {} no result", reason.map(|reason| format!(" ({reason})")).unwrap_or_default(), have(*count))]
    Holes {
        /// How many.
        count: u64,
        /// Where its run is in its life.
        status: RunStatus,
        /// Why.
        reason: Option<Reason>,
    },
}

fn have(trials: u64) -> String {
    let verb = if trials == 1 { "has" } else { "have" };
    format!("{} {verb}", crate::model::plural(trials, "trial"))
}

impl ShardProblem {
    /// Tells whether trials without a result are all that comes of it.
    pub fn is_hole(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Torn { .. } | Self::Holes { .. }
        )
    }
}
