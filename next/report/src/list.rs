//! The runs of a results root, and the summary of one run that every document about it has.

use std::collections::BTreeMap;

use runner_model::{
    Counts, Reason, RunStatus, Stage, StopSignal, Time, exit::Exit, status::RunVerdict,
};
use runner_record::{GroupPlace, Manifest, Pause, Pin, RecordError, ResultsRoot, RunHead};
use serde::Serialize;

use crate::VERSION;

/// `runner list`: the runs of a results root, newest first.
#[derive(Debug, Serialize)]
pub struct RunList {
    /// Always [`VERSION`].
    pub v: u8,
    /// Runs whose manifest can be read.
    pub runs: Vec<RunSummary>,
    /// Runs whose manifest cannot be read, or is of another format.
    pub unreadable: Vec<Unreadable>,
}

/// A run directory that cannot be read.
#[derive(Debug, Serialize)]
pub struct Unreadable {
    /// The directory's name.
    pub run: String,
    /// Why it cannot be read.
    pub problem: String,
}

/// What a run is, how far it is and how it ended.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: String,
    /// The end of its id, if no other run of the root has this end, else its id.
    pub short: String,
    /// Its directory, as a user would type it.
    pub run_dir: String,
    /// The scenario's name.
    pub scenario: String,
    /// Where the run is in its life.
    pub status: RunStatus,
    /// Why.
    pub reason: Option<Reason>,
    /// More about the reason, for people.
    pub message: Option<String>,
    /// The signal that stopped it.
    pub signal: Option<StopSignal>,
    /// What its trials showed.
    pub verdict: RunVerdict,
    /// How far the last session came.
    pub stage: Stage,
    /// What its trials came to.
    pub counts: RunCounts,
    /// Processes that worked on it.
    pub sessions: u64,
    /// When it began.
    pub started_at: Time,
    /// When it ended; `null` while it is running.
    pub completed_at: Option<Time>,
    /// How long its sessions worked, in milliseconds, without pauses and the time between them.
    pub worked_ms: u64,
    /// The pause that lasts; `null` if the run is not paused.
    pub paused: Option<Pause>,
    /// The exit code of the command that ended it; `null` while it is running.
    pub exit_code: Option<u8>,
    /// What its user has labelled it with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The group that it is one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupPlace>,
    /// That `prune` leaves it alone, since when, by whom and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
}

/// How many trials came to what, by final rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    /// Trials of the plan.
    pub planned: u64,
    /// Of the trials that have a final row.
    #[serde(flatten)]
    pub done: Counts,
}

impl From<&Manifest> for RunCounts {
    fn from(manifest: &Manifest) -> Self {
        Self { planned: manifest.metadata.planned_trial_count, done: manifest.counts }
    }
}

impl RunList {
    /// Reads the list. `now` is the time, for runs that go on.
    ///
    /// # Errors
    ///
    /// A results root that cannot be read.
    pub fn read(root: &ResultsRoot) -> Result<Self, RecordError> {
        let found = root.runs()?;
        let ids: Vec<&str> = found.runs.iter().map(|run| run.id.as_str()).collect();
        let ends = ends(&ids);
        let short = |id: &&str| {
            let end = short_id(id);
            let is_unique = ends.binary_search(&end).is_ok();
            if is_unique { end } else { id }.to_owned()
        };
        let shorts: Vec<_> = ids.iter().map(short).collect();
        let summary = |(run, short): (RunHead, String)| {
            let run_dir = root.path().join(&run.id).display().to_string();
            RunSummary::of(run, short, run_dir)
        };
        let runs = found.runs.into_iter().zip(shorts).map(summary).collect();
        let unreadable =
            found.unreadable.into_iter().map(|(run, problem)| Unreadable { run, problem });
        Ok(Self { v: VERSION, runs, unreadable: unreadable.collect() })
    }

    /// The runs of the group with this id, in their order.
    #[must_use]
    pub fn of_group(mut self, id: &str) -> Self {
        self.unreadable.clear();
        self.runs.retain(|run| run.group.as_ref().is_some_and(|group| group.id == id));
        self.runs.sort_by_key(|run| run.group.as_ref().map(|group| group.place));
        self
    }
}

impl RunSummary {
    /// What a manifest says.
    pub fn of(run: RunHead, short: String, run_dir: String) -> Self {
        let exit = Exit::of_run(run.status, run.reason, run.signal, run.verdict);
        Self {
            run: run.id,
            short,
            run_dir,
            scenario: run.scenario,
            status: run.status,
            reason: run.reason,
            message: run.message,
            signal: run.signal,
            verdict: run.verdict,
            stage: run.stage,
            counts: RunCounts { planned: run.planned, done: run.counts },
            sessions: run.sessions,
            started_at: run.started_at,
            completed_at: run.completed_at,
            worked_ms: run.worked_ms,
            paused: run.paused,
            exit_code: run.status.is_terminal().then(|| exit.code()),
            labels: run.labels,
            group: run.group,
            pinned: run.pinned,
        }
    }

    /// Tells whether `runner resume` would continue it.
    pub fn is_resumable(&self) -> bool {
        matches!(self.status, RunStatus::Incomplete | RunStatus::Failed)
    }
}

/// The end of an id by which runs are named on a terminal: its last part, 8 hexadecimal digits.
pub fn short_id(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// The short ids that only one of these runs has, sorted.
fn ends<'a>(ids: &[&'a str]) -> Vec<&'a str> {
    let mut ends: Vec<_> = ids.iter().map(|id| short_id(id)).collect();
    ends.sort_unstable();
    let runs = ends.chunk_by(|left, right| left == right);
    runs.filter(|run| run.len() == 1).map(|run| run[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn short_ids_are_unique() {
        let ids = ["2026-a-00000001", "2026-b-00000002", "2027-a-00000001"];
        assert_eq!(ends(&ids), ["00000002"]);
    }
}
