//! Everything that the runner keeps on disk: run directories, rows, manifest, lock, requests, store, cache entries,
//! the list in SQLite, and what is done to runs whose process died.
//!
//! `beneath` is the only way to a path below a results root or a run; every write passes it or `writer`. Only the holder of
//! a run's lock writes into the run. This crate may know `model`.
//!
//! Begin reading at [`ResultsRoot`], then [`Manifest`] and [`Fold`].

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runner_model::{
    Counts, Digest, Places, Reason, RunStatus, StopSignal, Tail, Time, TrialId,
    provider::PluginKind,
    row::RowRef,
    status::{RunVerdict, Stage},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of manifests, their `format`.
pub const FORMAT: u32 = 3;

/// `benchmark.json`: what a run is and how it ended. Replaced atomically.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The run's id: the name of its directory.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario file's absolute path when the run began, for messages.
    pub scenario_path: String,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// More about the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far the last session came.
    pub stage: Stage,
    /// The signal that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    pub verdict: RunVerdict,
    /// What is on disk, by final rows. Exact whenever the run is not running.
    pub counts: Counts,
    /// When the first session began.
    pub started_at: Time,
    /// When the run ended; set whenever the run is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Numbers of the plan.
    pub metadata: Metadata,
    /// The providers in the suite's order.
    pub providers: Vec<ManifestProvider>,
    /// Every process that worked on the run.
    pub sessions: Vec<SessionEntry>,
    /// Every change of the status.
    pub transitions: Vec<Transition>,
}

/// Numbers and digests of a run's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Tests of the suite.
    pub planned_test_count: u64,
    /// Trials of the plan.
    pub planned_trial_count: u64,
    /// The suite in the store.
    pub suite: Digest,
    /// The scenario's text.
    pub scenario_sha256: Digest,
    /// The version of the runner that began the run.
    pub runner_version: String,
}

/// A provider of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestProvider {
    /// Its name.
    pub name: String,
    /// The plugin as the scenario names it.
    pub plugin: String,
    /// The plugin's file in the store.
    pub digest: Digest,
    /// What the file is.
    pub kind: PluginKind,
    /// What one attempt may use.
    pub limits: runner_model::Limits,
    /// What the plugin says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<runner_model::provider::Description>,
}

/// A process that worked on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// From 1.
    pub number: u32,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// Its process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// Its user.
    pub user: String,
    /// How many attempts run at once.
    pub jobs: u32,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// When it began.
    pub started_at: Time,
    /// When it ended; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Rows on disk when it began.
    pub from_seq: u64,
    /// What the workers' second wall was (part 3), and what else a reader may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<String>,
}

/// A change of a run's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Time,
    /// From what; absent at the birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RunStatus>,
    /// To what.
    pub to: RunStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Who wrote it: `exec`, `resume`, `sweep`, …
    pub writer: String,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Why trials are left; none if nothing is.
    pub reason: Option<Reason>,
    /// The signal, if the reason is one.
    pub signal: Option<StopSignal>,
    /// More, for people.
    pub message: Option<String>,
    /// When.
    pub at: Time,
}

/// What goes wrong with what is on disk. Each message says what, where, and what to do.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `write`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another live process holds the run.
    #[error("run {run} is held by process {pid} on {host}")]
    Held {
        /// The run.
        run: String,
        /// The process that holds it; 0 if unknown.
        pid: u32,
        /// Its machine.
        host: String,
    },
    /// No run has this name.
    #[error("there is no run `{0}`")]
    Unknown(String),
    /// Several runs have this name.
    #[error("`{name}` could be {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The ids that it could be.
        candidates: Vec<String>,
    },
    /// A manifest that cannot be read, or of another format.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// Where.
        path: PathBuf,
        /// What is wrong, with both numbers if it is another format.
        problem: String,
    },
    /// A change of status that the graph does not have.
    #[error(transparent)]
    Transition(#[from] runner_model::status::BadTransition),
    /// Rows that were removed, replaced, cut or appended by another program.
    #[error("{}: {problem}", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What was seen.
        problem: String,
    },
}

/// The folder of all runs.
#[derive(Clone, Debug)]
pub struct ResultsRoot;

/// A run that can be read; says nothing about who holds it.
#[derive(Clone, Debug)]
pub struct RunDir;

/// A run whose lock this process holds. Only through it anything is written into the run.
#[derive(Debug)]
pub struct Owned;

/// What a run is when it is born. The id, times and first session entry come from `record`.
#[derive(Debug)]
pub struct NewRun {
    /// The scenario's name.
    pub scenario: String,
    /// The scenario file's absolute path.
    pub scenario_path: String,
    /// The scenario's text.
    pub text: String,
    /// Numbers of the plan.
    pub metadata: Metadata,
    /// The providers.
    pub providers: Vec<ManifestProvider>,
    /// The first session.
    pub session: NewSession,
}

/// What a session is when it begins.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// `exec` or `resume`, the writer of transitions.
    pub writer: &'static str,
    /// The command as it was typed.
    pub command: Vec<String>,
    /// How many attempts run at once.
    pub jobs: u32,
    /// How long it may take.
    pub timeout: Duration,
}

impl ResultsRoot {
    /// Opens the results root for a command that will write; makes it (mode 0700) where it is missing.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        todo!("{path:?}")
    }

    /// Opens a results root for a command that reads; makes nothing. A missing root is an empty one.
    pub fn existing(path: &Path) -> Result<Self, RecordError> {
        todo!("{path:?}")
    }

    /// Its path, as given.
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// Makes an empty file in the store's folder that [`Self::keep`] can rename, and that is gone if the process dies.
    pub fn draft(&self) -> Result<File, RecordError> {
        todo!()
    }

    /// Keeps a draft under its digest: synced, renamed, the folder synced. An entry that is there already is read whole
    /// and used if it is undamaged.
    pub fn keep(&self, draft: File, digest: &Digest) -> Result<(), RecordError> {
        todo!("{draft:?} {digest}")
    }

    /// Keeps bytes under their digest.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, RecordError> {
        todo!("{bytes:?}")
    }

    /// Opens a content of the store, after its bytes were compared with the digest.
    pub fn content(&self, digest: &Digest) -> Result<File, RecordError> {
        todo!("{digest}")
    }

    /// Births a run: directory `<UTC>-<scenario>-<8 hex digits>`, lock, scenario, manifest with the status `running` and
    /// stage `plan`, all synced.
    pub fn create(&self, new: NewRun) -> Result<Owned, RecordError> {
        todo!("{new:?}")
    }

    /// Takes the lock of a run that nobody holds, repairs a torn tail of its rows, and gives a dead session its end. Opens no
    /// session yet.
    pub fn claim(&self, run: &RunDir) -> Result<Owned, RecordError> {
        todo!("{run:?}")
    }

    /// Finds a run by its id, a unique part of it, a path, or `latest`.
    pub fn find(&self, name: &str) -> Result<RunDir, RecordError> {
        todo!("{name}")
    }

    /// All runs, newest first, as they are in truth: a dead run is shown with the status that a sweep would give it.
    /// Uses and refreshes the list in SQLite; without it the answer is the same.
    pub fn runs(&self) -> Result<Runs, RecordError> {
        todo!()
    }

    /// Gives every dead run of the root its true status. Returns the runs that were changed. Problems of single runs are
    /// skipped.
    pub fn sweep(&self) -> Result<Vec<Manifest>, RecordError> {
        todo!()
    }

    /// Upserts a manifest into the list on a thread that nobody waits for.
    pub fn note(&self, manifest: &Manifest) {
        todo!("{manifest:?}")
    }
}

/// The runs of a root.
#[derive(Debug, Default)]
pub struct Runs {
    /// Their manifests, newest first.
    pub runs: Vec<Manifest>,
    /// Directories whose manifest cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl RunDir {
    /// The run's id.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// The run's directory, for messages.
    pub fn path(&self) -> PathBuf {
        todo!()
    }

    /// The manifest as it is in truth: if nobody holds the lock of a run that says `running`, it has the status, end and
    /// counts that a sweep would give it. Writes nothing.
    pub fn truth(&self) -> Result<Manifest, RecordError> {
        todo!()
    }

    /// The stored scenario.
    pub fn scenario(&self) -> Result<String, RecordError> {
        todo!()
    }

    /// Calls `each` for every line of the rows, in order, with its first byte; damaged lines and a torn tail too.
    pub fn rows(&self, each: &mut dyn FnMut(u64, ReadLine<'_>)) -> Result<(), RecordError> {
        todo!("{}", std::mem::size_of_val(each))
    }

    /// The line of `logs.jsonl` at a place, checked.
    pub fn log(&self, place: runner_model::row::LogPlace) -> Result<String, RecordError> {
        todo!("{place:?}")
    }

    /// Opens an artifact or large output.
    pub fn artifact(&self, digest: &Digest) -> Result<File, RecordError> {
        todo!("{digest}")
    }

    /// What is in flight and waits, as the run's process last wrote it; none if nobody holds the run.
    pub fn live(&self) -> Option<Live> {
        todo!()
    }
}

/// A line of `index.jsonl` as it is read.
#[derive(Debug)]
pub enum ReadLine<'a> {
    /// A row, and its bytes without the line break.
    Row(RowRef<'a>, &'a [u8]),
    /// A line that is damaged or no row; its trial runs again.
    Damaged(runner_model::row::BadLine),
    /// The last line lacks its line break.
    Torn(Range<u64>),
}

impl Owned {
    /// The manifest as it is on disk.
    pub fn manifest(&self) -> &Manifest {
        todo!()
    }

    /// The run, for reading.
    pub fn dir(&self) -> &RunDir {
        todo!()
    }

    /// Opens a session on a claimed run: status `running`, a new entry. `exec` needs no call, its first session is open.
    pub fn open_session(&mut self, session: NewSession) -> Result<(), RecordError> {
        todo!("{session:?}")
    }

    /// Writes the stage, and what plugins say of themselves, into the manifest. Not synced: nothing depends on it.
    pub fn note_stage(
        &mut self,
        stage: Stage,
        providers: Option<Vec<ManifestProvider>>,
    ) -> Result<(), RecordError> {
        todo!("{stage} {providers:?}")
    }

    /// Folds the rows on disk.
    pub fn fold(&self, places: &dyn Places) -> Result<Fold, RecordError> {
        todo!("{}", places.trials())
    }

    /// Starts the writer thread, behind the rows that are there. `acks` is called on that thread, in order, and must not block.
    pub fn writer(&self, acks: Box<dyn Fn(Ack) + Send>) -> Result<Writer, RecordError> {
        todo!("{}", std::mem::size_of_val(&acks))
    }

    /// An empty file in the run's directory for an artifact that arrives in pieces; see [`Writer::row`].
    pub fn artifact_draft(&self) -> Result<File, RecordError> {
        todo!()
    }

    /// A handle that writes `live.json`, for a thread of its own.
    pub fn live_writer(&self) -> LiveWriter {
        todo!()
    }

    /// Appends a line to `runner.log`, with the time; without the line break. Never fails: a log that cannot be written is
    /// no reason to end a run.
    pub fn log(&self, line: &str) {
        todo!("{line}")
    }

    /// A request that another process left for this holder of the lock (part 2).
    pub fn request(&self) -> Option<String> {
        todo!()
    }

    /// Ends the session: counts from `fold`, status by [`RunStatus::after`] (a run whose trials are all final is
    /// `completed` whatever the reason), one replace of the manifest, synced; then lets the lock go. `writer` must have been
    /// closed.
    pub fn finish(self, end: End, fold: &Fold) -> Result<Manifest, RecordError> {
        todo!("{end:?} {fold:?}")
    }
}

/// Says that rows are on disk, or that they never will be.
#[derive(Clone, Debug)]
pub enum Ack {
    /// These rows were synced; `lines` are their bytes, each with its line break.
    Written {
        /// Their numbers.
        seqs: Range<u64>,
        /// Their lines.
        lines: Arc<Vec<u8>>,
    },
    /// A write or sync failed; nothing was tried again, the file was cut back to the last acknowledged byte. Nothing more
    /// will be written.
    Failed(Arc<RecordError>),
}

/// Appends rows on a thread of its own: one write and one `fdatasync` for all that is there.
#[derive(Debug)]
pub struct Writer;

impl Writer {
    /// Hands a row over and returns its `seq` and the place of its log line. `row` is a worker's checked row (closed
    /// object), `tail.seq` and `tail.logs` are filled in here; `log` is a line for `logs.jsonl` with its line break;
    /// `artifacts` are drafts to keep under their digests before the row is written. Never waits for the disk.
    pub fn row(
        &mut self,
        row: Vec<u8>,
        tail: Tail,
        log: Option<Vec<u8>>,
        artifacts: Vec<(Digest, File)>,
    ) -> u64 {
        todo!("{row:?} {tail:?} {log:?} {artifacts:?}")
    }

    /// Says whether more rows are on their way; if not, the writer does not wait for company.
    pub fn expect_more(&self, more: bool) {
        todo!("{more}")
    }

    /// Bytes and rows that were handed over and are not acknowledged.
    pub fn pending(&self) -> (u64, u64) {
        todo!()
    }

    /// Waits until everything is acknowledged, and ends the thread.
    pub fn close(self) -> Result<(), Arc<RecordError>> {
        todo!()
    }
}

/// Writes `live.json` by rename, never synced.
#[derive(Debug)]
pub struct LiveWriter;

impl LiveWriter {
    /// Replaces `live.json`. Errors are dropped.
    pub fn write(&self, live: &Live) {
        todo!("{live:?}")
    }
}

/// What a running run is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// When this was written.
    pub at: Time,
    /// How far the session is.
    pub stage: Option<Stage>,
    /// Acknowledged final rows.
    pub counts: Counts,
    /// Attempts in flight, the oldest first, at most 1,000.
    pub in_flight: Vec<InFlight>,
    /// Workers that run.
    pub workers: u32,
    /// Workers that died and were replaced.
    pub deaths: u32,
}

/// An attempt in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// Its trial.
    pub trial: TrialId,
    /// Which attempt.
    pub attempt: u32,
    /// For how long, in milliseconds.
    pub ms: u64,
    /// What it does.
    pub word: String,
}

/// The state of a run, by its rows: the one fold behind live state, resume, sweep, list and reports. One byte a trial.
#[derive(Clone, Debug)]
pub struct Fold;

/// What a trial has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialState {
    /// The newest final outcome; none before there is one.
    pub outcome: Option<runner_model::Outcome>,
    /// Whether the newest row is `ungraded`.
    pub ungraded: bool,
    /// Whether a row that did not pass was seen, in any session; then a pass is flaky.
    pub had_bad: bool,
}

impl Fold {
    /// Without rows.
    pub fn new(trials: u64) -> Self {
        todo!("{trials}")
    }

    /// Adds a row that is on disk. A final row takes the place of an older one.
    pub fn add(&mut self, index: u64, row: &RowRef<'_>) {
        todo!("{index} {row:?}")
    }

    /// What the trial has come to.
    pub fn trial(&self, index: u64) -> TrialState {
        todo!("{index}")
    }

    /// By final rows.
    pub fn counts(&self) -> Counts {
        todo!()
    }

    /// Number of the newest row; 0 before there is one.
    pub fn last_seq(&self) -> u64 {
        todo!()
    }

    /// Attempts that the trial's rows have, so that the next one has a number of its own.
    pub fn attempts(&self, index: u64) -> u32 {
        todo!("{index}")
    }

    /// Lines that are damaged or no rows of the plan.
    pub fn damaged(&self) -> u64 {
        todo!()
    }
}

/// The folder of compiled plugins: `RUNNER_CACHE`, else `$XDG_CACHE_HOME/runner`, else `~/.cache/runner`; owned by the user,
/// writable by nobody else.
#[derive(Clone, Debug)]
pub struct PluginCache;

impl PluginCache {
    /// Opens the folder and makes it where it is missing.
    pub fn open() -> Result<Self, RecordError> {
        todo!()
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// Reads an entry, such as the kept answer of an inspection.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        todo!("{name}")
    }

    /// An unnamed file that `__compile` writes into.
    pub fn draft(&self) -> Result<File, RecordError> {
        todo!()
    }

    /// Names a draft, after it was synced; replaces an entry of that name.
    pub fn keep(&self, draft: File, name: &str) -> Result<(), RecordError> {
        todo!("{draft:?} {name}")
    }
}
