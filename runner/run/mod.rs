//! Turns a plan into rows.
//!
//! [`Plan::new`] finds what will run, [`run`] makes it happen: it links the plugins, starts the pool of executors, and
//! lets the dispatcher go on until no trial is left or a stop wins.

mod adopt;
mod canonical;
mod ceiling;
mod clock;
mod deadline;
mod dispatcher;
mod drive;
mod error;
mod event;
mod filesystems;
mod fingerprint;
mod first_recipe;
mod fit;
mod folders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod granted;
mod grants;
mod judged;
mod local;
mod names;
mod plan;
mod planned;
mod ready;
mod rehearsal;
mod requests;
mod room;
mod schema;
mod schema_cost;
#[cfg(test)]
mod scripted;
pub mod seam;
mod session_end;
mod signals;
mod spots;
mod start;
mod stop;
mod stored;
mod stored_evidence;
mod unmade;

pub use adopt::AdoptError;
pub use ceiling::set_limits;
pub use clock::wall_clock;
pub use deadline::DEFAULT_TIMEOUT;
pub use dispatcher::Message;
pub use error::{PlanError, ProviderError, ReadyError};
pub use event::{Event, Running};
pub use fit::{UnfitError, check_config, check_input, describe};
pub use folders::{FolderError, Protected, check_folders};
pub use granted::check_scenario;
pub use grants::{Environment, mounts, secret_names, secrets};
pub use local::fill_argument;
pub use names::TrialNames;
pub use plan::Plan;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use requests::not_granted;
pub use room::{NoRoom, Reduced};
pub use schema::{SCHEMA_ARGUMENT, schema_child};
pub use session_end::SessionEnd;
pub use signals::StopSignals;
pub use start::{Session, run};
pub use stop::{Cause, StopRequest, Watch, Watchdog};
pub use stored::StoredError;
pub use stored_evidence::{NotEnough, StoredEvidence};
