//! The use cases: what can be done with scenarios and runs, for any program that asks for it.
//!
//! Requests are plain values, and so are answers. What happens on the way goes to an observer. Nothing here prints, reads a
//! command line or sleeps in a loop of its own: `commands` is one face of it, and a server or a program that embeds the
//! runner can be another, with the same calls and the same results.

mod activity;
mod asking;
mod attempt_logs;
mod begin;
mod cancel;
mod choose;
mod closing;
mod compare;
mod compare_named;
mod details;
mod differences;
mod engine;
mod exclusivity;
mod follow;
mod follow_trials;
mod grader_sums;
mod group;
mod host;
mod list;
mod live;
mod log_entries;
mod matching;
mod member;
mod merge;
mod notice;
mod notifying;
mod observe;
mod page;
mod pause;
mod plugins;
mod preview;
mod protected;
mod queue;
mod rehearse;
mod replanning;
mod report;
mod reports;
mod request;
mod rescore;
mod resume;
mod root_settings;
mod scheduler;
mod secrets;
mod selecting;
mod session_log;
mod set_up;
mod show;
mod spreading;
mod start;
mod statistics;
mod stop;
mod table;
mod tending;
#[cfg(test)]
mod testing;
mod trends;
mod trial_list;
mod trial_matrix;
mod upkeep;
mod validated;
mod wait;
mod waiting;
mod worker;

pub use activity::waiting;
pub use attempt_logs::attempt_logs;
pub use begin::{Begin, NothingLeft};
pub use cancel::{Cancel, Cancelling, cancel};
pub use choose::{
    NamedRuns, ToCancel, all_to_cancel, last_if_group, last_of, only_incomplete, only_running,
};
pub use compare::{Compare, compare};
pub use compare_named::{CompareNamed, compare_named};
pub use exclusivity::Exclusivity;
pub use follow::{Followed, RunRows, RunnerLog, SeenRow};
pub use follow_trials::{SeenOfTrial, TrialLogs};
pub use group::{preview_group, resume_group, scenario_files, start_group};
pub use host::Host;
pub use list::{List, Listed, list};
pub use log_entries::swept_text;
use matching::TrialGlob;
pub use member::{GroupConclusion, GroupEnd, GroupMember};
pub use merge::{Merge, merge};
pub use notice::Notice;
pub use notifying::{notify_due, notify_run};
pub use observe::Observe;
pub use page::{AskedTrial, OpenPart, open_part, save_parts, trial_page};
pub use pause::{Pause, PauseAnswer, PausedRun, Pausing, pause, unpause};
pub use plugins::{
    Build, CreatePlugin, CreatedPlugin, Interruptible, build_plugin, create_plugin, inspect_plugin,
    list_tools,
};
pub use preview::{
    PendingTrial, Preview, PreviewedAccess, preview_resume, preview_start, validate,
};
pub use queue::{
    ActiveRuns, AddedRequest, DetachedStart, NextStart, QueuePlace, QueueWork, RefusedStart,
    START_ARGUMENT, StartedRun, enqueue, enqueue_once, enqueue_resume, list_queue, move_queued,
    remove_queued, resume_detached, run_requested, start_detached, start_next,
};
pub use rehearse::{GivenFile, PlainStdin, Rehearse, RehearsedGrading, RehearsedPlugin, rehearse};
pub use report::{overview, report};
pub use request::{Rescore, Resume, Start};
pub use rescore::{Rescored, rescore};
pub use resume::resume;
pub use root_settings::{retention_policy, root_settings};
pub use scheduler::scheduled_shard;
pub use selecting::RerunChoice;
pub use session_log::SessionLog;
pub use show::{Show, ShownRows, history, manifest, show};
pub use spreading::EngineChoice;
pub use start::start;
pub use stop::{Stop, StopAnswer, Stopped, Stopping, stop};
pub use table::{csv_table, report_named};
pub use tending::{Tended, retain, tend};
pub use trends::{AskedTrends, FoundTrends, trends};
pub use trial_list::{AskedTrials, TrialList, TrialOrder};
pub use upkeep::{Cleaned, Pruned, cleanup, pin, prune, reindex, unpin, verify};
pub use validated::Validated;
pub use wait::Wait;
pub use waiting::{POLL_EVERY, Waiting, block_on};
pub use worker::{WorkerRequest, check_engine, clean_engine, work, workers};

pub use crate::record::{Conclusion, Store};
