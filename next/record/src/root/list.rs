//! Lists and sweeps the runs of a root. The list in SQLite only saves reading manifests that have not changed.

use std::{
    collections::HashMap,
    io,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use runner_model::RunStatus;

use crate::{
    Manifest, RecordError, ResultsRoot, RunDir, RunHead,
    disk::{beneath::Dir, layout::MANIFEST, lock::try_for},
    root::database::{Database, Listed, NAME},
};

/// How long `reindex` tries to make the list beside other processes.
const REINDEX_PATIENCE: Duration = Duration::from_secs(2);

/// The runs of a root.
#[derive(Debug, Default)]
pub struct Runs {
    /// What is to be said of them, newest first.
    pub runs: Vec<RunHead>,
    /// Directories whose manifest cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// What a sweep has done.
#[derive(Debug, Default)]
pub struct Swept {
    /// The runs that have their end now.
    pub ended: Vec<Manifest>,
    /// Dead runs that could not be written, and why.
    pub failed: Vec<(String, RecordError)>,
}

impl ResultsRoot {
    /// All runs, newest first, as they are in truth: a dead run is shown with the status that a sweep would give it.
    /// Uses and refreshes the list in SQLite; without it the answer is the same.
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
                // It was removed in this moment.
                _ => {}
            }
            false
        });
        found.unreadable.sort();
        Ok(found)
    }

    /// Dead runs that a process has left as running, newest first: each as it is on disk, and as a sweep would end it.
    pub fn dead(&self) -> Result<Vec<(RunDir, Manifest)>, RecordError> {
        let is_running = |status| status == RunStatus::Running;
        let dead = |head: RunHead| {
            let run = self.open_run(&head.id).ok()??;
            let truth = run.truth().ok()?;
            (!is_running(truth.status)).then_some((run, truth))
        };
        let heads = self.listed()?.runs.into_iter();
        let running = heads.filter(|head| is_running(head.status));
        Ok(running.filter_map(dead).collect())
    }

    /// Gives every dead run of the root its true status. Problems of single runs are skipped.
    pub fn sweep(&self) -> Result<Vec<Manifest>, RecordError> {
        Ok(self.sweep_of(|_| true)?.ended)
    }

    /// Gives the dead runs that are meant their true status.
    pub fn sweep_of(&self, is_meant: impl Fn(&Manifest) -> bool) -> Result<Swept, RecordError> {
        let mut swept = Swept::default();
        for (run, manifest) in self.dead()? {
            if !is_meant(&manifest) {
                continue;
            }
            match self.claim(&run) {
                Ok(owned) => {
                    self.note(owned.manifest());
                    swept.ended.push(owned.manifest().clone());
                }
                // Another process has it.
                Err(RecordError::Held { .. }) => {}
                Err(error) => swept.failed.push((run.id, error)),
            }
        }
        Ok(swept)
    }

    /// Makes the list in SQLite anew. Returns how many runs it has.
    pub fn reindex(&self) -> Result<usize, RecordError> {
        let root = self.own_dir()?;
        let listed = |name: String| {
            let run = self.open_run(&name).ok()??;
            Some((name, Listed::read(&run).ok()?))
        };
        let runs: Vec<_> = self.names()?.into_iter().filter_map(listed).collect();
        let make = || {
            let written = Database::make_anew(root)?.write(&runs, std::iter::empty());
            written.map_err(|error| root.error("write", NAME, io::Error::other(error)))
        };
        // Processes that have the old list open, or make a new one in this moment, can be in the way.
        let mut failed = Ok(());
        try_for(REINDEX_PATIENCE, Duration::from_millis(20), || {
            failed = make();
            Ok(failed.is_ok().then_some(()))
        })?;
        failed.map(|()| runs.len())
    }

    /// Upserts a manifest into the list on a thread that nobody waits for. Only the end of this root waits a moment.
    pub fn note(&self, manifest: &Manifest) {
        if let Some(dir) = self.dir() {
            self.wait_at_end(note(dir.clone(), manifest.id.clone()));
        }
    }

    /// The runs as their manifests are on disk, newest first, and those whose manifest cannot be read.
    pub(crate) fn listed(&self) -> Result<Runs, RecordError> {
        let Some(root) = self.dir() else {
            return Ok(Runs::default());
        };
        let names = self.names()?;
        // Each takes as long as the other.
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
                // What is wrong shows when it is opened.
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
                // It was removed in this moment.
                Ok(None) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => found.unreadable.push((name, error.to_string())),
            }
        }
        // What is left of the known ones is gone.
        if !changed.is_empty() || !known.is_empty() {
            let database = database.or_else(|| Database::open_or_make(root));
            if let Some(mut database) = database {
                // Without the list the manifests are read again.
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

/// Upserts the manifest of a run, as it is on disk by then, into the list of its root on a thread of its own. What is
/// given back hangs up when that is done.
fn note(root: Dir, id: String) -> Receiver<()> {
    let (done, is_done) = channel();
    let note = move || {
        // Those who work on trials go first.
        let _ = rustix::process::nice(10);
        if let Ok(Some(run)) = RunDir::open(&root, &id)
            && let Ok(listed) = Listed::read(&run)
            && let Some(mut database) = Database::open_or_make(&root)
        {
            // The next reader finds the manifest.
            let _ = database.write(&[(id, listed)], std::iter::empty());
        }
        drop(done);
    };
    // Without a thread the next reader finds the manifest.
    let _ = thread::Builder::new().name("list".into()).spawn(note);
    is_done
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
