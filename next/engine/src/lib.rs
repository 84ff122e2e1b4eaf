//! Runs: plans them, schedules attempts, feeds worker processes, writes rows, starts, resumes and stops. It never parses,
//! compiles or runs foreign code. Plain threads and channels.
//!
//! Knows `model`, `scenario`, `record` and `prepare`. Start reading at [`exec`], then `session::run`, then `schedule`.

#![warn(missing_docs)]

mod clock;
mod error;
mod event;
mod input;
mod plan;
pub mod probe;
mod request;
mod schedule;
mod session;
mod signals;
mod validate;
mod workers;

pub use runner_record::Share;

pub use self::{
    error::EngineError,
    event::{Ended, Observer, RunEvent, exit_of},
    plan::Decision,
    request::{ExecRequest, Preview, ResumeRequest, SessionRequest},
    session::{Group, exec, preview, resume},
    validate::{preview_exec, validate},
};
