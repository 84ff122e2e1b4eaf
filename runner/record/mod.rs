//! Everything on disk: run directories, their rows, the content store, SQLite.
//!
//! The run directory is the truth. A row counts once it is on disk, and SQLite repeats what manifests say.

mod account;
mod artifacts;
mod birth;
mod brief;
mod by;
mod claim;
mod conclusion;
mod content;
mod counts;
mod cut;
mod database;
mod denials;
mod durable;
mod error;
pub mod failpoint;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod history;
mod inflight;
pub mod last_words;
mod layout;
mod limits;
mod lock;
mod log;
mod look;
mod manifest;
mod modes;
mod numbers;
mod pin;
mod policy;
mod projection;
mod prune;
mod reader;
mod recorder;
pub(crate) mod regular;
mod reindex;
mod repair;
pub mod request;
mod rerun;
mod retention;
mod row;
mod run_entry;
mod sandbox;
mod scenario_copy;
mod schema;
mod short;
mod sign;
mod state;
mod status;
mod store;
mod sweep;
mod tail;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
mod verify;
pub(crate) mod words;
mod writer;

pub use account::{Account, Wanted};
pub use birth::{Birth, BirthProvider, BirthScenario, Place};
pub use by::By;
pub use claim::{Claim, Opening};
pub use conclusion::Conclusion;
pub use content::{Blob, BlobSource};
pub use counts::ManifestCounts;
pub use database::database_sql;
pub use denials::{Denial, Denials};
pub use error::{CancelError, ClaimError, FindError, RecordError, Taken};
pub use history::{Asked, History};
pub use inflight::{InFlight, Underway};
pub use last_words::LastWords;
pub use layout::{RunId, is_run, kept_in_root};
pub use limits::ManifestLimits;
pub use lock::{Busy, Holder};
pub use look::{InFlightAtDeath, Look};
pub use manifest::{
    End, Manifest, ManifestProvider, ManifestScenario, Metadata, Pinned, Session, Transition,
};
pub use modes::{create_directories, file_mode, follow_umask};
pub use pin::Pinning;
pub use policy::{Policy, Why};
pub use prune::{Amount, PrunedRun, Pruning, Spared};
pub use reader::{LineError, Rows, RunReader};
pub use recorder::{ContentPaths, Entry, Finished, Recorder, Written};
pub use reindex::Reindexed;
pub use rerun::{Rerun, is_meant};
pub use row::{
    Row, RowArtifact, RowCheck, RowDenied, RowError, RowMetric, RowOutput, RowUsage, StoredOutput,
};
pub use run_entry::RunEntry;
pub use sandbox::{ManifestBoundSecret, ManifestFolder, ManifestGrants};
pub use schema::{benchmark_schema, row_schema};
pub use short::ShortIds;
pub use state::{Accepted, AttemptKey, Mark, State, accept};
pub use status::IllegalTransition;
pub use store::{Filter, Runs, Store};
pub use sweep::Swept;
pub use tail::{Tail, TailRow};
pub use tally::{ProviderTally, Tallied, Tally};
pub use verify::{Damage, Verification};
