//! [`Manifest`]: `benchmark.json`, the plan, the sessions and the state of a run.

use std::io::{self, Read as _};
use std::{collections::BTreeMap, fs::File, time::Duration};

use runner_model::protocol::CallLine;
use runner_model::status::{BadTransition, RunVerdict, Stage};
use runner_model::{
    Counts, Digest, GateResult, Reason, RunStatus, SessionSettings, Shard, StopSignal, Time,
    TrialId, digest,
    row::Actor,
    visible::{quoted_path, visible_line},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::disk::beneath::{Dir, Stamp};
use crate::disk::{layout::MANIFEST, lock};
use crate::{ManifestProvider, Metadata, Pause, RecordError, SessionEntry, Transition};

/// A manifest has some KiB, with hundreds of providers or sessions some MiB. A larger one is refused.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// Bytes by which a manifest can grow while its session runs.
const GROWTH: u64 = 2 << 20;
/// Bytes of a scenario's name. A file's name may have as many.
const MAX_NAME: usize = 255;
/// Bytes of the texts that `list` shows of a run.
const MAX_TEXTS: usize = 64 << 10;
/// Bytes of a session's `message`. The rest is cut.
const MAX_TEXT: usize = 16 << 10;
/// Budgets of a session's `larger_budgets`. `resume` lists the others.
pub(crate) const MAX_LARGER_BUDGETS: usize = 16;
/// Bytes of an error that quotes a damaged manifest.
const MAX_PROBLEM: usize = 1000;
/// Start of the problem of a manifest that can only be restored.
const DAMAGED: &str = "it is damaged";
/// A fold needs a byte for each trial.
const MAX_TRIALS: u64 = 100_000_000;

/// The `lost_report` of a session that has ended and whose reports are not written yet.
const NOT_WRITTEN_YET: &str = "not written yet";
/// The `lost_report` that readers show once no process holds such a run.
const NEVER_WRITTEN: &str = "the process ended before it had written all reports";

/// The list, as JSON, of a session that judges by no known failures, after one that did.
pub const NO_KNOWN: &str = "null";

/// Version of manifests, their `format`.
pub const FORMAT: u32 = 3;

/// `benchmark.json`: the plan, the sessions and the state of a run. Replaced atomically.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Always [`FORMAT`].
    #[schemars(extend("const" = FORMAT))]
    pub format: u32,
    /// The name of the run's directory.
    pub id: String,
    /// Place in the order in which the results root recorded its runs, from 1. `None` in a run of an earlier version: those come
    /// before all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The scenario's name.
    pub scenario: String,
    /// Absolute path of the scenario at the start, for messages.
    pub scenario_path: String,
    /// The status as of the last writing. A process that died cannot write it, so `list` and `show` may show another.
    pub status: RunStatus,
    /// Reason of the status, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Details of the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Arguments of `--budget` with which `resume` continues the run, if budgets are used up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub larger_budgets: Vec<String>,
    /// The reports that the last session could not write, with the causes, for people. The exit code is then 7 in place of 0 or 1.
    /// `not written yet` from the end of a session until all its reports are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_report: Option<String>,
    /// The stage that the last session reached.
    pub stage: Stage,
    /// The signal that stopped the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<StopSignal>,
    /// The result of the trials. `none` until the run is completed.
    pub verdict: RunVerdict,
    /// Counts of final rows on disk. Exact unless the run is running.
    pub counts: Counts,
    /// The result of the scenario's gate, which decides the verdict of a completed run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateResult>,
    /// Start of the first session.
    pub started_at: Time,
    /// End of the last session. Present unless the run is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Labels of `--label` and `runner label`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Present if one command started several runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPlace>,
    /// The shards that the run was merged from, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedShard>,
    /// HMAC-SHA256 of the parts that decide what is executed, by the key of the user who made the run; see `docs/files.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Digest>,
    /// Present if `prune` must not delete the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
    /// Numbers and digests of the plan.
    pub metadata: Metadata,
    /// The providers and their tools, then the graders that judged the outputs, in the suite's order.
    pub providers: Vec<ManifestProvider>,
    /// The graders of the stored plan, if `rescore` has judged by others. A session of `resume` judges by these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_graders: Option<Vec<ManifestProvider>>,
    /// All processes that worked on the run, the oldest first.
    pub sessions: Vec<SessionEntry>,
    /// All changes of the status, the oldest first.
    pub transitions: Vec<Transition>,
    /// `index.jsonl` as the last session left it. Its rows are those that `counts` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowsFile>,
}

/// The version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowsFile {
    /// Length of the file in bytes.
    pub length: u64,
    /// The inode's number.
    pub inode: u64,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified: i64,
}

impl From<Stamp> for RowsFile {
    fn from(Stamp { length, inode, modified, .. }: Stamp) -> Self {
        Self { length, inode, modified }
    }
}

/// A lock against `prune`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pin {
    /// Time of the request.
    pub at: Time,
    /// The user who pinned the run, with a reason.
    pub by: Actor,
}

/// The place of a run in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupPlace {
    /// The group's id.
    pub id: String,
    /// The run's place in the order of the starts, from 1.
    pub place: u32,
    /// Runs of the group.
    pub of: u32,
}

/// A shard that was merged into a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergedShard {
    /// The part of the plan, such as `3/64`.
    pub shard: Shard,
    /// The shard's id.
    pub run: String,
    /// Sessions of the shard. They follow those of the shards before it.
    pub sessions: u32,
    /// Bytes of the shard's `index.jsonl`, which only grows.
    pub bytes: u64,
}

/// Returns the error for the missing or damaged manifest of a run.
pub(crate) fn damaged(dir: &Dir, problem: &str) -> RecordError {
    let advice = match lock::holder(dir) {
        // A session has its manifest in memory.
        Some(holder) => {
            format!("{holder} works on the run, and writes the file again when it ends: wait")
        }
        None => format!("restore it, or delete the run: rm -r {}", quoted_path(dir.path())),
    };
    dir.refuse(MANIFEST, format!("{problem}; {advice}"))
}

/// Cuts a text for the manifest.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

impl Manifest {
    /// Reads the manifest of a run from its open file, with its text and the stamp of the file. A manifest is replaced and
    /// never changed in place, so the three belong together. The id is the folder's name, so a copy is a run of its own.
    pub(crate) fn read(
        dir: &Dir,
        id: &str,
        file: File,
    ) -> Result<(Self, String, Stamp), RecordError> {
        let stamp = Stamp::of(&file);
        let stamp = stamp.map_err(|source| dir.error("read", MANIFEST, source))?;
        if stamp.length > MAX_BYTES {
            let problem =
                format!("it has {} bytes, and a manifest has at most {MAX_BYTES}", stamp.length);
            return Err(dir.refuse(MANIFEST, problem));
        }
        let text = io::read_to_string(file.take(MAX_BYTES)).map_err(|error| error.to_string());
        let parsed = text.and_then(|text| Ok((Self::parse(&text, id)?, text)));
        match parsed {
            Ok((manifest, text)) => Ok((manifest, text, stamp)),
            // A parse error quotes the text.
            Err(problem) => {
                let problem = &problem[..problem.floor_char_boundary(MAX_PROBLEM)];
                let problem = visible_line(problem);
                Err(match problem.starts_with(DAMAGED) {
                    true => damaged(dir, &problem),
                    false => dir.refuse(MANIFEST, problem),
                })
            }
        }
    }

    /// Parses a manifest. The error describes the problem.
    pub(crate) fn parse(text: &str, id: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let Format { format } = serde_json::from_str(text).map_err(|error| damaged_json(&error))?;
        if format != u64::from(FORMAT) {
            return Err(format!(
                "its format is {format}, and this runner reads and writes format {FORMAT}: use the runner that wrote it"
            ));
        }
        let mut manifest: Self =
            serde_json::from_str(text).map_err(|error| damaged_json(&error))?;
        let trials = manifest.metadata.planned_trial_count;
        if trials > MAX_TRIALS {
            return Err(format!("it plans {trials} trials, and a run has at most {MAX_TRIALS}"));
        }
        // Another program may have written the file, and sums of its counts must not overflow.
        let Counts {
            passed,
            failed,
            error,
            timeout,
            skipped,
            flaky,
            ungraded,
            known,
            unexpected_passes,
            not_needed,
        } = manifest.counts;
        let counts =
            [passed, failed, error, timeout, skipped, flaky, ungraded, known, unexpected_passes];
        if counts.into_iter().chain(not_needed).any(|count| count > MAX_TRIALS) {
            return Err(format!("{DAMAGED}: it has more than {MAX_TRIALS} results"));
        }
        if manifest.sessions.is_empty() {
            return Err(format!("{DAMAGED}: it has no session"));
        }
        manifest.check_texts()?;
        id.clone_into(&mut manifest.id);
        Ok(manifest)
    }

    /// Returns the bytes of a manifest for a session that is about to start. The error describes the problem.
    pub(crate) fn check_size(&self) -> Result<u64, String> {
        self.check_texts()?;
        let bytes = self.to_bytes().map_or(0, |bytes| bytes.len() as u64);
        if bytes <= MAX_BYTES - GROWTH {
            return Ok(bytes);
        }
        Err(format!(
            "it would have {bytes} bytes with its {} providers and {} sessions, and a manifest has at most {MAX_BYTES}: start a new run, or use fewer providers",
            self.providers.len(),
            self.sessions.len()
        ))
    }

    /// Fails if the texts are too long for a list. The error describes the problem.
    pub(crate) fn check_texts(&self) -> Result<(), String> {
        let name = self.scenario.len();
        if name > MAX_NAME {
            return Err(format!("the scenario's name has {name} bytes: use at most {MAX_NAME}"));
        }
        let texts = (
            &self.labels,
            &self.metadata.vars,
            &self.message,
            &self.larger_budgets,
            &self.lost_report,
            &self.group,
            &self.pinned,
            self.paused(),
        );
        let bytes = serde_json::to_vec(&texts).map_or(0, |texts| texts.len());
        if bytes > MAX_TEXTS {
            return Err(format!(
                "labels, variables, message and other texts of the run have {bytes} bytes: use at most {MAX_TEXTS}"
            ));
        }
        Ok(())
    }

    /// Returns whether the last session has ended, but may still write its reports. The run is `running` while a process holds it.
    pub fn owes_reports(&self) -> bool {
        self.status.is_terminal() && self.lost_report.as_deref() == Some(NOT_WRITTEN_YET)
    }

    /// Returns whether no session works on the run, as far as the manifest shows it.
    pub fn has_ended(&self) -> bool {
        self.status.is_terminal() && !self.owes_reports()
    }

    /// Marks the reports of a session that is about to end as lost until they are written.
    pub(crate) fn owe_reports(&mut self) {
        self.lost_report = Some(NOT_WRITTEN_YET.to_owned());
    }

    /// Marks reports that no process writes any more as lost.
    pub(crate) fn lose_owed_reports(&mut self) {
        if self.owes_reports() {
            self.lost_report = Some(NEVER_WRITTEN.to_owned());
        }
    }

    /// Undoes the end of a session that still writes its reports, in memory only.
    pub(crate) fn reopen(&mut self) {
        self.status = RunStatus::Running;
        self.verdict = RunVerdict::None;
        (self.reason, self.message, self.signal) = (None, None, None);
        (self.completed_at, self.gate, self.lost_report) = (None, None, None);
        self.larger_budgets.clear();
        self.transitions.pop_if(|change| change.to.is_terminal());
        if let Some(session) = self.sessions.last_mut() {
            session.ended_at = None;
        }
    }

    /// Returns the labels, and the variables of other names as labels.
    pub fn labels_and_vars(&self) -> BTreeMap<String, String> {
        let vars = self.metadata.vars.iter().map(|(name, value)| {
            (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        });
        let mut all: BTreeMap<_, _> = vars.collect();
        all.extend(self.labels.clone());
        all
    }

    /// Returns the settings of the last session that is not one of `rescore`, which has settings of its own.
    pub fn settings(&self) -> Option<&SessionSettings> {
        let mut newest_first = self.sessions.iter().rev();
        newest_first.find(|session| !session.rescores).map(|session| &session.settings)
    }

    /// Returns whether a session only judges stored outputs again.
    pub fn rescores(&self, session: u32) -> bool {
        self.sessions.iter().any(|entry| entry.number == session && entry.rescores)
    }

    /// Returns the sessions that only judge stored outputs again.
    pub(crate) fn rescoring(&self) -> Vec<u32> {
        self.sessions.iter().filter(|entry| entry.rescores).map(|entry| entry.number).collect()
    }

    /// Returns the providers and tools, then the graders, of the stored plan.
    pub fn planned(&self) -> impl Iterator<Item = &ManifestProvider> {
        let (providers, graders) = self.providers.split_at(self.first_grader());
        providers.iter().chain(self.planned_graders.as_deref().unwrap_or(graders))
    }

    /// Returns the place of the first grader. The tools of graders that `rescore` has judged by follow it.
    fn first_grader(&self) -> usize {
        self.providers.iter().position(|one| one.is_grader).unwrap_or(self.providers.len())
    }

    /// Returns the digests of all plugins of the run.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = Digest> {
        let planned = self.planned_graders.iter().flatten();
        self.providers.iter().chain(planned).map(|provider| provider.digest)
    }

    /// Lists the graders of a session and their tools, then those that judged before: their grades stay until each is replaced.
    pub(crate) fn list_graders(&mut self, graders: Vec<ManifestProvider>) {
        let before = self.providers.split_off(self.first_grader());
        let mut now = graders;
        for old in &before {
            match now.iter_mut().find(|one| one.name == old.name) {
                Some(one) if one.digest == old.digest => {
                    one.description.clone_from(&old.description);
                }
                Some(_) => {}
                None => now.push(old.clone()),
            }
        }
        if now != before {
            self.planned_graders.get_or_insert(before);
        }
        self.providers.extend(now);
    }

    /// Sets the providers with their plugins' descriptions, or without them if they are too large.
    pub(crate) fn set_described(&mut self, providers: Vec<ManifestProvider>) {
        self.providers = providers;
        if self.check_size().is_err() {
            self.providers.iter_mut().for_each(|provider| provider.description = None);
        }
    }

    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns whether counts and verdict of a run that has ended agree with each other, and `rows` is the file whose rows
    /// they count. Otherwise only the rows have the counts.
    pub(crate) fn is_of(&self, rows: Option<Stamp>) -> bool {
        let planned = self.metadata.planned_trial_count;
        self.rows.is_some()
            && self.rows == rows.map(RowsFile::from)
            && (self.status != RunStatus::Completed || self.counts.is_whole(planned))
            && self.verdict == self.verdict_of(self.counts)
    }

    /// Returns the verdict of a run with these counts, by the result of its gate if there is one.
    pub(crate) fn verdict_of(&self, counts: Counts) -> RunVerdict {
        match (&self.gate, self.status) {
            (Some(gate), RunStatus::Completed) if !gate.held => RunVerdict::Failed,
            // Without a list, the gate is the only rule.
            (Some(_), RunStatus::Completed) if self.known().is_none() => RunVerdict::Passed,
            _ => counts.verdict(self.status, self.reason),
        }
    }

    /// Returns the list in the store of the known failures that the run is judged by. `None` without a list.
    pub fn known(&self) -> Option<Digest> {
        let known = self.sessions.iter().rev().find_map(|session| session.known);
        known.filter(|list| *list != digest(NO_KNOWN.as_bytes()))
    }

    /// Returns the current pause, if the run is paused.
    pub fn paused(&self) -> Option<&Pause> {
        let pause = self.sessions.last()?.pauses.last()?;
        (self.status == RunStatus::Running && pause.to.is_none()).then_some(pause)
    }

    /// Returns the number of the last session.
    pub fn last_session(&self) -> u32 {
        self.sessions.last().map_or(1, |session| session.number)
    }

    /// Returns the reason if a row cannot belong to this run: its session is unknown or started later, or its trial
    /// is not planned.
    pub(crate) fn foreign(
        &self,
        trial: &TrialId,
        (session, seq): (u32, u64),
        is_planned: bool,
    ) -> Option<String> {
        let problem = match self.sessions.iter().find(|one| one.number == session) {
            None => format!("the run has no session {session}"),
            Some(entry) if seq <= entry.from_seq => {
                format!("session {session} started after row {}", entry.from_seq)
            }
            _ if !is_planned && seq > self.earlier_plan() => {
                format!("the run has no trial {trial}")
            }
            _ => return None,
        };
        Some(format!("{problem}: the row is of another run"))
    }

    /// Fails if a call cannot belong to this run. The error is the end of a sentence about its line.
    pub(crate) fn check_call(&self, call: &CallLine<'_>) -> Result<&SessionEntry, String> {
        match self.sessions.iter().find(|one| one.number == call.session) {
            None => Err(format!("is of session {}, which the run does not have", call.session)),
            Some(session) if session.key != call.key => Err("is of another run".to_owned()),
            Some(session) => Ok(session),
        }
    }

    /// Returns the session that took over the current plan. `None` if the plan is the first.
    pub(crate) fn adopted(&self) -> Option<&SessionEntry> {
        self.sessions.iter().rev().find(|session| session.adopted.is_some())
    }

    /// Returns whether a session after session `from`, up to session `to`, may have taken over another plan. A merged run does
    /// not know that of its shards.
    pub(crate) fn has_changed_plan(&self, from: u32, to: u32) -> bool {
        let mut later = self.sessions.iter().filter(|one| from < one.number && one.number <= to);
        later.any(|session| session.adopted.is_some() || !self.merged.is_empty())
    }

    /// Sets the counts of trials that have rows and that the current plan lacks, because rows may be lost.
    pub(crate) fn set_removed(&mut self, removed: Counts) {
        let mut adopted = self.sessions.iter_mut().rev().filter_map(|one| one.adopted.as_mut());
        if let Some(counts) = adopted.next() {
            *counts = removed;
        }
    }

    /// Returns the number of the last row that may be of a trial of an earlier plan.
    pub(crate) fn earlier_plan(&self) -> u64 {
        self.adopted().map_or(0, |session| session.from_seq)
    }

    /// Returns the working time of all sessions, in milliseconds. The time of day counts for a session that has not
    /// recorded its own.
    pub(crate) fn worked_ms(&self, now: Time) -> f64 {
        let paused = self.paused().map_or(Duration::ZERO, |pause| now.since(pause.from));
        let sessions = self.sessions.iter().map(|session| {
            session.worked_ms.unwrap_or_else(|| {
                let time = session.ended_at.unwrap_or(now).since(session.started_at);
                let time = time.saturating_sub(paused).as_millis() as u64;
                time.saturating_sub(session.suspended_ms) as f64
            })
        });
        let sum: f64 = sessions.sum();
        (sum * 1e3).round() / 1e3
    }

    /// Changes the status by the graph, and adds the transition. If the clock was set back, `at` is raised to the
    /// previous transition.
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
        self.larger_budgets.clear();
        self.signal = None;
        self.verdict = self.verdict_of(self.counts);
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

#[cfg(any(test, fuzzing))]
#[path = "tests/fuzzing.rs"]
pub(crate) mod fuzzing;

#[cfg(test)]
#[path = "tests/manifest.rs"]
mod tests;

fn damaged_json(error: &serde_json::Error) -> String {
    if error.is_eof() {
        format!("{DAMAGED}: it is cut off in line {}", error.line())
    } else {
        format!("{DAMAGED}: {error}")
    }
}
