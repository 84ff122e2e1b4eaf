//! Everything that the runner keeps on disk: run directories, rows, manifest, lock, requests, store, cache entries,
//! the list in SQLite, and what is done to runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run; every write passes it or `writer`. Only the holder of
//! a run's lock writes into the run. This crate may know `model`.
//!
//! Begin reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

mod beneath;
mod cache;
mod content_store;
mod database;
mod durable;
mod error;
mod fault;
mod find;
mod fold;
mod folder;
mod list;
mod live;
mod lock;
mod manifest;
mod owned;
mod permissions;
mod prune;
mod repair;
mod requests;
mod rerun;
mod root;
mod root_lock;
mod rows;
mod run;
mod run_files;
mod run_head;
mod scratch;
mod settings;
mod verify;
mod writer;

pub use cache::PluginCache;
pub use error::{RecordError, in_use};
pub use fault::sweep_every;
pub use fold::{Fold, RowFacts, TrialState};
pub use folder::new_id;
pub use list::{Runs, Swept};
pub use live::{InFlight, Live, LiveWriter, WaitingTrial};
pub use lock::Holder;
pub use manifest::{
    FORMAT, GroupPlace, Manifest, ManifestProvider, Metadata, Pause, Pin, Selected, SessionEntry,
    Transition,
};
pub use owned::{End, NewPlan, NewRun, NewSession, Owned};
pub use prune::{Kept, PrunePolicy, Pruned, Pruning};
pub use requests::{Answer, Request, RequestMode, Requests, actor};
pub use rerun::Rerun;
pub use root::ResultsRoot;
pub use root_lock::Share;
pub use rows::ReadLine;
pub use run::{RunDir, now};
pub use run_head::RunHead;
pub use scratch::Scratch;
pub use settings::SettingsFile;
pub use verify::{DiskFault, Verified};
pub use writer::{Ack, Writer};

#[cfg(test)]
mod tests;
