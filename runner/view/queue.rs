//! [`RunQueue`]: what waits in a results root, and what came of changing that.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{summary::RunSummary, upkeep::FailedPath, version::DocumentVersion};
use crate::record::{By, QueueState, QueuedRequest, RequestedWork, RunEntry, words::InstantSchema};

/// The document of `runner queue --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunQueue {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// How many runs may be active before the queue starts no other.
    pub max_active_runs: usize,
    /// The runs that are active, the newest first.
    pub active: Vec<RunSummary>,
    /// What is being started, then what waits in the order in which it is started, then what could not be started.
    pub requests: Vec<QueuedRun>,
    /// Files of the queue that cannot be read.
    pub unreadable: Vec<FailedPath>,
    /// When this was.
    #[serde(skip)]
    pub now: Timestamp,
}

/// A run that is to be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueuedRun {
    /// The request's id.
    pub id: String,
    /// `waiting`; `starting`, while a process of it is there and no run yet; `refused`, where it could not be started.
    #[schemars(extend("enum" = ["waiting", "starting", "refused"]))]
    pub state: &'static str,
    /// Its place among those that wait, from 1.
    pub place: Option<usize>,
    /// Greater ones come first.
    pub priority: i64,
    /// Since when it waits.
    #[schemars(with = "InstantSchema")]
    pub since: Timestamp,
    /// Who asked for it.
    pub by: By,
    /// What is to be done with it: `exec` or `resume`.
    #[schemars(extend("enum" = ["exec", "resume"]))]
    pub command: &'static str,
    /// What is to run: the scenario's file, or the id of the run that is to be resumed.
    pub what: String,
    /// The folder that it was asked for in.
    pub folder: String,
    /// Why it could not be started.
    pub error: Option<String>,
}

/// The document of `exec --queue --json`, `runner queue move --json` and `runner queue remove --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueChange {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// What was done.
    #[schemars(extend("enum" = ["queued", "moved", "removed"]))]
    pub result: &'static str,
    /// The request, as it stands now; one that was removed as it stood.
    #[serde(flatten)]
    pub request: QueuedRun,
}

/// A line of what `runner queue work --json` prints: what became of a request.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueStep {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// `started`; `refused`, where it cannot be started; `postponed`, where it waits again.
    #[schemars(extend("enum" = ["started", "refused", "postponed"]))]
    pub result: &'static str,
    /// The request's id.
    pub request: String,
    /// The run that was started.
    pub run: Option<String>,
    /// Why none was started, for people.
    pub error: Option<String>,
}

impl RunQueue {
    /// What is in a queue `now`, beside the runs that are active.
    pub fn new(
        state: &QueueState,
        active: &[RunEntry],
        max_active_runs: usize,
        now: Timestamp,
    ) -> Self {
        let starting = state.starting.iter().map(|it| (it, "starting", None));
        let waiting = state.waiting.iter().enumerate();
        let waiting = waiting.map(|(place, it)| (it, "waiting", Some(place + 1)));
        let refused = state.refused.iter().map(|it| (it, "refused", None));
        let requests = starting.chain(waiting).chain(refused);
        Self {
            v: DocumentVersion,
            max_active_runs,
            active: active.iter().map(|run| RunSummary::new(run, now)).collect(),
            requests: requests
                .map(|(request, state, place)| QueuedRun::new(request, state, place))
                .collect(),
            unreadable: state
                .unreadable
                .iter()
                .map(|(path, error)| FailedPath {
                    path: path.clone(),
                    error: error.to_string(),
                })
                .collect(),
            now,
        }
    }
}

impl QueuedRun {
    /// A request that nobody starts now; its place is not looked up.
    pub fn idle(request: &QueuedRequest) -> Self {
        let state = match request.refused {
            None => "waiting",
            Some(_) => "refused",
        };
        Self::new(request, state, None)
    }

    /// A request that is in this state.
    fn new(request: &QueuedRequest, state: &'static str, place: Option<usize>) -> Self {
        let (command, what) = match &request.work {
            RequestedWork::Exec(exec) => ("exec", &exec.scenario),
            RequestedWork::Resume(resume) => ("resume", &resume.run),
        };
        Self {
            id: request.id.clone(),
            state,
            place,
            priority: request.priority,
            since: request.at,
            by: request.by.clone(),
            command,
            what: what.clone(),
            folder: request.folder().to_owned(),
            error: request.refused.clone(),
        }
    }
}
