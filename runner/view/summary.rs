//! [`RunSummary`] and [`RunDetail`]: a run as lists show it, and with everything that it left.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    live::{Death, LiveSession},
    providers::ProviderSummary,
    version::DocumentVersion,
    written,
};
use crate::{
    error::ExitStatus,
    model::{Reason, RunStatus, Stage, StopSignal, Verdict},
    record::{
        Denials, Manifest, ManifestCounts, Pinned, RejudgedAttempts, Row, RunEntry, RunId,
        RunPause,
        words::{self, InstantSchema, WordSchema},
    },
};

/// A run and how it stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunSummary {
    /// The run's id, which is the name of its directory.
    #[serde(rename = "run", serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub id: RunId,
    /// The run's directory.
    #[serde(rename = "run_dir", serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub dir: PathBuf,
    /// The scenario's name.
    pub scenario: String,
    /// Where the run is in its life. A run whose process has died is shown as the next sweep will write it down.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<RunStatus>")]
    pub status: RunStatus,
    /// Why it has this status.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<StopSignal>>")]
    pub signal: Option<StopSignal>,
    /// How far its latest session came.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Stage>")]
    pub stage: Stage,
    /// What its trials showed.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Verdict>")]
    pub verdict: Verdict,
    /// Whether a process works on it.
    pub is_alive: bool,
    /// Whether its process has died and nobody has written that down yet.
    pub is_not_yet_swept: bool,
    /// Since when it is paused and by whom; `null` if it is not. Its status is `running` all the same.
    pub paused: Option<RunPause>,
    /// Since when and why it is pinned.
    pub pinned: Option<Pinned>,
    /// When it was created.
    #[schemars(with = "InstantSchema")]
    pub created_at: Timestamp,
    /// When its first session began.
    #[schemars(with = "InstantSchema")]
    pub started_at: Timestamp,
    /// When its latest session ended: for a process that died, its last sign of life.
    #[schemars(with = "Option<InstantSchema>")]
    pub completed_at: Option<Timestamp>,
    /// How many processes have worked on it.
    pub sessions: u32,
    /// How long its sessions that are over have lasted, together, in milliseconds.
    #[serde(rename = "worked_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub worked: Duration,
    /// The same with the session that is open, in milliseconds.
    #[serde(rename = "elapsed_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
    /// What its process has exited with; `null` while it is running.
    pub exit_code: Option<u8>,
    /// How many trials came to what.
    pub counts: ManifestCounts,
}

/// The document of `runner list --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunList {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The runs, the newest first.
    pub runs: Vec<RunSummary>,
    /// When this was.
    #[serde(skip)]
    pub now: Timestamp,
}

/// The document of `runner show --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunDetail {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run and how it stands.
    pub run: RunSummary,
    /// What is seen of it while a process works on it.
    pub live: Option<LiveSession>,
    /// Its manifest: `benchmark.json`.
    pub manifest: Manifest,
    /// The rows that were asked for, in the order of writing, without their checksums.
    // There may be too many to be held: whoever makes this hands them over one by one, for the key `RunDetail::ROWS`.
    pub rows: Vec<ShownRow>,
}

/// A row, with what its test says that rows do not repeat.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ShownRow {
    /// The row.
    #[serde(flatten)]
    pub row: Row<'static>,
    /// The test's tags.
    pub tags: Vec<String>,
    /// What the test says of itself.
    pub meta: Map<String, Value>,
    /// What the provider got; `null` as well if the test is not in the content store any more.
    pub input: Value,
}

impl RunDetail {
    /// The key of its rows.
    pub const ROWS: &str = "rows";
}

/// A run as a screen shows it: the document, and what version 1 of it has no keys for.
#[derive(Clone, Debug)]
pub struct ShownRun {
    /// The run, and the rows that were asked for.
    pub detail: RunDetail,
    /// What its trials came to, by provider.
    pub providers: Vec<ProviderSummary>,
    /// What its providers tried and were not granted.
    pub denials: Denials,
    /// What was in flight when its process died, if it has not gone on since.
    pub death: Option<Death>,
}

/// The sessions of a run.
#[derive(Clone, Debug)]
pub struct RunHistory {
    /// The run and how it stands.
    pub run: RunSummary,
    /// Its manifest, which has its sessions and every change of its status.
    pub manifest: Manifest,
    /// What was in flight where its processes died.
    pub deaths: Vec<Death>,
    /// The attempts that were judged apart from their rows.
    pub rejudged: RejudgedAttempts,
}

impl RunSummary {
    /// A run as it stands `now`.
    pub fn new(run: &RunEntry, now: Timestamp) -> Self {
        Self::of(run.clone(), now)
    }

    /// How long its sessions have lasted together until `now`.
    pub fn elapsed(run: &RunEntry, now: Timestamp) -> Duration {
        let open = match run.completed_at {
            Some(_) => Duration::ZERO,
            None => written::worked_between(run.opened_at, now, &run.pauses),
        };
        run.worked + open
    }

    /// The same of one that nobody else needs.
    fn of(run: RunEntry, now: Timestamp) -> Self {
        let exit = ExitStatus::of_run(&run);
        let is_alive = run.status == RunStatus::Running;
        let elapsed = Self::elapsed(&run, now);
        let latest = run.pauses.into_iter().next_back();
        Self {
            id: run.id,
            dir: run.dir,
            scenario: run.scenario,
            status: run.status,
            reason: run.reason,
            signal: run.signal,
            stage: run.stage,
            verdict: run.verdict,
            is_alive,
            is_not_yet_swept: run.is_not_yet_swept,
            paused: latest.filter(|pause| pause.until.is_none()),
            pinned: run.pinned,
            created_at: run.created_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
            sessions: run.sessions,
            worked: run.worked,
            elapsed,
            exit_code: (!is_alive).then(|| exit.code()),
            counts: run.counts.into(),
        }
    }

    /// Tells whether `resume` has something to go on with.
    pub fn is_resumable(&self) -> bool {
        matches!(self.status, RunStatus::Incomplete | RunStatus::Failed)
    }
}

impl RunList {
    /// Runs as they stand `now`.
    pub fn new(runs: Vec<RunEntry>, now: Timestamp) -> Self {
        Self {
            v: DocumentVersion,
            runs: runs
                .into_iter()
                .map(|run| RunSummary::of(run, now))
                .collect(),
            now,
        }
    }
}
