//! Everything on disk: run directories, their rows, the content store, SQLite.
//!
//! The run directory is the truth. A row counts once it is on disk, and SQLite repeats what manifests say.

mod artifacts;
mod birth;
mod content;
mod cut;
mod database;
mod durable;
mod error;
mod layout;
mod lock;
mod manifest;
mod pin;
mod policy;
mod prune;
mod reader;
mod recorder;
mod reindex;
mod retention;
mod row;
mod run_entry;
mod schema;
mod state;
mod status;
mod store;
#[cfg(test)]
mod testing;
mod verify;
mod words;
mod writer;

pub use birth::{Birth, BirthProvider, BirthScenario};
pub use content::{Blob, BlobSource};
pub use database::database_sql;
pub use error::{FindError, RecordError};
pub use layout::RunId;
pub use manifest::{
    End, Manifest, ManifestCounts, ManifestLimits, ManifestProvider, ManifestScenario, Metadata,
    Pinned, Session, Transition,
};
pub use pin::Pinning;
pub use policy::{Policy, Why};
pub use prune::{Amount, PrunedRun, Pruning, Spared};
pub use reader::{LineError, Rows, RunReader};
pub use recorder::{Entry, Finished, Recorder, Written};
pub use reindex::Reindexed;
pub use row::{Row, RowArtifact, RowCheck, RowError, RowMetric, RowOutput, RowUsage, StoredOutput};
pub use run_entry::RunEntry;
pub use schema::{benchmark_schema, row_schema};
pub use state::{Accepted, AttemptKey, Mark, State, accept};
pub use status::IllegalTransition;
pub use store::{Filter, Runs, Store};
pub use verify::{Damage, Verification};
