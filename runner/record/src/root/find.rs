//! Finds a run by a name that a user typed.

use std::{io::ErrorKind, path::Path};

use runner_model::{RunStatus, visible::shown_path};

use crate::disk::beneath::Dir;
use crate::disk::layout::{MANIFEST, ROWS, command, is_run_name, parse_latest};
use crate::disk::lock::{self, PATIENCE, PAUSE, retry_for};
use crate::run::folder::{parse_id, plain};
use crate::run::run_dir::Check;
use crate::{Manifest, RecordError, ResultsRoot, RunDir, RunHead, Runs};

impl ResultsRoot {
    /// Returns a command about this root; see [`command`].
    pub fn command(&self, words: &[&str]) -> String {
        command(self.path(), words)
    }

    /// Finds a run by its id, the last part of it, another unique part, a path, or `latest`, with `latest~1` for the
    /// one before, and `latest:SCENARIO` and `latest~1:SCENARIO` for runs of a scenario.
    pub fn find(&self, name: &str) -> Result<RunDir, RecordError> {
        match self.by_name(name)? {
            Some(run) => Ok(run),
            None if parse_latest(name).is_some() => Err(self.unknown(name)),
            None if is_path(name) => open_path(Path::new(name))?.ok_or_else(|| self.unknown(name)),
            // Last resort: a folder in the working directory.
            None => open_path(Path::new(name)).ok().flatten().ok_or_else(|| self.unknown(name)),
        }
    }

    /// Finds a run as [`Self::find`] does, but only in this root: a path finds no run.
    pub fn find_named(&self, name: &str) -> Result<RunDir, RecordError> {
        self.by_name(name)?.ok_or_else(|| self.unknown(name))
    }

    fn by_name(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        match parse_latest(name) {
            Some((back, scenario)) => self.latest(back, scenario),
            None if is_path(name) => Ok(None),
            None => self.pick(name),
        }
    }

    fn unknown(&self, name: &str) -> RecordError {
        RecordError::Unknown { name: name.into(), root: self.path().to_owned() }
    }

    /// Returns this user's runs that may have been cut short, newest first, and the refusals of those of other users. Does
    /// not read the rows of dead runs.
    pub fn cut_short(&self) -> Result<(Vec<RunHead>, Vec<RecordError>), RecordError> {
        let mut open = Vec::new();
        for head in self.listed()?.runs {
            if matches!(head.status, RunStatus::Incomplete | RunStatus::Running) {
                open.extend(self.open_run(&head.id).ok().flatten().map(|run| (head, run)));
            }
        }
        let is_dead = |(head, run): &(RunHead, RunDir)| {
            head.status == RunStatus::Incomplete || !lock::is_held(&run.dir)
        };
        // A killed process has its lock until the system has taken its memory back.
        if !open.is_empty() {
            retry_for(PATIENCE, PAUSE, || Ok(open.iter().any(is_dead).then_some(())))?;
        }
        let mut runs = Vec::new();
        let mut skipped = Vec::new();
        for (head, run) in open.into_iter().filter(is_dead) {
            match run.for_use() {
                Err(error @ RecordError::NotOwn { .. }) => skipped.push(error),
                // A command that continues the run reports any other problem with it.
                _ => runs.push(head),
            }
        }
        Ok((runs, skipped))
    }

    /// Opens the newest run that this user's key has signed. Also returns the refusals of newer runs.
    pub fn newest_for_use(&self) -> Result<(RunDir, Vec<RecordError>), RecordError> {
        let mut skipped = Vec::new();
        for run in self.runs_of_user(None)? {
            match run.and_then(|run| run.for_use()) {
                Err(error @ RecordError::NotOwn { .. }) => skipped.push(error),
                run => return Ok((run?, skipped)),
            }
        }
        let unknown = RecordError::Unknown { name: "latest".into(), root: self.path().to_owned() };
        Err(skipped.into_iter().next().unwrap_or(unknown))
    }

    /// Opens the runs in files of this user, the newest first, optionally of one scenario. A damaged run and one of another user
    /// are errors. Another key may have signed a run.
    pub fn runs_of_user(
        &self,
        scenario: Option<&str>,
    ) -> Result<impl Iterator<Item = Result<RunDir, RecordError>>, RecordError> {
        let ids = self.newest(scenario)?.into_iter();
        Ok(ids.filter_map(|id| self.open_run(&id).transpose()).map(|run| run?.for_change()))
    }

    /// Opens this user's runs of a scenario's file, the newest first, with their true state. Leaves out replays: their results
    /// are made of the responses of an earlier run, which has paid for them.
    ///
    /// # Errors
    ///
    /// Items are errors for damaged runs, runs of other users, and runs of other files with this scenario's name.
    pub fn runs_of(
        &self,
        scenario: &str,
        path: &Path,
    ) -> Result<impl Iterator<Item = Result<(RunDir, Manifest), RecordError>>, RecordError> {
        let runs = self.runs_of_user(Some(scenario))?.map(move |run| {
            let run = run?;
            let manifest = run.truth()?;
            let its_path = Path::new(&manifest.scenario_path);
            if its_path == path {
                return Ok((run, manifest));
            }
            Err(run.dir.refuse(".", format!("it is a run of {}", shown_path(its_path))))
        });
        let is_replay =
            |(_, manifest): &(_, Manifest)| manifest.metadata.selection.replayed().is_some();
        Ok(runs.filter(move |run| !run.as_ref().is_ok_and(is_replay)))
    }

    /// Opens the runs of the same scenario file that were recorded before `run`, the newest first, with their true state. Skips
    /// runs that cannot be read.
    ///
    /// # Errors
    ///
    /// The root cannot be read.
    pub fn earlier_runs(
        &self,
        run: &Manifest,
    ) -> Result<impl Iterator<Item = (RunDir, Manifest)>, RecordError> {
        let own = RunHead::from(run);
        let mut runs = self.listed()?.runs;
        runs.retain(|other| other.scenario == own.scenario && other.order() < own.order());
        Ok(runs.into_iter().filter_map(|head| {
            let earlier = self.open_run(&head.id).ok()??;
            let manifest = earlier.truth().ok()?;
            (manifest.scenario_path == run.scenario_path).then_some((earlier, manifest))
        }))
    }

    /// Opens the run in folder `name`. `None` if the folder holds no run.
    pub(crate) fn open_run(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        self.dir().map_or(Ok(None), |root| RunDir::open(root, name))
    }

    /// Opens the run `back` places after the newest, optionally of one scenario.
    fn latest(&self, back: usize, scenario: Option<&str>) -> Result<Option<RunDir>, RecordError> {
        let run = self.newest(scenario)?.get(back).map_or(Ok(None), |id| self.open_run(id))?;
        // Some commands do not need the manifest, and would not show that the newest run is damaged.
        run.as_ref().map_or(Ok(()), |run| run.manifest().map(drop))?;
        Ok(run)
    }

    /// Returns the ids of the runs, newest first, optionally of one scenario. Includes runs whose manifest is damaged: without
    /// them, an older run would pass for the newest.
    fn newest(&self, scenario: Option<&str>) -> Result<Vec<String>, RecordError> {
        let Runs { mut runs, unreadable } = self.listed()?;
        runs.retain(|run| scenario.is_none_or(|scenario| run.scenario == scenario));
        let mut ids: Vec<_> = runs.into_iter().map(|run| (run.started_at, run.id)).collect();
        for (id, _) in unreadable {
            // Without rows, or if they are hidden from this user, the folder is not a run that this user could mean.
            let Ok(Some(rows)) = self.own_dir()?.stat(&format!("{id}/{ROWS}")) else { continue };
            let time = match parse_id(&id) {
                Some((_, name)) if scenario.is_some_and(|scenario| plain(scenario) != name) => {
                    continue;
                }
                Some((time, _)) => time,
                None => rows.changed(),
            };
            // The number is in the manifest.
            let place = ids.iter().position(|(start, _)| *start <= time).unwrap_or(ids.len());
            ids.insert(place, (time, id));
        }
        Ok(ids.into_iter().map(|(_, id)| id).collect())
    }

    fn pick(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        if name.is_empty() {
            return Ok(None);
        }
        if is_run_name(name)
            && let Some(run) = self.open_run(name)?
        {
            return Ok(Some(run));
        }
        let mut names = self.names()?;
        names.retain(|run| run.contains(name));
        names.sort();
        let runs = names.iter().filter_map(|run| self.open_run(run).ok()?);
        let mut runs: Vec<_> = runs.collect();
        // The short name of a run may be in the middle of another run's id.
        let is_end = |run: &RunDir| run.id.rsplit('-').next() == Some(name);
        if runs.iter().filter(|run| is_end(run)).count() == 1 {
            runs.retain(is_end);
        }
        if runs.len() > 1 {
            return Err(RecordError::Ambiguous {
                name: name.into(),
                root: self.path().to_owned(),
                candidates: runs.into_iter().map(|run| run.id).collect(),
            });
        }
        Ok(runs.pop())
    }

    /// Returns the names of folders that may be runs, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, RecordError> {
        let names = self.dir().map_or(Ok(Vec::new()), Dir::folders)?;
        Ok(names.into_iter().filter(|name| is_run_name(name)).collect())
    }
}

impl RunDir {
    /// Returns the results root in which the run is. A run that was found by its path may be in any root.
    pub fn results_root(&self) -> ResultsRoot {
        ResultsRoot::of(&self.root)
    }

    /// Returns the command `name` with the run and `more` arguments; see [`command`].
    pub fn command(&self, name: &str, more: &[&str]) -> String {
        command(self.root.path(), &[&[name, &self.id], more].concat())
    }

    /// Opens the run in folder `name` of a root. `None` without a folder, also if it is a file. A missing or empty manifest
    /// without rows is left by an end during the creation: the run never existed.
    pub(crate) fn open(root: &Dir, name: &str) -> Result<Option<Self>, RecordError> {
        let dir = match root.dir(name) {
            Err(error) if error.is_missing() => return Ok(None),
            // Such as `.lock` of the root.
            Err(_) if root.stat(name)?.is_some_and(|found| found.is_file) => return Ok(None),
            opened => opened?,
        };
        let is_run = match dir.stat(MANIFEST)? {
            Some(found) if !found.is_file || found.length > 0 => true,
            _ => has_bytes(&dir, ROWS),
        };
        Ok(is_run.then(|| Self { root: root.clone(), dir, id: name.into(), check: Check::Nothing }))
    }
}

/// Returns whether a name is a path rather than a part of an id.
fn is_path(name: &str) -> bool {
    name.contains('/') || name == "." || name == ".."
}

/// Returns whether a folder has an entry with this name that is not empty.
pub(crate) fn has_bytes(dir: &Dir, name: &str) -> bool {
    matches!(dir.stat(name), Ok(Some(found)) if found.length > 0)
}

/// Opens a run by its path. Links are followed: the root is the folder where the run really is.
fn open_path(path: &Path) -> Result<Option<RunDir>, RecordError> {
    let real = match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        real => real.map_err(|source| RecordError::io("open the folder", path, source))?,
    };
    let name = real.file_name().and_then(|name| name.to_str());
    match (real.parent(), name) {
        (Some(root), Some(name)) => RunDir::open(&Dir::open(root)?, name),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[path = "tests/find.rs"]
mod tests;
