//! Everything that the runner keeps on disk: run directories, rows, manifest, lock, requests, store, cache entries,
//! the list in SQLite, and what is done to runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run; every write passes it or `writer`. Only the holder of
//! a run's lock writes into the run. This crate may know `model`.
//!
//! Begin reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

mod appended;
mod beneath;
mod cache;
mod contents;
mod database;
mod durable;
mod error;
mod fault;
mod find;
mod fold;
mod head;
mod list;
mod live;
mod lock;
mod manifest;
mod modes;
mod owned;
mod repair;
mod rerun;
mod root;
mod rows;
mod run;
mod trust;
mod truth;
mod writer;

pub use cache::PluginCache;
pub use error::RecordError;
pub use fold::{Fold, RowFacts, TrialState};
pub use head::RunHead;
pub use list::{Runs, Swept};
pub use live::{InFlight, Live, LiveWriter};
pub use manifest::{
    Pause,
    FORMAT, GroupPlace, Manifest, ManifestProvider, Metadata, Selected, Pin, SessionEntry, Transition,
};
pub use owned::{End, NewRun, NewSession, Owned};
pub use rerun::Rerun;
pub use root::ResultsRoot;
pub use rows::ReadLine;
pub use run::RunDir;
pub use writer::{Ack, Writer};

#[cfg(test)]
mod tests;
