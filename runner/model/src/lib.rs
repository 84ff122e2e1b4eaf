//! The types that cross crates: ids, rows, outcomes, the status graph, tests, providers, limits, and the frames between
//! coordinator and worker.
//!
//! Depends on no other crate, does no I/O and reads no clock. Checks everything that a worker sends ([`protocol`], [`row::check_row`]).
//!
//! Start at [`row`]: all other crates make, move, store or show lines of `index.jsonl`.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "runner needs Linux on x86_64 or aarch64. On other systems, build and run it in a Linux container, or in WSL 2 on Windows"
);

pub mod cache;
mod digest;
pub mod exit;
pub mod grants;
mod id;
pub mod known;
mod limits;
pub mod log;
pub mod outcome;
pub mod prepare;
pub mod protocol;
pub mod provider;
pub mod row;
mod settings;
pub mod statistics;
pub mod status;
pub mod test;
mod testing;
mod text;
mod time;
pub mod transcript;
pub mod workspace;

pub use digest::{Digest, Fingerprint, digest};
pub use grants::{Grants, NetGrant};
pub use id::{
    IdError, ProviderName, TaskId, TestId, TrialId, WorkerId, id_glob, id_word, worker_of,
};
pub use limits::{
    Dollars, Limit, LimitUnit, Limits, MAX_STACK, MAX_TOKENS, MIN_STACK, parse_stack,
};
pub use outcome::{ErrorClass, HostFault, Outcome};
pub use row::{Row, RowRef, Tail};
pub use settings::{
    BudgetName, Budgets, FailFast, Form, Gate, GateCondition, GateResult, GateRule, GateScope,
    LimitBound, MAX_JOBS, MAX_REPEAT, MAX_RETRIES, MAX_SHARDS, MAX_WEIGHT, ScenarioOverrides,
    Selected, SessionOverrides, SessionSettings, SetVars, Shard, media_type, tree,
};
pub use status::{Counts, GuestPhase, Reason, RunStatus, Stage, StopSignal};
pub use testing::{test_duration, test_setting};
use text::enum_text;
pub use text::{Text, alike, globs, json, recent_output, template, units, visible, without_mark};
pub use time::{Micros, RunClock, RunTime, Time, show_time, use_local_zone};

/// Maps trials to indexes in the plan. The suite implements it, so that a fold over rows need not know the suite.
pub trait Places {
    /// Returns the index of `trial`, from 0. `None` if the plan has no such trial.
    fn index(&self, trial: &TrialId) -> Option<u64>;
    /// Returns the number of planned trials. Every index is below it.
    fn trials(&self) -> u64;
    /// Returns the tests on a provider whose repeats end by a rule, in order.
    fn adaptive(&self) -> Vec<test::AdaptiveRepeats> {
        Vec::new()
    }
}
