//! [`RunList`]: the runs of a results root. [`RunSummary`]: the part that every document about a run has.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use runner_model::status::{RunState, RunVerdict};
use runner_model::{Reason, RunStatus, exit::Exit};
use runner_record::{Manifest, RecordError, ResultsRoot, RunDir, RunHead, command};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::VERSION;

/// `runner list`: the runs of a results root, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunList {
    /// Always [`VERSION`].
    pub v: u8,
    /// Runs whose manifest can be read.
    pub runs: Vec<RunSummary>,
    /// Runs whose manifest is damaged or of another format.
    pub unreadable: Vec<Unreadable>,
}

/// A run that cannot be read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Unreadable {
    /// Name of the directory.
    pub run: String,
    /// The problem of its manifest, for people.
    pub problem: String,
}

/// The state and the directory of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunSummary {
    #[serde(flatten)]
    pub head: RunHead,
    /// Status, and verdict of a completed run, in one word.
    pub state: RunState,
    /// The last part of the id if no other run of the root has it, else the id.
    pub short: String,
    /// The directory as a user would type it.
    #[serde(serialize_with = "lossy")]
    #[schemars(with = "String")]
    pub run_dir: PathBuf,
    /// Exit code of the command that ended the run; `null` while it is running.
    pub exit_code: Option<u8>,
    /// Unexpected results of a run with known failures, for people. Empty in lists.
    #[serde(skip)]
    pub unexpected: String,
}

impl RunList {
    /// Reads the runs of a root.
    ///
    /// # Errors
    ///
    /// The results root cannot be read.
    pub fn read(root: &ResultsRoot) -> Result<Self, RecordError> {
        let found = root.runs()?;
        let ids: Vec<&str> = found.runs.iter().map(|run| run.id.as_str()).collect();
        let ends: HashSet<_> = ends(&ids).into_iter().map(str::to_owned).collect();
        let runs = found.runs.into_iter().map(|run| {
            let end = short_id(&run.id);
            let short = if ends.contains(end) { end } else { &run.id }.to_owned();
            let run_dir = root.path().join(&run.id);
            RunSummary::new(run, short, run_dir)
        });
        let unreadable =
            found.unreadable.into_iter().map(|(run, problem)| Unreadable { run, problem });
        Ok(Self { v: VERSION, runs: runs.collect(), unreadable: unreadable.collect() })
    }

    /// Keeps the runs of one group, in their order.
    pub fn of_group(mut self, id: &str) -> Self {
        self.unreadable.clear();
        self.runs.retain(|run| run.head.group.as_ref().is_some_and(|group| group.id == id));
        self.runs.sort_by_key(|run| run.head.group.as_ref().map(|group| group.place));
        self
    }
}

impl RunSummary {
    pub fn new(head: RunHead, short: String, run_dir: PathBuf) -> Self {
        let is_lost = head.lost_report.is_some();
        let exit = Exit::of_run(head.status, head.reason, head.signal, head.verdict, is_lost);
        let exit_code = head.status.is_terminal().then(|| exit.code());
        let state = head.state();
        Self { head, state, short, run_dir, exit_code, unexpected: String::new() }
    }

    /// Returns the short id of the run whose responses guests receive. `None` if the run is not a replay.
    pub fn replayed(&self) -> Option<&str> {
        self.head.replay_of.as_deref().map(short_id)
    }

    /// Creates the summary of a run in the state of `manifest`.
    pub fn from_run(root: &ResultsRoot, run: &RunDir, manifest: &Manifest) -> Self {
        Self::new(RunHead::from(manifest), short_of(root, run.id()), run.path())
    }

    /// Returns the command `name` for this run with `more` arguments, for users to type. `run` is the name of the run or
    /// of its group.
    pub fn command(&self, name: &str, run: &str, more: &[&str]) -> String {
        let root = self.run_dir.parent().unwrap_or(Path::new("."));
        command(root, &[&[name, run], more].concat())
    }

    /// Returns the command that continues the run, or its group.
    pub fn resume_command(&self, run: &str) -> String {
        // `resume` refuses a cancelled run, and one whose budget is used up.
        let budgets = self.head.larger_budgets.iter();
        let more: Vec<&str> = match self.head.reason {
            Some(Reason::Budget) => budgets.flat_map(|budget| ["--budget", budget]).collect(),
            Some(Reason::Cancelled) => vec!["--force"],
            _ => Vec::new(),
        };
        self.command("resume", run, &more)
    }

    /// Returns the advice for a run with lost reports. `run` is a name of the run.
    pub fn report_advice(&self, run: &str) -> String {
        format!("to write its reports: {}", self.command("resume", run, &[]))
    }

    /// Returns whether `runner resume` would continue the run.
    pub fn is_resumable(&self) -> bool {
        matches!(self.head.status, RunStatus::Incomplete | RunStatus::Failed)
            || self.head.verdict == RunVerdict::Damaged
    }
}

/// Serializes a path, whose bytes may not be text.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Returns the shortest name by which commands find this run.
pub fn short_of(root: &ResultsRoot, id: &str) -> String {
    let short = short_id(id);
    match root.find(short) {
        Ok(found) if found.id() == id => short.to_owned(),
        _ => id.to_owned(),
    }
}

/// Returns the last part of an id, 8 hexadecimal digits, which names the run on a terminal. A name that a user has chosen stays
/// whole: the end of `night-1` is soon a part of many ids.
pub fn short_id(id: &str) -> &str {
    let end = id.rsplit('-').next().unwrap_or(id);
    let is_made = end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_made { end } else { id }
}

/// Returns the short ids that only one of these runs has, sorted.
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
        assert_eq!(ends(&["night-1", "night-2", "a-1"]), ["a-1", "night-1", "night-2"]);
    }
}
