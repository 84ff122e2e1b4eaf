//! Everything on disk: run directories, their rows, the content store, SQLite.
//!
//! The run directory is the truth. A row counts once it is on disk, and SQLite repeats what manifests say.

mod disk;
mod error;
pub mod failpoint;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod merging;
mod reading;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod upkeep;
mod writing;

pub(crate) use disk::regular;
pub(crate) use format::words;
pub use format::{last_words, pauses, request};

pub use disk::layout::{ContentPaths, RunId, is_run, kept_in_root, settings_file};
pub use disk::lock::{Busy, Holder};
pub use disk::modes::{create_directories, file_mode, follow_umask};
pub use disk::regular::name_of;
pub use error::{IllegalTransition, JsonProblem, RecordError, Taken};
pub use format::by::By;
pub use format::cells::RowCells;
pub use format::counts::ManifestCounts;
pub use format::entry::Entry;
pub use format::glance::RowGlance;
pub use format::inflight::{InFlight, Underway};
pub use format::judgement::{
    JudgedMark, JudgementEntry, JudgementKind, JudgementLine, is_judgement,
};
pub use format::last_words::LastWords;
pub use format::limits::ManifestLimits;
pub use format::live_line::LiveText;
pub use format::log_line::LogsLine;
pub use format::log_record::LogLineRecord;
pub use format::machine::ManifestMachine;
pub use format::manifest::{End, Manifest, ManifestSession, Transition};
pub use format::manifest_parts::{ManifestScenario, Metadata, Pinned};
pub use format::manifest_provider::ManifestProvider;
pub use format::mark::{AttemptKey, Mark};
pub use format::notification::{
    NotificationAttempt, NotificationLine, NotificationStep, NotifiedEnding,
};
pub use format::pauses::RunPause;
pub use format::phases::{AttemptPhase, MAX_WAITS, WaitReason, WaitingTrial, WaitingTrials};
pub use format::plain::PlainAttempt;
pub use format::queued::{
    QueuedRequest, RequestKey, RequestedExec, RequestedResume, RequestedWork, RunRequest,
};
pub use format::rerun::{Rerun, is_meant};
pub use format::row::{Row, RowArtifact, RowCheck, RowDenied, RowLogs, RowOutput, StoredOutput};
pub use format::row_digest::{LineFingerprint, RowDigest};
pub use format::row_line::{LineCheck, LineUsage, RowLine};
pub use format::row_parts::{RowError, RowGrade, RowJudged, RowMetric, RowUsage};
pub use format::sandbox::{ManifestBoundSecret, ManifestFolder, ManifestGrants};
pub use format::schema::{benchmark_schema, log_line_schema, row_schema};
pub use format::shard::{ManifestShard, ManifestSource, SessionOrigin};
pub use merging::{
    MergedFrom, ShardProblem, ShardRun, TrialPlaces, check_shards, merge, merged_from,
};
pub use reading::batches::{AttemptBatch, AttemptBatches, AttemptLine, WrittenAttempts};
pub use reading::cells::SettledRows;
pub use reading::columns::{LineColumn, RunColumns};
pub use reading::conclusion::Conclusion;
pub use reading::denials::{Denial, Denials};
pub use reading::history::GradingDeaths;
pub use reading::history::{History, NextSession};
pub use reading::judgements::JudgementWindow;
pub use reading::lines::{LineError, Rows};
pub use reading::live_said::LiveSaid;
pub use reading::look::{InFlightAtDeath, Look};
pub use reading::missing::MissingRows;
pub use reading::named::NamedRows;
pub use reading::notified::notified;
pub use reading::reader::RunReader;
pub use reading::rejudged::{RejudgedAttempt, RejudgedAttempts};
pub use reading::results::{RunResults, Wanted};
pub use reading::row_files::RowFiles;
pub use reading::run_entry::RunEntry;
pub use reading::run_tests::{RunTest, RunTests};
pub use reading::said::{Said, SaidError};
pub use reading::samples::SampledTrial;
pub use reading::state::{Accepted, State, accept};
pub use reading::tail::RowTail;
pub use reading::tally::{ProviderTally, Tallied, Tally};
pub use reading::trial_slots::TrialSlots;
pub use reading::written::WrittenAttempt;
pub use store::content::{Blob, BlobSource};
pub use store::database::database_sql;
pub use store::find::FindError;
pub use store::group::HeldGroup;
pub use store::list::{RunFilter, Runs};
pub use store::memory::{RunMemory, SharedRuns};
pub use store::newest::NewestRuns;
pub use store::queue::{KnownRequest, LockedQueue, QueueState, TakenRequest};
pub use store::root::Store;
pub use store::shares::{RunShares, SharesTurn};
pub use store::short::ShortIds;
pub use upkeep::order::TrialIds;
pub use upkeep::pin::Pinning;
pub use upkeep::policy::{PrunePolicy, Why};
pub use upkeep::prune::{Amount, PrunedRun, Pruning, Spared};
pub use upkeep::reindex::Reindexed;
pub use upkeep::sweep::Swept;
pub use upkeep::verify::{Damage, Verification};
pub use writing::claim::Claim;
pub use writing::claim_error::{CancelError, ClaimError};
pub use writing::create::{NewRun, NewRunProvider, NewRunScenario};
pub use writing::likeness::RunLikeness;
pub use writing::live_log::LiveLog;
pub use writing::notifications::NotificationLog;
pub use writing::opening::Opening;
pub use writing::recorder::{Finished, Recorder};
pub use writing::report_file::write_report;
pub use writing::reserve::ReservedDirectory;
pub use writing::writer::Written;
