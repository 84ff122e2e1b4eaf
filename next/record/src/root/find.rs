//! Finds a run by what a user calls it.

use std::{io::ErrorKind, path::Path};

use runner_model::RunStatus;

use crate::{
    RecordError, ResultsRoot, RunDir, RunHead,
    disk::{
        beneath::Dir,
        layout::{MANIFEST, is_run_name, parse_latest},
        lock,
    },
};

impl ResultsRoot {
    /// Finds a run by its id, the end of it that lists show, another unique part of it, a path, or `latest`: also
    /// `latest~1` for the one before that, and `latest:SCENARIO` or `latest~1:SCENARIO` for one of a scenario.
    pub fn find(&self, name: &str) -> Result<RunDir, RecordError> {
        let unknown = || RecordError::Unknown { name: name.into(), root: self.path().to_owned() };
        if let Some((back, scenario)) = parse_latest(name) {
            return self.latest(back, scenario)?.ok_or_else(unknown);
        }
        if name.contains('/') || name == "." || name == ".." {
            return of_path(Path::new(name))?.ok_or_else(unknown);
        }
        match self.pick(name)? {
            Some(run) => Ok(run),
            // As a last resort, a folder here.
            None => of_path(Path::new(name)).ok().flatten().ok_or_else(unknown),
        }
    }

    /// The runs that may have been cut short, newest first: what became of dead ones is not looked at.
    pub fn cut_short(&self) -> Result<Vec<RunHead>, RecordError> {
        let mut heads = self.listed()?.runs;
        heads.retain(|head| {
            let run = || self.open_run(&head.id);
            let is_held = || matches!(run(), Ok(Some(run)) if lock::is_held(&run.dir));
            head.status == RunStatus::Incomplete || head.status == RunStatus::Running && !is_held()
        });
        Ok(heads)
    }

    /// Opens the run in the folder of this name; none if there is none.
    pub(crate) fn open_run(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        self.dir().map_or(Ok(None), |root| RunDir::open(root, name))
    }

    /// The run that has so many newer ones, of those of a scenario.
    fn latest(&self, back: usize, scenario: Option<&str>) -> Result<Option<RunDir>, RecordError> {
        let mut runs = self.listed()?.runs;
        runs.retain(|run| scenario.is_none_or(|scenario| run.scenario == scenario));
        let run = runs.get(back);
        run.map_or(Ok(None), |run| self.open_run(&run.id))
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
        // What a list shows as the short name of a run may be in the middle of another one's.
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

    /// The names in the root that may be runs, in no order.
    pub(crate) fn names(&self) -> Result<Vec<String>, RecordError> {
        let names = self.dir().map_or(Ok(Vec::new()), Dir::folders)?;
        Ok(names.into_iter().filter(|name| is_run_name(name)).collect())
    }
}

impl RunDir {
    /// Opens a run of a root; none if there is no such folder, or it has no manifest. An empty manifest is of a birth that a
    /// loss of power cut short: it was no run yet.
    pub(crate) fn open(root: &Dir, name: &str) -> Result<Option<Self>, RecordError> {
        let dir = match root.dir(name) {
            Err(error) if error.is_missing() => return Ok(None),
            opened => opened?,
        };
        let is_run = dir.stat(MANIFEST)?.is_some_and(|found| !found.is_file || found.length > 0);
        Ok(is_run.then(|| Self { root: root.clone(), dir, id: name.into() }))
    }
}

/// A run by its path, which may have links: the run belongs to the root where it really is.
fn of_path(path: &Path) -> Result<Option<RunDir>, RecordError> {
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
