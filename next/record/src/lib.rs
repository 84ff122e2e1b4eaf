//! Everything that the runner keeps on disk: run directories, rows, manifest, lock, requests, store, cache entries,
//! the list in SQLite, and what is done to runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run; every write passes it or `writer`. Only the holder of
//! a run's lock writes into the run. This crate may know `model`.
//!
//! Begin reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

mod disk;
mod root;
mod rows;
mod run;

pub use disk::{
    error::{RecordError, in_use},
    fault::{now, sweep_every},
    lock::Holder,
    plugin_cache::PluginCache,
    scratch::Scratch,
};
pub use root::{
    list::{Runs, Swept},
    prune::{Kept, PrunePolicy, Pruned, Pruning},
    results_root::ResultsRoot,
    root_lock::Share,
    settings::SettingsFile,
};
pub use rows::{
    fold::{Fold, RowEffect, RowFacts, TrialState, UnplannedFold},
    line_reader::ReadLine,
    rerun::Rerun,
    writer::{Ack, Writer},
};
pub use run::{
    control::Answer,
    folder::new_id,
    live::{End, InFlight, Live, LiveWriter, WaitingTrial},
    manifest::{
        FORMAT, GroupPlace, Manifest, ManifestProvider, Metadata, Pause, Pin, Selected,
        SessionEntry, Transition,
    },
    owned::{NewPlan, NewRun, NewSession, Owned},
    requests::{Request, RequestMode, Requests, actor},
    run_dir::RunDir,
    run_head::{RunCounts, RunHead},
    verify::{DiskFault, Verified},
};

#[cfg(test)]
mod tests;
