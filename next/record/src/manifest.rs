//! [`Manifest`]: `benchmark.json`, what a run is and how it ended.

use std::{fs::File, io::Read as _};

use runner_model::{
    Counts, Digest, Reason, RunStatus, StopSignal, Time,
    provider::PluginKind,
    status::{BadTransition, RunVerdict, Stage},
};
use serde::{Deserialize, Serialize};

use crate::{
    RecordError,
    beneath::{Dir, Stamp},
};

/// The manifest's name in its run.
pub(crate) const MANIFEST: &str = "benchmark.json";
/// A manifest is some KiB; more than this is no manifest.
const MAX_BYTES: u64 = 64 << 20;
/// A fold needs a byte for each of them.
const MAX_TRIALS: u64 = 100_000_000;

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

impl Manifest {
    /// Reads the manifest of a run, which must be of this format. The id is the folder's name: a copy is a run of its own.
    pub(crate) fn read(dir: &Dir, id: &str) -> Result<Self, RecordError> {
        let (_, text) = Self::read_text(dir)?;
        Self::parse(&text, id).map_err(|problem| Self::refused(dir, problem))
    }

    /// Reads the text of the manifest and which file it is from. A manifest is replaced and never written into, so both
    /// belong together.
    pub(crate) fn read_text(dir: &Dir) -> Result<(Stamp, String), RecordError> {
        let failed = |source| dir.error("read", MANIFEST, source);
        let file = dir.read(MANIFEST)?;
        let stamp = Stamp::of(&file).map_err(failed)?;
        let mut text = String::new();
        let read = File::take(file, MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| Self::refused(dir, error.to_string()))?;
        Ok((stamp, text))
    }

    /// Reads a manifest's text, or says what is wrong with it.
    pub(crate) fn parse(text: &str, id: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let damaged = |error: serde_json::Error| format!("it is damaged or no manifest: {error}");
        let Format { format } = serde_json::from_str(text).map_err(damaged)?;
        if format != u64::from(FORMAT) {
            return Err(format!(
                "its format is {format}, and this runner reads and writes format {FORMAT}: use the runner that wrote it"
            ));
        }
        let mut manifest: Self = serde_json::from_str(text).map_err(damaged)?;
        let trials = manifest.metadata.planned_trial_count;
        if trials > MAX_TRIALS {
            return Err(format!(
                "it plans {trials} trials, and a run has at most {MAX_TRIALS}"
            ));
        }
        if manifest.sessions.is_empty() {
            return Err("it is damaged: it has no session".into());
        }
        id.clone_into(&mut manifest.id);
        Ok(manifest)
    }

    pub(crate) fn refused(dir: &Dir, problem: String) -> RecordError {
        RecordError::Manifest {
            path: dir.path().join(MANIFEST),
            problem,
        }
    }

    /// Its text.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| RecordError::Io {
            what: "write",
            path: MANIFEST.into(),
            source: error.into(),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Changes the status, by the graph. Writes the transition and, of a run that ends, when it ended.
    pub(crate) fn change_status(
        &mut self,
        to: RunStatus,
        reason: Option<Reason>,
        writer: &str,
        at: Time,
    ) -> Result<(), BadTransition> {
        let from = self.status;
        self.status = from.next(to)?;
        self.reason = reason;
        self.message = None;
        self.signal = None;
        self.verdict = self.counts.verdict(to);
        self.completed_at = to.is_terminal().then_some(at);
        if to.is_terminal()
            && let Some(session) = self.sessions.last_mut()
        {
            session.ended_at = Some(at);
        }
        self.transitions.push(Transition {
            at,
            from: Some(from),
            to,
            reason,
            writer: writer.into(),
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/manifest.rs"]
mod tests;
