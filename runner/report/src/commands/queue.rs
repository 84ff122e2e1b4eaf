//! Documents of the queue of a results root.

use runner_model::{Time, row::Actor};
use runner_record::{ActiveRun, Pause, QueueState, QueuedRequest};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{VERSION, list::short_id};

/// `runner queue`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Runs that may be active before no other is started.
    pub max_active_runs: u32,
    /// Runs that processes work on, also those that were started without the queue.
    pub active: Vec<QueueRun>,
    /// Requests in the order of their starts, and at the end those that were refused.
    pub requests: Vec<QueueEntry>,
    /// Files in the queue that cannot be read, and settings that do not count.
    pub problems: Vec<String>,
}

/// A run that a process works on.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueRun {
    /// The run's id.
    pub run: String,
    /// The last part of the id.
    pub short: String,
    /// The scenario's name.
    pub scenario: String,
    /// Id of the request that it was started for.
    pub request: Option<String>,
    /// Priority of that request. 0 without one.
    pub priority: i64,
    /// Start of the session.
    pub started_at: Time,
    /// Name of the user who started the session.
    pub user: String,
    /// The current pause.
    pub paused: Option<Pause>,
    /// Whether the run is paused for a request, and leaves room for another run.
    pub preempted: bool,
}

/// A request to start a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueEntry {
    /// The request's id.
    pub request: String,
    /// The last part of the id.
    pub short: String,
    /// State of the request.
    pub state: QueueState,
    /// Place in the order of the starts, from 1. `None` for a request that was refused.
    pub place: Option<u64>,
    /// Greater ones come first.
    pub priority: i64,
    /// Runs of lower priority are paused for it.
    pub preempts: bool,
    /// Id of the run or group that is continued.
    pub run: Option<String>,
    /// The words after `runner`, without `--priority`.
    pub command: Vec<String>,
    /// The working directory.
    pub folder: String,
    /// The user who queued it.
    pub by: Actor,
    /// Time of the request.
    pub at: Time,
    /// Starts that have ended without a run.
    pub tries: u32,
    /// Reason why it was refused.
    pub refused: Option<String>,
    /// Reason why this user may not start or change it, as the rest of a sentence.
    pub foreign: Option<String>,
    /// The request is in a file of this user, and only the signature is missing.
    #[serde(skip)]
    pub is_unsigned: bool,
}

/// `exec --queue`, `resume --queue`, `queue move` and `queue remove`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueChange {
    /// Always [`VERSION`].
    pub v: u8,
    /// The effect of the command.
    pub result: QueueResult,
    #[serde(flatten)]
    pub entry: QueueEntry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueResult {
    Queued,
    Moved,
    Removed,
}

/// A line of `queue work`: a request that was tried.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueStep {
    /// Always [`VERSION`].
    pub v: u8,
    /// The effect of the attempt.
    pub result: StepResult,
    /// Id of the request.
    pub request: String,
    /// Id of the run or group that was started.
    pub run: Option<String>,
    /// Reason why it was not started.
    pub problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    Started,
    /// The request cannot be started and stays in the queue with the reason, or it was removed meanwhile.
    Refused,
    /// The request waits again.
    Postponed,
}

impl QueueRun {
    pub fn new(active: &ActiveRun, preempted: bool) -> Self {
        let manifest = &active.manifest;
        let session = manifest.sessions.last();
        let mark = session.and_then(|session| session.request.as_ref());
        Self {
            run: manifest.id.clone(),
            short: short_id(&manifest.id).to_owned(),
            scenario: manifest.scenario.clone(),
            request: mark.map(|mark| mark.id.clone()),
            priority: mark.map_or(0, |mark| mark.priority),
            started_at: session.map_or(manifest.started_at, |session| session.started_at),
            user: session.map_or_else(String::new, |session| session.user.clone()),
            paused: manifest.paused().cloned(),
            preempted,
        }
    }
}

impl QueueEntry {
    /// Creates the entry of a request at a place in the order of the starts.
    pub fn new(request: &QueuedRequest, place: Option<u64>) -> Self {
        let request = request.clone();
        Self {
            short: short_id(&request.id).to_owned(),
            state: request.state,
            place,
            priority: request.priority,
            preempts: request.preempts,
            run: request.run,
            command: without_priority(request.command),
            folder: request.folder,
            by: request.by,
            at: request.at,
            tries: request.tries,
            refused: request.refused,
            foreign: request.foreign,
            is_unsigned: request.is_unsigned,
            request: request.id,
        }
    }

    /// Creates the entries of requests in the order of their starts.
    pub fn list(requests: &[QueuedRequest]) -> Vec<Self> {
        let entries = requests.iter().zip(1..).map(|(request, place)| {
            Self::new(request, (request.state != QueueState::Refused).then_some(place))
        });
        entries.collect()
    }
}

/// Removes `--priority` from words: the priority may have been changed since.
fn without_priority(mut words: Vec<String>) -> Vec<String> {
    let mut is_value = false;
    words.retain(|word| {
        let is_kept = !is_value && word != "--priority" && !word.starts_with("--priority=");
        is_value = word == "--priority";
        is_kept
    });
    words
}

impl QueueChange {
    pub fn new(result: QueueResult, entry: QueueEntry) -> Self {
        Self { v: VERSION, result, entry }
    }
}
