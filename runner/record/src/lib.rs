//! All files of the runner: runs with rows, manifests, locks and requests, the store, the cache of plugins and tables, the list of
//! runs in SQLite, merged runs, and the sweep of runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run, and all writes go through it or `writer`. Only the
//! holder of a run's lock writes into the run. Depends on `model` and `files`.
//!
//! Start reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

/// Paths, files and locks. Nothing here knows a run.
mod disk {
    pub(crate) mod beneath;
    pub(crate) mod content_store;
    pub(crate) mod durable;
    pub(crate) mod error;
    pub(crate) mod fault;
    pub(crate) mod layout;
    pub(crate) mod lock;
    pub(crate) mod owner;
    pub(crate) mod permissions;
    pub(crate) mod plugin_cache;
    pub(crate) mod removal;
    pub(crate) mod scratch;
    pub(crate) mod user_folder;
    pub(crate) mod user_key;
}

/// The rows of a run: writer, reader, repair and fold.
mod rows {
    pub(crate) mod adaptive;
    pub(crate) mod calls;
    pub(crate) mod fold;
    pub(crate) mod line_reader;
    pub(crate) mod ordered;
    pub(crate) mod repair;
    pub(crate) mod rerun;
    pub(crate) mod run_files;
    pub(crate) mod writer;
}

/// One run: its manifest, its owner, and requests to the owner.
mod run {
    pub(crate) mod contents;
    pub(crate) mod control;
    pub(crate) mod folder;
    pub(crate) mod labels;
    pub(crate) mod live;
    pub(crate) mod manifest;
    pub(crate) mod merge;
    pub(crate) mod metadata;
    pub(crate) mod new_run;
    pub(crate) mod notifications;
    pub(crate) mod owned;
    pub(crate) mod requests;
    pub(crate) mod run_dir;
    pub(crate) mod run_head;
    pub(crate) mod session_entry;
    pub(crate) mod signature;
    pub(crate) mod truth;
    pub(crate) mod verify;
    pub(crate) mod workspace;
}

/// All runs of a results root.
mod root {
    pub(crate) mod database;
    pub(crate) mod find;
    pub(crate) mod list;
    pub(crate) mod number;
    pub(crate) mod prune;
    pub(crate) mod queue;
    mod queue_files;
    pub(crate) mod results_root;
    pub(crate) mod root_lock;
    pub(crate) mod settings;
}

pub use disk::content_store::CheckedFile;
pub use disk::error::{Holder, RecordError, advice, in_use, is_full};
pub use disk::fault::{now, sweep_every};
pub use disk::layout::{command, default_root, is_latest, is_run_name};
pub use disk::plugin_cache::{PluginCache, TABLE};
pub use disk::{
    scratch::Scratch,
    user_folder::{Replacement, UserFolder},
    user_key::{key_files, sign_login},
};
pub use root::list::{DeadRuns, Runs, Swept};
pub use root::prune::{Kept, PrunePolicy, Pruned, Pruning};
pub use root::queue::{
    ActiveRun, LockedQueue, Preemption, QueueList, QueueState, QueuedRequest, TakenRequest,
};
pub use root::{results_root::ResultsRoot, root_lock::Share, settings::SettingsFile};
pub use rows::adaptive::AdaptiveTests;
pub use rows::calls::{Journal, JournalKey, Journals};
pub use rows::fold::{Fold, FoldSums, RowEffect, RowFacts, TrialState, UnplannedFold};
pub use rows::writer::{Ack, Writer};
pub use rows::{line_reader::ReadLine, rerun::Rerun};
pub use run::labels::{LabelChange, LabelRequest};
pub use run::live::{
    Compiling, End, InFlight, JoinedWorker, Live, LiveThread, LiveWriter, WaitingTrial,
    running_at_death,
};
pub use run::manifest::{FORMAT, GroupPlace, Manifest, MergedShard, NO_KNOWN, Pin, RowsFile};
pub use run::merge::{Merge, MergeFindings, MergeOutcome, MergeSource, ShardFindings};
pub use run::metadata::{ManifestProvider, Metadata, Selected};
pub use run::new_run::{NewPlan, NewRun, NewSession, RESCORE};
pub use run::notifications::{
    NotificationLine, NotificationLog, NotificationResult, NotifiedEvent,
};
pub use run::owned::{Owned, UnwrittenEnd};
pub use run::requests::{Request, RequestMode, Requests, actor};
pub use run::run_head::{RunCounts, RunHead, RunOrder, clock_caution};
pub use run::session_entry::{AddedRerun, Pause, RequestMark, SessionEntry, Transition};
pub use run::verify::{DiskFault, Verified};
pub use run::workspace::{LeftFiles, SavedFiles};
pub use run::{control::Answer, folder::new_id, run_dir::RunDir};

/// Entry point of the target `manifest` in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::run::manifest::fuzzing::manifests;
}

#[cfg(test)]
mod tests;
