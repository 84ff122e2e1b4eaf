//! The types that cross crates: ids, rows, outcomes, the status graph, tests, providers, limits, and the frames between
//! coordinator and worker.
//!
//! This crate does no I/O and reads no clock. Everything that a worker says is checked here, where it is decoded
//! ([`protocol`], [`row::check_row`]).
//!
//! Begin reading at [`row`]: one line of `index.jsonl` is what all other crates make, move, store or show.

pub mod cache;
mod digest;
pub mod exit;
pub mod grants;
mod id;
mod limits;
pub mod log;
pub mod outcome;
pub mod prepare;
pub mod protocol;
pub mod provider;
pub mod row;
mod session_settings;
pub mod status;
pub mod test;
mod text;
mod time;

pub use digest::{Digest, Fingerprint, digest};
pub use grants::{Grants, NetGrant};
pub use id::{IdError, ProviderName, TaskId, TestId, TrialId, WorkerId};
pub use limits::{Limit, LimitUnit, Limits};
pub use outcome::{ErrorClass, HostFault, Outcome};
pub use row::{Row, RowRef, Tail};
pub use session_settings::{BudgetName, Budgets, FailFast, SessionOverrides, SessionSettings};
pub use status::{Counts, Reason, RunStatus, Stage, StopSignal};
use text::enum_text;
pub use text::{Text, media_type, template, units, visible};
pub use time::{Micros, RunClock, RunTime, Time};

/// Finds a trial's index in the plan (0-based), which lets a fold over rows know trials without knowing the suite.
/// Implemented by the suite; sweep and list get an opener from their caller.
pub trait Places {
    /// The index of `trial`; `None` if the plan has no such trial.
    fn index(&self, trial: &TrialId) -> Option<u64>;
    /// Number of planned trials; every index is below it.
    fn trials(&self) -> u64;
}
