//! All files of the runner: runs with rows, manifests, locks and requests, the store, the plugin cache, the list of runs and the
//! results of trials in SQLite, merged runs, and the sweep of runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run, and all writes go through it or `writer`. Only the
//! holder of a run's lock writes into the run. This crate may know `model`.
//!
//! Start reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

mod disk;
mod root;
mod rows;
mod run;

pub use disk::checked_file::CheckedFile;
pub use disk::error::{Holder, RecordError, advice, in_use};
pub use disk::fault::{now, sweep_every};
pub use disk::{
    layout::is_latest, layout::is_run_name, plugin_cache::PluginCache, scratch::Scratch,
};
pub use root::command::{command, default_root};
pub use root::list::{DeadRuns, Runs, Swept};
pub use root::prune::{Kept, PrunePolicy, Pruned, Pruning};
pub use root::queue::{
    ActiveRun, LockedQueue, Preemption, QueueList, QueueState, QueuedRequest, TakenRequest,
};
pub use root::trials::{RunResults, ShortFingerprints, TrialResult, Trials};
pub use root::{results_root::ResultsRoot, root_lock::Share, settings::SettingsFile};
pub use rows::fold::{Fold, RowEffect, RowFacts, TrialState, UnplannedFold};
pub use rows::writer::{Ack, Writer};
pub use rows::{line_reader::ReadLine, rerun::Rerun};
pub use run::labels::{LabelChange, LabelRequest};
pub use run::live::{Compiling, End, InFlight, Live, LiveWriter, WaitingTrial, running_at_death};
pub use run::manifest::{
    FORMAT, GroupPlace, Manifest, ManifestProvider, MergedShard, Metadata, Pause, Pin, RequestMark,
    RowsFile, Selected, SessionEntry, Transition,
};
pub use run::merge::{Merge, MergeFindings, MergeOutcome, MergeSource, ShardFindings, Still};
pub use run::new_run::{NewPlan, NewRun, NewSession, RESCORE};
pub use run::notifications::{
    NotificationLine, NotificationLog, NotificationResult, NotifiedEvent,
};
pub use run::owned::{Owned, UnwrittenEnd};
pub use run::requests::{Request, RequestMode, Requests, actor};
pub use run::run_head::{RunCounts, RunHead};
pub use run::verify::{DiskFault, Verified};
pub use run::{control::Answer, folder::new_id, run_dir::RunDir};

/// Entry point of the target `manifest` in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::run::manifest::fuzzing::manifests;
}

#[cfg(test)]
mod tests;
