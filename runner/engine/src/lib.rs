//! Plans, starts, resumes, merges and stops runs: schedules attempts, feeds worker processes and writes rows. Never parses,
//! compiles or runs plugins itself. Uses plain threads and channels.
//!
//! Depends on `model`, `files`, `scenario`, `record`, `results` and `prepare`. Start reading at [`exec`], then `session::run`, then
//! `schedule`. `cli/examples/embed.rs` is a program that embeds it.

#![warn(missing_docs)]

mod accept;
mod clock;
mod edits;
mod error;
mod event;
mod inputs;
mod known_lists;
mod merge;
mod request;
mod run_parts;
mod signals;
mod trust;
mod validate;

/// Calls outside of runs: of a plugin, of a trial of a stored run, and without a guest.
pub mod calls {
    mod inspect;
    mod probe;
    mod single;
    mod stored;

    pub use runner_prepare::compiler::Inspection;

    pub use self::inspect::inspect;
    pub(crate) use self::probe::Probe;
    pub use self::probe::{CallError, CallEvent, CallReply};
    pub use self::single::{PluginCall, SingleCall, describe};
}

/// Plans of scenarios: read from files or from the run that stores them, and compared with each other.
mod plan {
    mod access;
    mod bases;
    mod checks;
    mod diff;
    mod filtering;
    pub(crate) mod gate;
    mod graders;
    mod known;
    mod list_plugins;
    mod load;
    #[allow(clippy::module_inception, reason = "the folder is named for its main type")]
    mod plan;
    mod rejudge;
    mod replayed;
    mod rescore_plan;
    mod stored;
    mod stored_scenario;
    mod test_line;
    mod weak_checks;

    pub(crate) use self::access::{PlannedAccess, access_of, new_access};
    pub use self::access::{access, has_journal};
    pub(crate) use self::checks::{Checks, provider_problems};
    pub(crate) use self::diff::{changes_since, difference, plugin_changes};
    pub(crate) use self::filtering::{matching_rows, selected_filter};
    pub use self::filtering::{resolve_filter, resolve_filter_in};
    pub(crate) use self::graders::{TestGrader, unanswered};
    pub(crate) use self::known::has_same_known;
    pub(crate) use self::load::{load_plan, load_plan_at, manifest_providers, metadata};
    pub(crate) use self::plan::{Plan, Rescored};
    pub(crate) use self::rejudge::{Rejudge, RowPlace, StoredRow};
    pub(crate) use self::replayed::{Replayed, tries};
    pub(crate) use self::rescore_plan::RescorePlan;
    pub(crate) use self::stored::{
        known_tests, not_passed, planned_tests, stored_plan, unreadable, whole_tests,
    };
    pub(crate) use self::test_line::{Ids, TestLine};
}

/// The scheduler. It has no clock and no I/O, so tests can run it through any sequence of events.
///
/// Start reading at [`Schedule::apply`](schedule::Schedule::apply). A trial leaves its lane (`lanes`) when its rate or its
/// backoff allows (`timing`), and is sent to a worker with room (`window`, `memory`). Its report settles it or puts it back.
/// Deaths of workers are in `suspects`, early ends in `stopping` and `budgets`.
mod schedule {
    mod budgets;
    mod effect;
    mod lanes;
    mod memory;
    mod reports;
    #[allow(clippy::module_inception, reason = "the folder is named for its main type")]
    mod schedule;
    mod settings;
    mod stopping;
    mod suspects;
    mod timing;
    mod window;

    pub(crate) use self::budgets::{Spending, has_output};
    pub use self::effect::Blame;
    pub(crate) use self::effect::{
        Assignment, Effect, LostReason, Next, RowForm, StopMode, Waiting,
    };
    pub(crate) use self::schedule::Schedule;
    pub(crate) use self::settings::{Bounds, Pending, Policy, ScheduleSettings, Shape, Trials};

    #[cfg(test)]
    #[path = "../tests/schedule_bounds.rs"]
    mod bounds;
    #[cfg(test)]
    #[path = "../tests/schedule_graders.rs"]
    mod graders;
    #[cfg(test)]
    #[path = "../tests/schedule_harness.rs"]
    mod harness;
    #[cfg(test)]
    #[path = "../tests/schedule_large.rs"]
    mod large;
    #[cfg(test)]
    #[path = "../tests/schedule_random.rs"]
    mod random;
    #[cfg(test)]
    #[path = "../tests/schedule.rs"]
    mod tests;
}

/// The workers of a session: their processes, and the pool that prepares them and sends them tasks.
///
/// Start reading at `Pool::next`. `inputs` has the events of a session's loop, `worker` one worker, `supply` the content that
/// workers request, `remote` the workers on other machines.
mod workers {
    mod copies;
    mod handshake;
    mod inputs;
    mod launch;
    pub(crate) mod link;
    mod pool;
    mod process;
    mod quota;
    mod remote;
    mod supply;
    mod worker;

    pub(crate) use self::inputs::{Compared, Input, PrestartedWorker};
    pub use self::launch::start_worker;
    pub(crate) use self::launch::{check_machine, prestart};
    pub(crate) use self::link::shapes;
    pub use self::link::{EventSink, LinkEvent, WorkerExit, WorkerLink};
    pub(crate) use self::pool::{Pool, ReadyWorker};
    pub(crate) use self::quota::{max_artifact_bytes, max_artifacts};
    pub(crate) use self::remote::Remote;
    pub use self::remote::{
        JoiningWorker, Offer, OfferedSession, RemoteRequest, SourceEvent, SourceSink, WorkerSource,
    };
    pub(crate) use self::supply::{SessionFile, Supplies};
}

/// Sessions: `exec`, `resume`, `rescore` and groups of runs, the coordinator's loop, requests, signals and the watchdog.
///
/// Start reading at `start::exec`, `PreparedSession::run`, `Coordinator::run`. The data of a session's stages is in `stage`, and the
/// coordinator's part for each in `checking`, `running` (messages and rows) and `ending`. `progress` has the screen
/// and `live.json`. `watchdog` and `requests` run on separate threads.
mod session {
    mod checking;
    mod coordinator;
    mod ending;
    mod follow_up;
    mod group;
    mod in_flight;
    mod journals;
    mod judged;
    mod progress;
    mod requests;
    mod reruns;
    mod rescore;
    mod rescore_preview;
    mod resume;
    mod resume_plan;
    mod run;
    mod run_log;
    mod running;
    mod stage;
    mod start;
    mod watchdog;

    pub use self::requests::stop;
    pub(crate) use self::reruns::Reruns;
    pub use self::rescore::rescore;
    pub use self::rescore_preview::{Rejudgement, RescorePreview, preview_rescore};
    pub use self::resume::{preview, resume};
    pub(crate) use self::start::selected_plan;
    pub use self::{group::Group, start::exec};
}

/// Workers on other machines: sessions that are offered to them, and the worker processes there.
pub mod remote {
    pub use crate::clock::monotonic;
    pub use crate::schedule::Blame;
    pub use crate::workers::{
        EventSink, JoiningWorker, LinkEvent, Offer, OfferedSession, RemoteRequest, SourceEvent,
        SourceSink, WorkerExit, WorkerLink, WorkerSource, start_worker,
    };
}

pub use runner_record::{Answer, Share};

pub use self::accept::accept;
pub use self::edits::{EditRequest, Edits};
pub use self::error::EngineError;
pub use self::event::{Ended, LongWait, Observer, RunEvent, exit_of};
pub use self::inputs::inputs;
pub use self::known_lists::update_known;
pub use self::merge::{MergeRequest, merge};
pub use self::plan::{access, has_journal, resolve_filter, resolve_filter_in};
pub use self::request::{
    Decision, ExecRequest, Preview, RescoreRequest, ResumeRequest, SessionRequest,
};
pub use self::run_parts::scenario_path;
pub use self::session::{
    Group, Rejudgement, RescorePreview, exec, preview, preview_rescore, rescore, resume, stop,
};
pub use self::signals::{
    before_forced_exit, exit_on_signal, fail_large_writes, keep_continue_pending, keep_exit,
    kept_stop, on_stop, take_over,
};
pub use self::trust::{author, stored_access};
pub use self::validate::{preview_exec, validate};
