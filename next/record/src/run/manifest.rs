//! [`Manifest`]: `benchmark.json`, what a run is and how it ended.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    time::Duration,
};

use runner_model::{
    Counts, Digest, Reason, RunStatus, SessionSettings, StopSignal, Time, TrialId,
    provider::PluginKind,
    row::Actor,
    status::{BadTransition, RunVerdict, Stage},
};
use serde::{Deserialize, Serialize};

use crate::{
    RecordError, Rerun,
    disk::{
        beneath::{Dir, Stamp},
        layout::MANIFEST,
    },
};

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
    /// What its user has labelled it with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The group that it is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPlace>,
    /// That `prune` leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
    /// Numbers of the plan.
    pub metadata: Metadata,
    /// The providers in the suite's order.
    pub providers: Vec<ManifestProvider>,
    /// Every process that worked on the run.
    pub sessions: Vec<SessionEntry>,
    /// Every change of the status.
    pub transitions: Vec<Transition>,
}

/// That `prune` leaves a run alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Since when.
    pub at: Time,
    /// Who asked for it, and why.
    pub by: Actor,
}

/// Which run of a group a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlace {
    /// The group's id.
    pub id: String,
    /// From 1, in the order in which the runs begin.
    pub place: u32,
    /// Runs of the group.
    pub of: u32,
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
    /// The list in the store of all attachments and schemas, which are there, too: a digest on each line, sorted. Absent
    /// if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<Digest>,
    /// The scenario's text.
    pub scenario_sha256: Digest,
    /// The version of the runner that began the run.
    pub runner_version: String,
    /// What of the scenario was selected.
    #[serde(default, skip_serializing_if = "Selected::is_all")]
    pub selection: Selected,
}

/// What of a scenario was selected when its run began: globs over tests and providers, and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selected {
    /// Globs over test ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// Globs over provider names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Tags; a test that is selected has one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only tests on providers that had not passed in an earlier run; those of the stored suite are meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last_failed: bool,
}

impl Selected {
    fn is_all(&self) -> bool {
        *self == Self::default()
    }
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
    /// What one attempt may touch of the world outside its sandbox.
    #[serde(default, skip_serializing_if = "runner_model::Grants::is_empty")]
    pub grants: runner_model::Grants,
    /// The folders of `grants.fs`, as they were found when the run began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<runner_model::provider::MountedFolder>,
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
    /// How it runs and what ends it early.
    #[serde(flatten)]
    pub settings: SessionSettings,
    /// When it began.
    pub started_at: Time,
    /// When it ended; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Rows on disk when it began.
    pub from_seq: u64,
    /// Which trials it runs again. A later session that finds this unfinished continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<Rerun>,
    /// Trials that it had to do when it began; absent of the first session, which had to do all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// Set if it took over another plan: the counts of the rows before it, as far as this plan has their trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Counts>,
    /// When it was paused, the oldest first; at most the last 100 times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// For how long it was paused or its process was suspended, in milliseconds. No time of the run passed then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suspended_ms: u64,
    /// For how long it worked, in milliseconds: without that time, and whatever the time of day was set to meanwhile. Of a
    /// session that goes on, as of its last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_ms: Option<u64>,
    /// Who asked from another process that it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// What stood of the workers' second wall, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<String>,
}

/// A time in which a session was paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub from: Time,
    /// Until when; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Time>,
    /// Who asked for it; absent if that was Ctrl-Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
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
    /// Who asked for it, if another process did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    /// Reads the manifest of a run, which must be of this format, with its text and which file that is from: a manifest is
    /// replaced and never written into, so they belong together. The id is the folder's name: a copy is a run of its own.
    pub(crate) fn read(dir: &Dir, id: &str) -> Result<(Self, String, Stamp), RecordError> {
        let file = dir.read(MANIFEST)?;
        let stamp = Stamp::of(&file);
        let stamp = stamp.map_err(|source| dir.error("read", MANIFEST, source))?;
        let text = io::read_to_string(file.take(MAX_BYTES)).map_err(|error| error.to_string());
        let parsed = text.and_then(|text| Ok((Self::parse(&text, id)?, text)));
        match parsed {
            Ok((manifest, text)) => Ok((manifest, text, stamp)),
            Err(problem) => Err(dir.refuse(MANIFEST, problem)),
        }
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
            return Err(format!("it plans {trials} trials, and a run has at most {MAX_TRIALS}"));
        }
        if manifest.sessions.is_empty() {
            return Err("it is damaged: it has no session".into());
        }
        id.clone_into(&mut manifest.id);
        Ok(manifest)
    }

    /// Its text.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The pause that lasts, if the run is paused.
    pub fn paused(&self) -> Option<&Pause> {
        let pause = self.sessions.last()?.pauses.last()?;
        (self.status == RunStatus::Running && pause.to.is_none()).then_some(pause)
    }

    /// The number of its last session.
    pub(crate) fn last_session(&self) -> u32 {
        self.sessions.last().map_or(1, |session| session.number)
    }

    /// Says by what a row can only be of another run, if it is: by its trial, of which `is_planned` says whether the plan has
    /// it, or by its session.
    pub(crate) fn foreign(
        &self,
        trial: &TrialId,
        (session, seq): (u32, u64),
        is_planned: bool,
    ) -> Option<String> {
        let mut sessions = self.sessions.iter();
        let began = sessions.find(|one| one.number == session).map(|one| one.from_seq);
        let problem = match began {
            None => format!("the run has no session {session}"),
            Some(from) if seq <= from => format!("session {session} began behind row {from}"),
            _ if !is_planned && seq > self.earlier_plan() => {
                format!("the run has no trial {trial}")
            }
            _ => return None,
        };
        Some(format!("{problem}: the row is of another run"))
    }

    /// Rows up to this one may be of trials that an earlier plan had.
    pub(crate) fn earlier_plan(&self) -> u64 {
        let mut sessions = self.sessions.iter().rev();
        let adopted = sessions.find(|session| session.adopted.is_some());
        adopted.map_or(0, |session| session.from_seq)
    }

    /// For how long all sessions have worked, in milliseconds. What a session that goes on has not said of itself is
    /// reckoned by the time of day.
    pub(crate) fn worked_ms(&self, now: Time) -> u64 {
        let paused = self.paused().map_or(Duration::ZERO, |pause| now.since(pause.from));
        let sessions = self.sessions.iter().map(|session| {
            let by_day = || {
                let time = session.ended_at.unwrap_or(now).since(session.started_at);
                let time = time.saturating_sub(paused).as_millis() as u64;
                time.saturating_sub(session.suspended_ms)
            };
            session.worked_ms.unwrap_or_else(by_day)
        });
        sessions.sum()
    }

    /// Changes the status, by the graph. Writes the transition and, of a run that ends, when it ended. The time of day may
    /// have been set back: nothing happens before what has happened already.
    pub(crate) fn change_status(
        &mut self,
        to: RunStatus,
        reason: Option<Reason>,
        writer: &str,
        at: Time,
    ) -> Result<(), BadTransition> {
        let from = self.status;
        let changed = self.transitions.last().map_or(at, |change| change.at);
        let began = self.sessions.last().map_or(at, |session| session.started_at);
        let at = at.max(changed).max(began);
        self.status = from.next(to)?;
        self.reason = reason;
        self.message = None;
        self.signal = None;
        self.verdict = self.counts.verdict(to, reason);
        self.completed_at = to.is_terminal().then_some(at);
        if to.is_terminal()
            && let Some(session) = self.sessions.last_mut()
        {
            session.ended_at.get_or_insert(at);
            if let Some(pause) = session.pauses.last_mut() {
                pause.to.get_or_insert(at.max(pause.from));
            }
        }
        self.transitions.push(Transition {
            at,
            from: Some(from),
            to,
            reason,
            writer: writer.into(),
            by: None,
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/manifest.rs"]
mod tests;
