//! Lists and sweeps the runs of a root. The list in SQLite saves reading manifests that have not changed.

use std::{collections::HashMap, io, thread, time::Duration};

use runner_model::RunStatus;

use crate::disk::beneath::Dir;
use crate::disk::layout::{MANIFEST, ROWS};
use crate::disk::lock::retry_for;
use crate::root::database::{Database, Listed, NAME};
use crate::{Manifest, RecordError, ResultsRoot, RunDir, RunHead};

/// Time that `reindex` tries to replace the list while other processes use it.
const REINDEX_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of manifests that are held before they are written into the list.
const MAX_UNLISTED: usize = 8 << 20;

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
    /// Refusals of the dead runs of other users.
    pub skipped: Vec<RecordError>,
    /// Dead runs that could not be written.
    pub failed: Vec<(String, RecordError)>,
}

/// Runs whose process is dead.
#[derive(Debug, Default)]
pub struct DeadRuns {
    /// Runs of this user, newest first, each as it is on disk and as a sweep would end it.
    pub runs: Vec<(RunDir, Manifest)>,
    /// Refusals of the runs of other users.
    pub skipped: Vec<RecordError>,
}

impl ResultsRoot {
    /// Lists all runs, newest first. A dead run has the status that a sweep would write. Uses and updates the list in
    /// SQLite; without it the result is the same.
    pub fn runs(&self) -> Result<Runs, RecordError> {
        let mut runs = self.listed()?;
        runs.runs.retain_mut(|head| {
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
                    runs.unreadable.push((head.id.clone(), error.to_string()));
                }
                // Another process has removed the run since the folder was listed.
                _ => {}
            }
            false
        });
        runs.unreadable.sort();
        Ok(runs)
    }

    /// Returns the runs whose process is dead.
    pub fn dead(&self) -> Result<DeadRuns, RecordError> {
        let mut dead = DeadRuns::default();
        for head in self.listed()?.runs {
            if head.status != RunStatus::Running {
                continue;
            }
            let Ok(Some(run)) = self.open_run(&head.id) else { continue };
            let Ok(truth) = run.truth() else { continue };
            // A process that has ended its session meanwhile has written the end.
            let has_end = run.manifest().is_ok_and(|manifest| manifest.status.is_terminal());
            if truth.status != RunStatus::Running && !has_end {
                match run.for_change() {
                    Err(error @ RecordError::NotOwn { .. }) => dead.skipped.push(error),
                    // The sweep opens the run again, and reports any other problem with it.
                    _ => dead.runs.push((run, truth)),
                }
            }
        }
        Ok(dead)
    }

    /// Writes the true status of all dead runs. Skips runs with problems.
    pub fn sweep(&self) -> Result<Vec<Manifest>, RecordError> {
        Ok(self.sweep_of(|_| true)?.ended)
    }

    /// Writes the true status of the dead runs that `is_meant` selects.
    pub fn sweep_of(&self, is_meant: impl Fn(&Manifest) -> bool) -> Result<Swept, RecordError> {
        let DeadRuns { runs, skipped } = self.dead()?;
        let mut swept = Swept { skipped, ..Swept::default() };
        for (run, manifest) in runs {
            if !is_meant(&manifest) {
                continue;
            }
            match self.claim(&run) {
                Ok(owned) => {
                    swept.ended.push(owned.manifest().clone());
                }
                // Another process has just taken or removed the run.
                Err(RecordError::Held { .. }) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => swept.failed.push((run.id, error)),
            }
        }
        Ok(swept)
    }

    /// Replaces the list in SQLite. Returns the number of runs.
    pub fn reindex(&self) -> Result<usize, RecordError> {
        let root = self.own_dir()?;
        let runs = self.names()?.into_iter().filter_map(|name| {
            let run = self.open_run(&name).ok()??;
            Some((name, Listed::read(&run).ok()?))
        });
        let runs: Vec<_> = runs.collect();
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

    /// Lists the runs as their manifests are on disk, newest first. Reads rows only of runs that have ended and whose rows
    /// have changed since.
    pub(crate) fn listed(&self) -> Result<Runs, RecordError> {
        let Some(root) = self.dir() else {
            return Ok(Runs::default());
        };
        let names = self.names()?;
        // In parallel, because both take about the same time.
        let (stamps, known) = thread::scope(|scope| {
            let known = thread::Builder::new()
                .spawn_scoped(scope, || Database::open(root).and_then(Database::read));
            let stamps: Vec<_> = names
                .iter()
                .map(|name| {
                    let rows = root.stat(&format!("{name}/{ROWS}"));
                    (root.stat(&format!("{name}/{MANIFEST}")), rows.ok().flatten())
                })
                .collect();
            // Without a thread, as under a limit of processes, manifests are read.
            (stamps, known.ok().and_then(|known| known.join().ok()?))
        });
        let (mut database, known) = known.unzip();
        let mut known: HashMap<_, _> = known.unwrap_or_default();
        let mut runs = Runs::default();
        let mut changed = Vec::new();
        let mut bytes = 0;
        for (name, (stamp, rows)) in names.into_iter().zip(stamps) {
            let stamp = match stamp {
                Ok(None) if rows.is_none_or(|rows| rows.length == 0) => continue,
                Ok(stamp) => stamp,
                // Without a stamp the run is opened, and the error of that says more.
                Err(_) => None,
            };
            if let Some(known) = known.remove(&name)
                && known.is_of(stamp, rows)
            {
                runs.runs.push(known.head);
                continue;
            }
            let listed = RunDir::open(root, &name)
                .and_then(|run| run.as_ref().map(Listed::read).transpose());
            match listed {
                Ok(Some(listed)) => {
                    runs.runs.push(listed.entry.head.clone());
                    bytes += listed.text.len();
                    changed.push((name, listed));
                    if bytes > MAX_UNLISTED {
                        write_list(root, &mut database, &mut changed, std::iter::empty());
                        bytes = 0;
                    }
                }
                // Another process has removed the run since the folder was listed.
                Ok(None) => {}
                Err(error) if error.is_missing() => {}
                Err(error) if error.is_exhausted() => return Err(error),
                Err(error) => runs.unreadable.push((name, error.to_string())),
            }
        }
        // The remaining known runs do not exist any more.
        if !changed.is_empty() || !known.is_empty() {
            write_list(root, &mut database, &mut changed, known.keys());
        }
        runs.runs.sort_unstable_by(|left, right| right.order().cmp(&left.order()));
        Ok(runs)
    }
}

/// Writes changed entries into the list in SQLite, and removes entries of runs that are gone.
fn write_list<'a>(
    root: &Dir,
    database: &mut Option<Database>,
    changed: &mut Vec<(String, Listed)>,
    gone: impl Iterator<Item = &'a String>,
) {
    if database.is_none() {
        *database = Database::open_or_create(root);
    }
    if let Some(database) = database {
        // Without the list, manifests are read again.
        let _ = database.write(changed, gone);
    }
    changed.clear();
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
