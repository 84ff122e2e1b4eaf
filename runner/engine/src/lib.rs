//! Plans, starts, resumes, merges and stops runs: schedules attempts, feeds worker processes and writes rows. Never parses,
//! compiles or runs plugins itself. Uses plain threads and channels.
//!
//! Depends on `model`, `scenario`, `record` and `prepare`. Start reading at [`exec`], then `session::run`, then `schedule`.
//! `cli/examples/embed.rs` is a program that embeds it.

#![warn(missing_docs)]

mod clock;
mod error;
mod event;
mod input;
mod merge;
mod plan;
pub mod probe;
mod request;
mod schedule;
mod session;
mod signals;
mod stored_call;
mod validate;
mod workers;

pub use runner_record::{Answer, Share};

pub use self::error::EngineError;
pub use self::event::{Ended, LongWait, Observer, RunEvent, exit_of};
pub use self::merge::{MergeRequest, merge};
pub use self::plan::{Decision, resolve_filter, resolve_filter_in};
pub use self::request::{ExecRequest, Preview, RescoreRequest, ResumeRequest, SessionRequest};
pub use self::session::{
    Group, Rejudgement, RescorePreview, exec, preview, preview_rescore, rescore, resume,
    scenario_path, stop,
};
pub use self::signals::{
    before_forced_exit, exit_on_signal, fail_large_writes, kept_stop, on_stop, take_over,
};
pub use self::stored_call::StoredCall;
pub use self::validate::{preview_exec, validate};
