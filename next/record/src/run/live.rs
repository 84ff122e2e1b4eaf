//! [`Live`]: `live.json`, what a running run is doing. Deleting it costs the precision of a time and no answer.

use runner_model::{Counts, Reason, StopSignal, Time, TrialId, status::Stage};
use serde::{Deserialize, Serialize};

use crate::disk::beneath::Dir;

const LIVE: &str = "live.json";
const LAST_WORDS: &str = "last-words.json";
/// 1,000 attempts in flight with the longest names take less.
const MAX_BYTES: u64 = 4 << 20;

/// What a running run is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The session that it speaks of.
    pub session: u32,
    /// When this was written.
    pub at: Time,
    /// For how long the session has worked by then, in milliseconds.
    pub worked_ms: u64,
    /// How far the session is.
    pub stage: Option<Stage>,
    /// Acknowledged final rows.
    pub counts: Counts,
    /// Attempts in flight, the oldest first, at most 1,000.
    pub in_flight: Vec<InFlight>,
    /// Trials whose next attempt waits for its time, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingTrial>,
    /// Whether more would run if there were memory for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_memory: bool,
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

/// A trial whose next attempt waits for its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingTrial {
    /// The trial.
    pub trial: TrialId,
    /// `retry`: for the backoff before a retry. `rate-limit`: for the rate of its provider.
    pub why: String,
    /// Until when.
    pub until: Time,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a process that was stuck wrote before it ended itself.
#[derive(Debug, Serialize, Deserialize)]
struct LastWords {
    /// The session that it speaks of.
    session: u32,
    #[serde(flatten)]
    end: End,
}

/// Writes `live.json` and `last-words.json` by rename, never synced.
#[derive(Debug)]
pub struct LiveWriter(pub(crate) Dir);

impl LiveWriter {
    /// Replaces `live.json`. Errors are dropped.
    pub fn write(&self, live: &Live) {
        self.replace(LIVE, live);
    }

    /// Says why the process is about to end without writing the manifest. Whichever process sweeps the run takes reason,
    /// signal and message from it.
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

/// Reads the last words of a session.
pub(crate) fn last_words(dir: &Dir, session: u32) -> Option<End> {
    let bytes = dir.read_all(LAST_WORDS, MAX_BYTES).ok()?;
    let words: LastWords = serde_json::from_slice(&bytes).ok()?;
    (words.session == session).then_some(words.end)
}

/// Reads `live.json`; none if it is missing, no such file, or of an earlier session.
pub(crate) fn read(dir: &Dir, session: u32) -> Option<Live> {
    let live: Live = serde_json::from_slice(&dir.read_all(LIVE, MAX_BYTES).ok()?).ok()?;
    (live.session == session).then_some(live)
}

/// Removes it: a session that begins or ends does nothing.
pub(crate) fn remove(dir: &Dir) {
    let _ = dir.remove(LIVE);
}
