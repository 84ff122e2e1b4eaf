//! Lists and sweeps the runs of a root. The list in SQLite saves reading manifests that have not changed.

use std::{collections::HashMap, io, thread, time::Duration};

use runner_model::RunStatus;

use crate::disk::{layout::MANIFEST, lock::retry_for};
use crate::root::database::{Database, Listed, NAME};
use crate::{Manifest, RecordError, ResultsRoot, RunDir, RunHead};

/// Time that `reindex` tries to replace the list while other processes use it.
const REINDEX_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct Runs {
    /// Newest first.
    pub runs: Vec<RunHead>,
    /// Directories whose manifest cannot be read, with the problem.
    pub unreadable: Vec<(String, String)>,
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// Runs that were ended.
    pub ended: Vec<Manifest>,
    /// Dead runs that could not be written.
    pub failed: Vec<(String, RecordError)>,
}

impl ResultsRoot {
    /// Lists all runs, newest first. A dead run has the status that a sweep would write. Uses and updates the list in
    /// SQLite; without it the result is the same.
    pub fn runs(&self) -> Result<Runs, RecordError> {
        let mut found = self.listed()?;
        found.runs.retain_mut(|head| {
            if head.status.is_terminal() {
                return true;
            }
            let run = self.open_run(&head.id);
            match run.and_then(|run| run.map(|run| run.truth()).transpose()) {
                Ok(Some(manifest)) => {
                    *head = RunHead::from(&manifest);
                    return true;
                }
                Err(error) if !error.is_missing() => {
                    found.unreadable.push((head.id.clone(), error.to_string()));
                }
                // The run was just removed.
                _ => {}
            }
            false
        });
        found.unreadable.sort();
        Ok(found)
    }

    /// Returns the runs with a dead process, newest first: each as it is on disk, and as a sweep would end it.
    pub fn dead(&self) -> Result<Vec<(RunDir, Manifest)>, RecordError> {
        let mut heads = self.listed()?.runs;
        heads.retain(|head| head.status == RunStatus::Running);
        let dead = |head: &RunHead| {
            let run = self.open_run(&head.id).ok()??;
            let truth = run.truth().ok()?;
            (truth.status != RunStatus::Running).then_some((run, truth))
        };
        Ok(heads.iter().filter_map(dead).collect())
    }

    /// Writes the true status of all dead runs. Skips runs with problems.
    pub fn sweep(&self) -> Result<Vec<Manifest>, RecordError> {
        Ok(self.sweep_of(|_| true)?.ended)
    }

    /// Writes the true status of the dead runs that `is_meant` selects.
    pub fn sweep_of(&self, is_meant: impl Fn(&Manifest) -> bool) -> Result<Swept, RecordError> {
        let mut swept = Swept::default();
        for (run, manifest) in self.dead()? {
            if !is_meant(&manifest) {
                continue;
            }
            match self.claim(&run) {
                Ok(owned) => {
                    swept.ended.push(owned.manifest().clone());
                }
                // Another process has just taken the run.
                Err(RecordError::Held { .. }) => {}
                Err(error) => swept.failed.push((run.id, error)),
            }
        }
        Ok(swept)
    }

    /// Replaces the list in SQLite. Returns the number of runs.
    pub fn reindex(&self) -> Result<usize, RecordError> {
        let root = self.own_dir()?;
        let listed = |name: String| {
            let run = self.open_run(&name).ok()??;
            Some((name, Listed::read(&run).ok()?))
        };
        let runs: Vec<_> = self.names()?.into_iter().filter_map(listed).collect();
        let make = || {
            let written = Database::recreate(root)?.write(&runs, std::iter::empty());
            written.map_err(|error| root.error("write", NAME, io::Error::other(error)))
        };
        // Processes that have the old list open, or create a new one now, can make this fail.
        let mut failed = Ok(());
        retry_for(REINDEX_PATIENCE, Duration::from_millis(20), || {
            failed = make();
            Ok(failed.is_ok().then_some(()))
        })?;
        failed.map(|()| runs.len())
    }

    /// Lists the runs as their manifests are on disk, newest first.
    pub(crate) fn listed(&self) -> Result<Runs, RecordError> {
        let Some(root) = self.dir() else {
            return Ok(Runs::default());
        };
        let names = self.names()?;
        // In parallel, because both take about the same time.
        let (stamps, known) = thread::scope(|scope| {
            let known = scope.spawn(|| Database::open(root).and_then(Database::read));
            let stamps = names.iter().map(|name| root.stat(&format!("{name}/{MANIFEST}")));
            let stamps: Vec<_> = stamps.collect();
            (stamps, known.join().unwrap_or_default())
        });
        let (database, known) = known.unzip();
        let mut known: HashMap<_, _> = known.unwrap_or_default();
        let (mut found, mut changed) = (Runs::default(), Vec::new());
        for (name, stamp) in names.into_iter().zip(stamps) {
            let stamp = match stamp {
                Ok(None) => continue,
                Ok(stamp) => stamp,
                // Opening the run shows the problem.
                Err(_) => None,
            };
            if let Some((known, head)) = known.remove(&name).map(|known| *known)
                && Some(known) == stamp
            {
                found.runs.push(head);
                continue;
            }
            let listed = RunDir::open(root, &name)
                .and_then(|run| run.as_ref().map(Listed::read).transpose());
            match listed {
                Ok(Some(listed)) => {
                    found.runs.push(listed.entry.1.clone());
                    changed.push((name, listed));
                }
                // The run was just removed.
                Ok(None) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => found.unreadable.push((name, error.to_string())),
            }
        }
        // The remaining known runs do not exist any more.
        if !changed.is_empty() || !known.is_empty() {
            let database = database.or_else(|| Database::open_or_create(root));
            if let Some(mut database) = database {
                // Without the list, manifests are read again.
                let _ = database.write(&changed, known.keys());
            }
        }
        let newest_first = |left: &RunHead, right: &RunHead| {
            (right.started_at, &right.id).cmp(&(left.started_at, &left.id))
        };
        found.runs.sort_unstable_by(newest_first);
        Ok(found)
    }
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
