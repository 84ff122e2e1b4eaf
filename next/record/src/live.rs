//! [`Live`]: `live.json`, what a running run is doing. Deleting it costs the precision of a time and no answer.

use runner_model::{Counts, Time, TrialId, status::Stage};
use serde::{Deserialize, Serialize};

use crate::{Manifest, RunDir, beneath::Dir};

const LIVE: &str = "live.json";
/// 1,000 attempts in flight with the longest names take less.
const MAX_BYTES: u64 = 4 << 20;

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

/// Writes `live.json` by rename, never synced.
#[derive(Debug)]
pub struct LiveWriter(pub(crate) Dir);

impl LiveWriter {
    /// Replaces `live.json`. Errors are dropped.
    pub fn write(&self, live: &Live) {
        let written = serde_json::to_vec(live)
            .ok()
            .and_then(|bytes| self.0.prepare(LIVE, &bytes).ok());
        if written.is_some() {
            let _ = self.0.replace(LIVE);
        }
    }
}

/// Reads `live.json`; none if it is missing or no such file.
pub(crate) fn read(dir: &Dir) -> Option<Live> {
    serde_json::from_slice(&dir.read_all(LIVE, MAX_BYTES).ok()?).ok()
}

/// Removes it: a session that begins or ends does nothing.
pub(crate) fn remove(dir: &Dir) {
    let _ = dir.remove(LIVE);
}

/// The manifest with the stage that the run's process last told.
pub(crate) fn with_stage(run: &RunDir, mut manifest: Manifest) -> Manifest {
    if let Some(stage) = read(&run.dir).and_then(|live| live.stage) {
        manifest.stage = stage;
    }
    manifest
}
