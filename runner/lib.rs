//! Runs lists of tests against *providers*, each a sandboxed WASM plugin, from declarative TOML scenarios.
//!
//! This is the library of the program `runner`. What a person asks of that program, another program asks by the same calls:
//! [`start`] and [`resume`] run a scenario's trials and block until the session is over, an observer sees what happens
//! meanwhile, and a [`Conclusion`] says what became of the run. [`Stopping`], [`Cancelling`] and [`Wait`] deal with runs of
//! other processes, by looks that do not block. [`Store`] finds runs in a results root.
//!
//! ```standalone_crate
//! use std::{env, process::ExitCode};
//!
//! use runner::{Event, ExitStatus, Host, Notice, Observe, Start};
//!
//! struct Screen;
//!
//! impl Observe for Screen {
//!     fn notice(&mut self, _: &Notice<'_>) {}
//!
//!     fn event(&mut self, event: &Event<'_>) {
//!         if let Event::Rows { entries, .. } = event {
//!             for entry in *entries {
//!                 println!("{}: {}", entry.attempt.trial, entry.attempt.outcome);
//!             }
//!         }
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     // Plugins are compiled in child processes of this program, which limit themselves.
//!     let arguments: Vec<_> = env::args_os().skip(1).collect();
//!     if let Some(code) = runner::serve_child(&arguments) {
//!         return code;
//!     }
//! #   let folder = tempfile::tempdir().unwrap();
//! #   // A command whose `_start` does nothing, so that it prints nothing.
//! #   let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\
//! #       \x07\x13\x02\x06memory\x02\0\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
//! #   std::fs::write(folder.path().join("quiet.wasm"), module).unwrap();
//! #   let text = r#"
//! #       name = "quiet"
//! #       timeout_minutes = 1
//! #       [providers.quiet]
//! #       plugin = "quiet.wasm"
//! #       [[tests]]
//! #       id = "says-nothing"
//! #       input = "anything"
//! #       expect = { equals = "" }
//! #   "#;
//! #   std::fs::write(folder.path().join("scenario.toml"), text).unwrap();
//! #   env::set_current_dir(&folder).unwrap();
//!     let program = env::current_exe().expect("the program has a path");
//!     let host = Host::new(program, env::temp_dir());
//!     let request = Start::new("scenario.toml", "results");
//!     match runner::start(&request, &host, &mut Screen) {
//!         Ok(conclusion) => {
//!             println!("{}, {}", conclusion.status, conclusion.verdict);
//!             ExitStatus::of(&conclusion).into()
//!         }
//!         Err(error) => {
//!             eprintln!("{:?}", error.report);
//!             error.status.into()
//!         }
//!     }
//! }
//! ```
#![cfg_attr(
    not(feature = "internals"),
    allow(
        dead_code,
        unused_imports,
        reason = "tests and benchmarks use more of the rooms than the program does"
    ),
    deny(unnameable_types)
)]
#[cfg(feature = "internals")]
pub mod cli;
#[cfg(not(feature = "internals"))]
mod cli;
#[cfg(feature = "internals")]
pub mod commands;
#[cfg(not(feature = "internals"))]
mod commands;
#[cfg(feature = "internals")]
pub mod error;
#[cfg(not(feature = "internals"))]
mod error;
#[cfg(feature = "internals")]
pub mod filter;
#[cfg(not(feature = "internals"))]
mod filter;
#[cfg(feature = "internals")]
pub mod fleet;
#[cfg(not(feature = "internals"))]
mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(feature = "internals")]
pub mod judge;
#[cfg(not(feature = "internals"))]
mod judge;
#[cfg(feature = "internals")]
pub mod model;
#[cfg(not(feature = "internals"))]
mod model;
#[cfg(feature = "internals")]
pub mod notify;
#[cfg(not(feature = "internals"))]
mod notify;
#[cfg(feature = "internals")]
pub mod output;
#[cfg(not(feature = "internals"))]
mod output;
#[cfg(feature = "internals")]
pub mod plugin;
#[cfg(not(feature = "internals"))]
mod plugin;
mod program;
#[cfg(feature = "internals")]
pub mod record;
#[cfg(not(feature = "internals"))]
mod record;
#[cfg(feature = "internals")]
pub mod report;
#[cfg(not(feature = "internals"))]
mod report;
#[cfg(feature = "internals")]
pub mod run;
#[cfg(not(feature = "internals"))]
mod run;
#[cfg(feature = "internals")]
pub mod scenario;
#[cfg(not(feature = "internals"))]
mod scenario;
#[cfg(feature = "internals")]
pub mod serve;
#[cfg(not(feature = "internals"))]
mod serve;
#[cfg(feature = "internals")]
pub mod session;
#[cfg(not(feature = "internals"))]
mod session;
#[cfg(feature = "internals")]
pub mod toolchain;
#[cfg(not(feature = "internals"))]
mod toolchain;
#[cfg(feature = "internals")]
pub mod view;
#[cfg(not(feature = "internals"))]
mod view;

// What there is to call, and what is asked and answered there.
pub use error::{Error, ExitStatus};
pub use filter::{Filter, FilterError};
pub use fleet::{EngineAddress, FleetError};
pub use program::{Process, run_program, serve_child};
pub use record::{
    By, Conclusion, FindError, IllegalTransition, JsonProblem, ManifestCounts, Pinned, RecordError,
    Rerun, RunEntry, RunFilter, RunId, RunPause, Runs, Store, Swept, Taken,
};
pub use run::{
    Event, JudgedTrial, LeftToOthers, Overdue, OverdueAction, Reduced, Running, Shortage,
    StopSignals,
};
pub use scenario::{
    BudgetName, Budgets, FailFast, Mistake, OptionFlag, Problem, RunOption, RunOptions,
    ScenarioError, Selection,
};
pub use session::{
    Begin, Build, Cancel, Cancelling, EngineChoice, Exclusivity, GroupConclusion, GroupEnd,
    GroupMember, Host, NothingLeft, Notice, Observe, Pause, PauseAnswer, PausedRun, Pausing,
    PendingTrial, Preview, PreviewedAccess, RerunChoice, Resume, SessionLog, Start, Stop,
    StopAnswer, Stopped, Stopping, Wait, Waiting, block_on, cancel, only_incomplete, only_running,
    pause, preview_group, preview_resume, preview_start, resume, resume_group, scenario_files,
    start, start_group, stop, unpause,
};

// What attempts and runs are said to be.
pub use model::{
    Actor, Artifact, Attempt, AttemptError, BoundSecret, Check, CheckVerdict, Content, Counts,
    Denied, Digest, ErrorClass, Fingerprint, FsGrant, FsMode, Grant, Grants, HostFault, IdError,
    Limit, LimitUnit, Limits, LogRecord, Metric, NetGrant, Outcome, PluginRole, ProviderId, Reason,
    RunStatus, Shard, Stage, StopMode, StopSignal, TestId, TrialId, Usage, Verdict,
};
pub use plugin::Heard;
pub use record::{AttemptKey, Entry, Mark};
pub use toolchain::{Built, Language, Source, SourceError, SourceKind};
pub use view::{NotifiedTarget, TrialBefore};
