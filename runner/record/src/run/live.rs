//! [`Live`]: `live.json`, the progress of a running session. Deleting it makes a time less precise and changes
//! no result.

use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use runner_model::{Counts, GuestPhase, Reason, StopSignal, Time, TrialId};
use runner_model::{recent_output::RecentOutput, status::Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::disk::beneath::Dir;

pub(crate) const LIVE: &str = "live.json";
pub(crate) const LAST_WORDS: &str = "last-words.json";
/// Attempts that a message names.
const MOST_NAMED: usize = 10;
/// 1,000 attempts in flight with the longest names take less.
const MAX_BYTES: u64 = 4 << 20;

/// Progress of a running session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// Number of the session.
    pub session: u32,
    /// Time of this writing.
    pub at: Time,
    /// Run time since the first attempt, without pauses, in milliseconds.
    pub worked_ms: f64,
    /// Whether the run is paused. Then the attempts' ages and the times of waits stand still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether the session is stopping: no attempts start, and those in flight have until the end of the grace period.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// End of the grace period of a stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Time>,
    /// The stage that the session has reached.
    pub stage: Option<Stage>,
    /// Plugins that are being compiled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compiling: Vec<Compiling>,
    /// Acknowledged final rows.
    pub counts: Counts,
    /// Number of the newest acknowledged row; 0 without rows.
    #[serde(default)]
    pub last_seq: u64,
    /// Attempts in flight, the oldest first, at most 1,000.
    pub in_flight: Vec<InFlight>,
    /// Trials that wait for a retry or a rate limit, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingTrial>,
    /// More attempts would run if there were memory for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_memory: bool,
    /// Message with the command that starts a worker. Present only while the session waits for workers on other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for_workers: Option<String>,
    /// Worker processes that are alive.
    pub workers: u32,
    /// Worker processes that have exited.
    pub deaths: u32,
    /// Workers on other machines that have joined the session, by name, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<JoinedWorker>,
}

/// A worker on another machine that has joined a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinedWorker {
    /// The worker's name.
    pub worker: String,
    /// Time at which its last process has left or was lost. `None` while one is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    pub trial: TrialId,
    /// The grader that judges the trial's output. `None` if the provider runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<String>,
    /// Number of the attempt of the provider or grader, from 1.
    pub attempt: u32,
    /// The name of its worker on another machine. `None` on the machine of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Milliseconds since its start.
    pub ms: u64,
    /// Current step of the guest. `None` before its worker has reported one.
    pub phase: Option<GuestPhase>,
    /// The guest's last progress message, or else the call that it waits for, such as `http api.example.com:443`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// Start of the step, or of the attempt.
    pub since: Time,
    /// End of the guest's output. Only the oldest attempts have it, up to 100, from the age of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RecentOutput>,
}

impl InFlight {
    /// Returns the trial, with the grader that judges it.
    pub fn name(&self) -> String {
        let grader = self.grader.iter().map(|grader| format!(" judged by {grader}"));
        format!("{}{}", self.trial, grader.collect::<String>())
    }
}

/// A plugin that is being compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compiling {
    /// The plugin as the scenario names it, or its provider if it is a folder such as `.`.
    pub plugin: String,
    /// Start of the compilation.
    pub since: Time,
}

/// A trial whose next attempt has to wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingTrial {
    pub trial: TrialId,
    /// The grader that waits. `None` if the provider does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<String>,
    /// `retry` for the backoff before a retry, `rate-limit` for the rate of the provider or grader.
    pub why: String,
    /// Earliest start.
    pub until: Time,
}

/// The end of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Reason for trials that are left. `None` if no trials are left.
    pub reason: Option<Reason>,
    /// The signal, if a signal is the reason.
    pub signal: Option<StopSignal>,
    /// Details for people.
    pub message: Option<String>,
    /// Arguments of `--budget` that would let the trials run, if a budget is the reason.
    #[serde(default)]
    pub larger_budgets: Vec<String>,
    pub at: Time,
}

/// Written by a process that is stuck, before it exits.
#[derive(Debug, Serialize, Deserialize)]
struct LastWords {
    /// Number of the session.
    session: u32,
    #[serde(flatten)]
    end: End,
}

/// Writes `live.json` and `last-words.json` by rename, without a sync.
#[derive(Debug)]
pub struct LiveWriter(pub(crate) Dir);

impl LiveWriter {
    /// Starts a thread that writes `live.json`.
    pub fn start(self) -> LiveThread {
        let (states, received) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("live".into());
        // `live.json` is only for display, so a session runs without the thread, too.
        let thread = thread.spawn(move || {
            for live in received {
                self.write(&live);
            }
        });
        LiveThread { states: Some(states), thread: thread.ok() }
    }

    /// Replaces `live.json`. Ignores errors.
    pub fn write(&self, live: &Live) {
        self.replace(LIVE, live);
    }

    /// Writes the end of a process that cannot write the manifest. A sweep copies reason, signal and message into the
    /// manifest.
    pub fn last_words(&self, session: u32, end: &End) {
        let end = end.clone();
        self.replace(LAST_WORDS, &LastWords { session, end });
    }

    fn replace(&self, name: &str, value: &impl Serialize) {
        let written =
            serde_json::to_vec(value).ok().and_then(|bytes| self.0.prepare(name, &bytes).ok());
        if written.is_some() {
            let _ = self.0.replace(name);
        }
    }
}

/// The thread that writes `live.json`. Dropping it waits for its last write, so that it writes nothing into a removed run.
pub struct LiveThread {
    states: Option<SyncSender<Live>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveThread {
    /// Has a state written. Returns whether it will be: while the disk is slow, states are skipped.
    pub fn try_send(&self, live: Live) -> bool {
        self.states.as_ref().is_some_and(|states| states.try_send(live).is_ok())
    }
}

impl Drop for LiveThread {
    fn drop(&mut self) {
        self.states = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the last words of a session.
pub(crate) fn last_words(dir: &Dir, session: u32) -> Option<End> {
    let bytes = dir.read_all(LAST_WORDS, MAX_BYTES).ok()?;
    let words: LastWords = serde_json::from_slice(&bytes).ok()?;
    (words.session == session).then_some(words.end)
}

/// Reads `live.json`. `None` if it is missing, damaged or of another session.
pub(crate) fn read(dir: &Dir, session: u32) -> Option<Live> {
    let live: Live = serde_json::from_slice(&dir.read_all(LIVE, MAX_BYTES).ok()?).ok()?;
    (live.session == session).then_some(live)
}

/// Names the attempts that ran when a process died, as ` while … ran`. Empty without attempts.
pub fn running_at_death(attempts: &[InFlight]) -> String {
    let names = attempts.iter().take(MOST_NAMED).map(InFlight::name);
    let mut names: Vec<_> = names.collect();
    match attempts.len() - names.len() {
        0 if names.is_empty() => return String::new(),
        0 => {}
        more => names.push(format!("{more} more")),
    }
    let last = names.pop().unwrap_or_default();
    match names.as_slice() {
        [] => format!(" while {last} ran"),
        others => format!(" while {} and {last} ran", others.join(", ")),
    }
}
