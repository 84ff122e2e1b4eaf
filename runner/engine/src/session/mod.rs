//! Sessions: `exec`, `resume` and groups of runs, the coordinator's loop, requests, signals and the watchdog.
//!
//! Start reading at `start::exec`, `run::run`, `Coordinator::run`. More of the coordinator: `reports` (messages and
//! rows), `progress` (screen, `live.json`), `waiting`, `closing`. `watchdog` and `requests` run on separate threads.

mod closing;
mod coordinator;
mod group;
mod in_flight;
mod judged;
mod progress;
mod reports;
mod requests;
mod reruns;
mod rescore;
mod rescore_preview;
mod resume;
mod run;
mod run_log;
mod run_parts;
mod start;
mod trust;
mod waiting;
mod watchdog;

pub use self::requests::stop;
pub(crate) use self::reruns::Reruns;
pub use self::rescore::rescore;
pub use self::rescore_preview::{Rejudgement, RescorePreview, preview_rescore};
pub use self::resume::{preview, resume};
pub(crate) use self::trust::{owner_notices, usable};
pub use self::{group::Group, run_parts::scenario_path, start::exec};
pub(crate) use self::{run::prestart, start::selected_plan};
