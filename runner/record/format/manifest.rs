//! [`Manifest`]: `benchmark.json`, what a run is and where it is in its life.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    by::By,
    counts::ManifestCounts,
    machine::ManifestMachine,
    manifest_parts::{ManifestScenario, Metadata, Pinned},
    manifest_provider::ManifestProvider,
    pauses::RunPause,
    queued::RunRequest,
    shard::{ManifestShard, ManifestSource, SessionOrigin},
    status,
    words::{self, DigestSchema, InstantSchema, WordSchema},
};
use crate::{
    model::{Counts, Digest, Reason, RunStatus, Stage, StopSignal, Verdict},
    record::{
        disk::layout::RunDir,
        error::{IllegalTransition, RecordError},
    },
};

/// The version of the manifest's format.
pub(in crate::record) const FORMAT: u32 = 1;

/// What a run is and where it is in its life: `benchmark.json`, replaced whole at each transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The version of the format: 1, or 2 where judgements may stand apart from their attempts.
    pub format: u32,
    /// The run's id, which is the name of its directory.
    pub run_id: String,
    /// The version of the runner that began the run.
    pub runner_version: String,
    /// The scenario.
    pub scenario: ManifestScenario,
    /// When the run was born.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub created_at: Timestamp,
    /// What was planned.
    pub metadata: Metadata,
    /// The part of a larger plan that the run has; absent where it has the whole of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ManifestShard>,
    /// The shards that the run was merged of, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<ManifestSource>,
    /// The providers, in the scenario's order.
    pub providers: Vec<ManifestProvider>,
    /// The graders that its tests name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<ManifestProvider>,
    /// The digests of everything in the content store that the run needs: plugins, tests, attachments.
    #[serde(default, with = "words::digests")]
    #[schemars(with = "Vec<DigestSchema>")]
    pub content: Vec<Digest>,
    /// Which tests and providers of the scenario the command line asked for.
    pub selection: Value,
    /// Options of the command line that are in effect.
    pub options: Value,
    /// Where the run is in its life.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<RunStatus>")]
    pub status: RunStatus,
    /// Why it has this status.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<StopSignal>>")]
    pub signal: Option<StopSignal>,
    /// How far its latest session came; `plan` until it has ended.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Stage>")]
    pub stage: Stage,
    /// What its trials showed.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Verdict>")]
    pub verdict: Verdict,
    /// How many trials came to what; while the run is `running`, its rows know better.
    pub counts: ManifestCounts,
    /// When its first session began.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub started_at: Timestamp,
    /// When its latest session ended: for a process that died, its last sign of life. Absent while it is running.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_instant"
    )]
    #[schemars(with = "Option<InstantSchema>")]
    pub completed_at: Option<Timestamp>,
    /// The processes that worked on it, in order.
    pub sessions: Vec<ManifestSession>,
    /// Every change of its status, in order.
    pub transitions: Vec<Transition>,
    /// Set while `prune` must leave the run alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
    /// The request that it was started by: one of the queue, or of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RunRequest>,
    /// What another version of the runner has written beside this.
    #[serde(flatten)]
    #[schemars(skip)]
    pub(in crate::record) others: Others,
}

/// Keys that this version does not know, which must not be lost when the file is replaced.
pub(in crate::record) type Others = serde_json::Map<String, Value>;

/// A process that worked on a run.
// The name that it has in the published schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct ManifestSession {
    /// Which session, from 1.
    pub n: u32,
    /// When it took the run's lock.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub opened_at: Timestamp,
    /// When it ended: for a process that died, its last sign of life.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_instant"
    )]
    #[schemars(with = "Option<InstantSchema>")]
    pub closed_at: Option<Timestamp>,
    /// The command that opened it.
    pub opened_by: String,
    /// The machine that it ran on; absent in those of version 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<ManifestMachine>,
    /// Why it ended before the run was completed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// What went wrong, for people, if the run could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which trials that had a final row it was to run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<String>,
    /// Whether it was to go on with a run that a person had dropped.
    #[serde(rename = "forced", default, skip_serializing_if = "is_false")]
    pub is_forced: bool,
    /// The number of the last row before it; its own have greater ones.
    #[serde(default)]
    pub from_seq: u64,
    /// For how long its process was stopped; absent where it was not. Nothing worked meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_ms: Option<f64>,
    /// When it was paused and by whom, at most the last hundred times. That time is in `suspended_ms`, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<RunPause>,
    /// Where it comes from, in a run that was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SessionOrigin>,
    /// What was being executed when its process died: the trial's place in the plan, and which attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<(u64, u32)>,
    /// What was being graded when its process died: the trial's place in the plan, and its grader's in the scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grading: Vec<(u64, u32)>,
    /// What another version of the runner has written beside this.
    #[serde(flatten)]
    #[schemars(skip)]
    pub(in crate::record) others: Others,
}

impl ManifestSession {
    /// How long it lasted, once it is closed, without what its process was stopped for.
    fn lasted(&self) -> Option<Duration> {
        // As they are written: what is read back must last as long.
        let lasted = self.closed_at?.as_millisecond() - self.opened_at.as_millisecond();
        let lasted = Duration::from_millis(lasted.try_into().unwrap_or_default());
        // In whole milliseconds, as it is kept elsewhere.
        let suspended = self.suspended_ms.unwrap_or_default() as u64;
        Some(lasted.saturating_sub(Duration::from_millis(suspended)))
    }
}

/// A change of a run's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// When it was written down.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub at: Timestamp,
    /// The status before; absent for the first.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<RunStatus>>")]
    pub from: Option<RunStatus>,
    /// The status after.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<RunStatus>")]
    pub to: RunStatus,
    /// Why.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<Reason>>")]
    pub reason: Option<Reason>,
    /// The signal, if that was the reason.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<StopSignal>>")]
    pub signal: Option<StopSignal>,
    /// The command that made it.
    pub writer: String,
    /// Who asked for it from another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// What another version of the runner has written beside this.
    #[serde(flatten)]
    #[schemars(skip)]
    pub(in crate::record) others: Others,
}

/// How a session ends.
#[derive(Clone, Debug)]
pub struct End {
    /// The status that the run gets; any but `running`.
    pub status: RunStatus,
    /// Why, unless it is completed.
    pub reason: Option<Reason>,
    /// The signal that interrupted it.
    pub signal: Option<StopSignal>,
    /// How far the session came.
    pub stage: Stage,
    /// What the trials showed.
    pub verdict: Verdict,
    /// How many trials came to what, by the rows that are on disk.
    pub counts: Counts,
    /// What went wrong, for people, if the run could not go on.
    pub error: Option<String>,
    /// Who asked for it from another process.
    pub by: Option<By>,
    /// When the session ended.
    pub now: Timestamp,
}

impl Manifest {
    /// Tells whether anything of the run was ever executed: it has rows, even if they cannot be read, or a process of it
    /// died with an attempt begun. From then on the run is never `failed`, and never planned anew.
    pub(in crate::record) fn has_begun(&self, dir: &RunDir) -> bool {
        // What cannot be asked may well have rows.
        let has_rows = fs_err::metadata(dir.index()).map_or(true, |index| index.len() > 0);
        has_rows
            || self
                .sessions
                .iter()
                .any(|session| !session.in_flight.is_empty())
    }

    /// Everything in the content store that the run needs, and must have.
    pub(in crate::record) fn needed(&self) -> BTreeSet<Digest> {
        let used = self.providers.iter().chain(&self.graders);
        let plugins = used.map(|plugin| plugin.plugin_sha256);
        let listed = self.content.iter().copied();
        listed.chain(plugins).chain([self.metadata.suite]).collect()
    }

    /// Everything in the content store that must stay, if it is there: while another scenario is adopted, the old one is
    /// kept there until the manifest names the new one.
    pub(in crate::record) fn kept(&self) -> BTreeSet<Digest> {
        let mut kept = self.needed();
        kept.insert(self.scenario.sha256);
        kept
    }

    /// Opens the first session.
    pub(in crate::record) fn open(&mut self, writer: &str, now: Timestamp) {
        self.open_session(NewSession {
            now,
            opened_by: writer,
            rerun: None,
            is_forced: false,
            from_seq: 0,
        });
    }

    /// Opens the next session and moves a run that has ended back to `running`.
    pub(in crate::record) fn reopen(&mut self, session: NewSession<'_>) -> Result<(), RecordError> {
        status::check(Some(self.status), RunStatus::Running)?;
        let lacks_cause = match self.status {
            RunStatus::Completed => session.rerun.is_none(),
            RunStatus::Cancelled => !session.is_forced,
            RunStatus::Running | RunStatus::Failed | RunStatus::Incomplete => false,
        };
        if lacks_cause {
            return Err(status::refused(self.status, RunStatus::Running).into());
        }

        self.open_session(session);
        self.reason = None;
        self.signal = None;
        self.stage = Stage::Plan;
        self.verdict = Verdict::None;
        self.completed_at = None;
        Ok(())
    }

    fn open_session(&mut self, session: NewSession<'_>) {
        // A manifest says `running` from its making, before its first transition.
        let from = self.transitions.last().map(|last| last.to);
        self.transitions.push(Transition {
            at: session.now,
            from,
            to: RunStatus::Running,
            reason: None,
            signal: None,
            writer: session.opened_by.to_owned(),
            by: None,
            others: Others::new(),
        });
        self.sessions.push(ManifestSession {
            n: self.session() + 1,
            opened_at: session.now,
            closed_at: None,
            opened_by: session.opened_by.to_owned(),
            machine: None,
            reason: None,
            error: None,
            rerun: session.rerun,
            is_forced: session.is_forced,
            from_seq: session.from_seq,
            suspended_ms: None,
            pauses: Vec::new(),
            origin: None,
            in_flight: Vec::new(),
            grading: Vec::new(),
            others: Others::new(),
        });
        self.status = RunStatus::Running;
    }

    /// How long its sessions that are closed have lasted, together: what lies between them is nobody's work.
    pub fn worked(&self) -> Duration {
        self.sessions
            .iter()
            .filter_map(ManifestSession::lasted)
            .sum()
    }

    /// Notes where the session that was opened last runs.
    pub(in crate::record) fn runs_on(&mut self, machine: ManifestMachine) {
        let latest = self.sessions.last_mut();
        latest.expect("a session is open").machine = Some(machine);
    }

    /// The number of the latest session.
    pub fn session(&self) -> u32 {
        self.sessions.last().map_or(0, |session| session.n)
    }

    /// Closes the open session and moves the run out of `running`; `at` is when that is written down, which for a process
    /// that has died may be long after its end.
    pub(in crate::record) fn close(
        &mut self,
        writer: &str,
        at: Timestamp,
        end: &End,
    ) -> Result<(), RecordError> {
        status::check(Some(self.status), end.status)?;

        self.change(writer, at, end.status, end.reason);
        if let Some(transition) = self.transitions.last_mut() {
            transition.signal = end.signal;
            transition.by.clone_from(&end.by);
        }
        self.completed_at = Some(end.now);
        if let Some(session) = self.sessions.last_mut() {
            session.closed_at = Some(end.now);
            session.reason = end.reason;
            session.error.clone_from(&end.error);
        }
        self.signal = end.signal;
        self.stage = end.stage;
        self.verdict = end.verdict;
        self.counts = end.counts.into();
        Ok(())
    }

    /// Drops a run that has ended with work left.
    pub(in crate::record) fn cancel(
        &mut self,
        writer: &str,
        now: Timestamp,
        by: By,
    ) -> Result<(), IllegalTransition> {
        status::check(Some(self.status), RunStatus::Cancelled)?;
        self.change(writer, now, RunStatus::Cancelled, Some(Reason::Cancelled));
        if let Some(transition) = self.transitions.last_mut() {
            transition.by = Some(by);
        }
        self.signal = None;
        self.verdict = Verdict::None;
        Ok(())
    }

    /// Moves the run to a status that it rests in.
    fn change(&mut self, writer: &str, at: Timestamp, to: RunStatus, reason: Option<Reason>) {
        self.transitions.push(Transition {
            at,
            from: Some(self.status),
            to,
            reason,
            signal: None,
            writer: writer.to_owned(),
            by: None,
            others: Others::new(),
        });
        self.status = to;
        self.reason = reason;
        self.completed_at = Some(at);
    }
}

/// A session that is opened.
pub(in crate::record) struct NewSession<'a> {
    pub(in crate::record) now: Timestamp,
    pub(in crate::record) opened_by: &'a str,
    pub(in crate::record) rerun: Option<String>,
    pub(in crate::record) is_forced: bool,
    pub(in crate::record) from_seq: u64,
}

fn is_false(value: &bool) -> bool {
    !value
}
