//! Finds the runs that a name on the command line means.

use std::collections::BTreeSet;

use runner_model::{
    RunStatus, Stage,
    visible::{shown_path, visible_line},
};
use runner_record::{RecordError, ResultsRoot, RunDir};
use runner_report::{FoundTrials, RunList, RunSummary, find_trial};

use crate::text::{CommandError, error, mistake};

/// One run, or all runs of a group.
pub enum Target {
    Run(RunDir),
    /// The runs of a group, in order.
    Group(RunList),
}

impl Target {
    /// Finds the run, or else the group, with this id or part of it.
    ///
    /// # Errors
    ///
    /// No run or group, or several, have this name, or the results root cannot be read.
    pub fn find(root: &ResultsRoot, name: &str) -> Result<Self, CommandError> {
        let unknown = match root.find(name) {
            Err(error @ RecordError::Unknown { .. }) => error,
            found => return Ok(Self::Run(found?)),
        };
        let list = RunList::read(root)?;
        let ids: BTreeSet<_> = list.runs.iter().filter_map(|run| group_id(run)).collect();
        let ids: Vec<_> =
            ids.into_iter().filter(|id| id.contains(name)).map(str::to_owned).collect();
        match ids.as_slice() {
            [] => Err(unknown.into()),
            [id] => Ok(Self::Group(list.of_group(id))),
            several => Err(mistake!(
                "`{}` matches {} groups:\n{}",
                visible_line(name),
                several.len(),
                several.iter().map(|id| visible_line(id)).collect::<Vec<_>>().join("\n")
            )),
        }
    }

    /// Finds a run. Refuses a group.
    pub fn find_run(root: &ResultsRoot, name: &str) -> Result<RunDir, CommandError> {
        match Self::find(root, name)? {
            Self::Run(run) => Ok(run),
            Self::Group(list) => Err(needs_one_run(root, &list)),
        }
    }

    /// As [`Self::find`], for `show` and `logs`. If the name is of no run but of trials or of a provider of the newest run, the
    /// error has the command that shows them.
    pub fn find_for(command: &str, root: &ResultsRoot, name: &str) -> Result<Self, CommandError> {
        let newest = || root.find("latest").ok().and_then(|run| find_trial(&run, name).ok());
        Self::find(root, name).map_err(|error| match (root.find(name), newest()) {
            (
                Err(RecordError::Unknown { .. }),
                Some(FoundTrials::One(_) | FoundTrials::Named(_)),
            ) => mistake!(
                "no run matches `{0}`, but a trial of the newest run does\nto show it: {1}",
                visible_line(name),
                root.command(&[command, "latest", name])
            ),
            (Err(RecordError::Unknown { .. }), Some(FoundTrials::Several(trials)))
                if trials.iter().any(|trial| trial.contains(&format!("@{name}#"))) =>
            {
                let trials = format!("*@{name}#*");
                let quote = if name.contains(',') { "\"" } else { "" };
                let filter = format!("provider({quote}{name}{quote})");
                let words = if command == "show" { ["-E", &filter] } else { ["latest", &trials] };
                mistake!(
                    "no run matches `{name}`, but a provider of the newest run has this name\nto show its trials: {}",
                    root.command(&[command, words[0], words[1]])
                )
            }
            _ => error,
        })
    }

    /// Opens the run, or all runs of the group.
    pub fn open(self, root: &ResultsRoot) -> Result<Vec<RunDir>, CommandError> {
        match self {
            Self::Run(run) => Ok(vec![run]),
            Self::Group(list) => open(root, &list.runs),
        }
    }

    /// Opens the runs that get a request: a run itself; of a group, and for a run that waits for others of its group, the
    /// run whose turn it is.
    pub fn open_active(self, root: &ResultsRoot) -> Result<Vec<RunDir>, CommandError> {
        let list = match self {
            Self::Group(list) => list,
            Self::Run(run) => {
                let manifest = run.truth()?;
                let is_waiting = manifest.stage == Stage::Waiting && !manifest.status.is_terminal();
                match manifest.group.filter(|_| is_waiting) {
                    Some(group) => RunList::read(root)?.of_group(&group.id),
                    None => return Ok(vec![run]),
                }
            }
        };
        let group = list.runs.first().and_then(group_id).unwrap_or_default();
        let list_group = root.command(&["list", "--group", group]);
        match active(list.runs).first() {
            Some(run) => Ok(vec![root.find(&run.head.id)?]),
            None => Err(mistake!("no run of this group is running\nlist its runs: {list_group}")),
        }
    }

    /// Opens the runs that `cancel` ends: as [`Self::open_active`], but of a group all runs that are not completed. The run
    /// whose turn it is comes first, because its process also ends those that wait.
    pub fn open_to_cancel(self, root: &ResultsRoot) -> Result<Vec<RunDir>, CommandError> {
        let Self::Group(RunList { mut runs, .. }) = self else { return self.open_active(root) };
        runs.retain(|run| run.head.status != RunStatus::Completed);
        if runs.is_empty() {
            return Err(mistake!(
                "no run of this group has trials left; there is nothing to cancel"
            ));
        }
        runs.sort_by_key(|run| {
            (run.head.status != RunStatus::Running, run.head.stage == Stage::Waiting)
        });
        open(root, &runs)
    }

    /// Opens the only run that is running; of a group, the run whose turn it is.
    pub fn open_only_running(root: &ResultsRoot) -> Result<RunDir, CommandError> {
        let problem = match active(RunList::read(root)?.runs).as_slice() {
            [run] => return Ok(root.find(&run.head.id)?),
            [] => format!(
                "no run is running in {}\nlist all runs: {}",
                shown_path(root.path()),
                root.command(&["list"])
            ),
            runs => error::with_runs(
                &format!("{} runs are running; name one of them", runs.len()),
                runs.iter(),
            ),
        };
        Err(CommandError::usage(problem))
    }
}

/// Returns the error of a command about one run whose argument is a group.
pub fn needs_one_run(root: &ResultsRoot, list: &RunList) -> CommandError {
    let group = list.runs.first().and_then(group_id).unwrap_or_default();
    CommandError::usage(error::needs_one_run(root, group))
}

fn group_id(run: &RunSummary) -> Option<&str> {
    run.head.group.as_ref().map(|group| group.id.as_str())
}

fn open(root: &ResultsRoot, runs: &[RunSummary]) -> Result<Vec<RunDir>, CommandError> {
    Ok(runs.iter().map(|run| root.find(&run.head.id)).collect::<Result<_, _>>()?)
}

/// Keeps the runs that are running, without those that wait for others if there are others.
fn active(mut runs: Vec<RunSummary>) -> Vec<RunSummary> {
    runs.retain(|run| run.head.status == RunStatus::Running);
    if runs.iter().any(|run| run.head.stage != Stage::Waiting) {
        runs.retain(|run| run.head.stage != Stage::Waiting);
    }
    runs
}
