//! [`RunsPage`] and [`RunPage`]: runs as a dashboard shows them, and what can be done with each.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::{RunStatus, Verdict},
    record::{Manifest, ManifestCounts, RunId, words::InstantSchema},
    view::{
        activity::RunActivity, live::LiveSession, plan::PlanHead, providers::ProviderSummary,
        queue::QueuedRun, summary::RunSummary, upkeep::FailedPath, version::DocumentVersion,
    },
};

/// A page of runs, the newest first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunsPage {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// The id to ask for the runs behind these with, as `after`; `null` on the last page.
    pub next: Option<String>,
    /// How many runs are like that, on all pages.
    pub count: usize,
    /// How many runs there are in all.
    pub all: usize,
    /// Directories that hold a run which cannot be read.
    pub unreadable: Vec<FailedPath>,
    /// When this was.
    #[schemars(with = "InstantSchema")]
    pub now: Timestamp,
}

/// A run, what it is, and what can be done with it. It is made without reading the run's rows.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunPage {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run and how it stands.
    pub run: RunSummary,
    /// Its manifest, with its sessions and every change of its status: `benchmark.json`.
    pub manifest: Manifest,
    /// What can be done with it, and why not otherwise.
    pub actions: Vec<RunAction>,
    /// When this was.
    #[schemars(with = "InstantSchema")]
    pub now: Timestamp,
}

/// What the rows of a run come to, all of which are read for it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunOpened {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What its trials came to, by provider.
    pub providers: Vec<ProviderSummary>,
    /// What is seen of it while a process works on it.
    pub live: Option<LiveSession>,
    /// What its providers tried and were not granted, in words.
    pub denials: Vec<String>,
}

/// What the attempts of a run are doing, and what its trials wait for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunWaiting {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What is seen; `null` where no process works on the run.
    pub activity: Option<RunActivity>,
    /// When this was.
    #[schemars(with = "InstantSchema")]
    pub now: Timestamp,
}

/// Something that can be done with a run, or cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunAction {
    /// What.
    pub action: ActionKind,
    /// Whether it can be done now.
    pub is_possible: bool,
    /// Why not, for people; `null` where it can be done.
    pub why_not: Option<&'static str>,
}

/// What can be done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// It ends, and can be gone on with.
    Stop,
    /// It ends for good.
    Cancel,
    /// Nothing of it goes on, and no time of it passes.
    Pause,
    /// It goes on.
    Unpause,
    /// What has not run runs.
    Resume,
    /// What has failed runs again.
    RerunFailed,
    /// Stored outputs are judged again.
    Rescore,
    /// It is kept, whatever policies say.
    Pin,
    /// It is not kept any more.
    Unpin,
    /// It goes for good.
    Delete,
}

/// How far a run is: the data of the event `progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunProgress {
    /// How many lines its rows are.
    pub rev: u64,
    /// How many trials have a final row.
    pub done: u64,
    /// How many there are.
    pub planned: u64,
    /// What they came to.
    pub counts: ManifestCounts,
}

/// A run that was started, or is gone on with, in a process of its own.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BegunRun {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run's id; `null` where it waits.
    pub run: Option<String>,
    /// The request that waits in the queue of the results root.
    pub queued: Option<QueuedRun>,
}

/// What a start would run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StartPlan {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The plan.
    pub plan: PlanHead,
    /// The ids of the first trials that would run; none of a plan of very many.
    pub trials: Vec<String>,
}

impl BegunRun {
    /// A run that has begun.
    pub fn new(run: &RunId) -> Self {
        Self {
            v: DocumentVersion,
            run: Some(run.to_string()),
            queued: None,
        }
    }

    /// One that waits.
    pub fn queued(request: QueuedRun) -> Self {
        Self {
            v: DocumentVersion,
            run: None,
            queued: Some(request),
        }
    }
}

impl RunAction {
    /// What can be done with a run as it stands.
    pub fn all(run: &RunSummary) -> Vec<Self> {
        let is_running = run.status == RunStatus::Running;
        let is_pinned = run.pinned.is_some();
        let unless_running = is_running.then_some("it is running");
        let unless_ended = (!is_running).then_some("it has ended");
        let of_status = |action| match run.status {
            RunStatus::Running => Some("it is running"),
            RunStatus::Completed => Some("every trial has run"),
            RunStatus::Cancelled => Some("it was cancelled"),
            RunStatus::Incomplete | RunStatus::Failed => action,
        };
        let rerun = match run.status {
            RunStatus::Running => Some("it is running"),
            RunStatus::Cancelled => Some("it was cancelled"),
            _ if run.verdict != Verdict::Failed
                && run.counts.failed + run.counts.error + run.counts.timeout == 0 =>
            {
                Some("nothing has failed")
            }
            _ => None,
        };
        let delete = match (is_running, is_pinned) {
            (true, _) => Some("it is running"),
            (false, true) => Some("it is pinned"),
            (false, false) => None,
        };
        let cancel = match run.status {
            RunStatus::Completed => Some("it is completed"),
            RunStatus::Cancelled => Some("it was cancelled"),
            _ => None,
        };
        [
            (ActionKind::Stop, unless_ended),
            (ActionKind::Cancel, cancel),
            (
                ActionKind::Pause,
                unless_ended.or(run.paused.is_some().then_some("it is paused")),
            ),
            (
                ActionKind::Unpause,
                unless_ended.or(run.paused.is_none().then_some("it is not paused")),
            ),
            (ActionKind::Resume, of_status(None)),
            (ActionKind::RerunFailed, rerun),
            (ActionKind::Rescore, unless_running),
            (ActionKind::Pin, is_pinned.then_some("it is pinned")),
            (
                ActionKind::Unpin,
                (!is_pinned).then_some("it is not pinned"),
            ),
            (ActionKind::Delete, delete),
        ]
        .map(|(action, why_not)| Self {
            action,
            is_possible: why_not.is_none(),
            why_not,
        })
        .into()
    }

    /// The same where nothing may be changed.
    pub fn none() -> Vec<Self> {
        Vec::new()
    }
}
