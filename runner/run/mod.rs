//! Turns a plan into rows.
//!
//! [`Plan::new`] finds what will run, [`run`] makes it happen: it links the plugins, starts the pool of executors, and
//! lets the dispatcher go on until no trial is left or a stop wins. [`SessionEnd`] says what its run becomes.

mod attempt;
mod clock;
mod dispatcher;
mod drive;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod graders;
mod grading;
mod grants;
mod local;
mod plan;
mod ready;
mod rejudge;
#[cfg(test)]
mod scripted;
pub mod seam;
mod session_end;
mod spending;
mod start;
mod stop;
mod workers;

pub use attempt::{NotEnough, Rehearsal, Rehearsed, StoredEvidence};
pub use clock::wall_clock;
pub use dispatcher::SessionMessage;
pub use event::{Event, JudgedTrial, Running, Shortage};
pub use grading::{Backlog, Unjudged};
pub use grants::{
    Environment, FolderError, Protected, check_folders, mounts, secret_names, secrets,
};
pub use local::fill_argument;
pub use plan::{
    AdoptError, DividedPlan, LeftToOthers, NoRoom, Plan, PlanChanges, PlanError, ProviderError,
    Reduced, StoredError, TrialNames, check_scenario, idle_graders, larger_budgets,
    read_for_validation, set_limits,
};
pub use ready::{
    ReadyError, SCHEMA_ARGUMENT, UnfitError, check_config, check_input, describe, not_granted,
    schema_child,
};
pub use rejudge::{PlannedWith, Rejudged, Rejudging, ShakyTrials, TrialToGrade, judged};
pub use session_end::SessionEnd;
pub use start::{Session, run};
pub use stop::{
    Cause, Overdue, OverdueAction, PauseNews, Pauses, StopRequest, StopSignals, Watchdog,
    WatchdogSettings,
};
pub use workers::{
    Bundle, MachineAllowance, RemoteNews, RemoteWorker, RunNews, Seat, SuiteCopy, WORKER_ARGUMENT,
    WorkerHost, Workplace, seat_name, worker_child,
};

#[cfg(feature = "fleet")]
pub use crate::plugin::ENGINE;
