//! Sessions: `exec`, `resume` and groups of runs, the coordinator's loop, requests, signals and the watchdog.

mod closing;
mod coordinator;
mod group;
mod in_flight;
mod live;
mod progress;
mod reports;
mod requests;
mod resume;
mod run;
mod run_parts;
mod start;
mod waiting;
mod watchdog;

pub use self::resume::{preview, resume};
pub use self::{group::Group, start::exec};
pub(crate) use self::{run::prestart, start::selected_plan};
