//! Lists and sweeps the runs of a root. The list in SQLite only saves reading manifests that have not changed.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use runner_model::{RunStatus, Time};
use serde::Deserialize;

use crate::{
    Manifest, RecordError, ResultsRoot, RunDir,
    beneath::Dir,
    database::{Database, Listed},
    lock,
    manifest::MANIFEST,
};

/// How long the end of a root waits until what it has noted is in the list.
const PATIENCE: Duration = Duration::from_millis(50);

/// The runs of a root.
#[derive(Debug, Default)]
pub struct Runs {
    /// Their manifests, newest first.
    pub runs: Vec<Manifest>,
    /// Directories whose manifest cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// What a manifest says first of all.
#[derive(Deserialize)]
struct Head {
    status: RunStatus,
    started_at: Time,
}

impl ResultsRoot {
    /// All runs, newest first, as they are in truth: a dead run is shown with the status that a sweep would give it.
    /// Uses and refreshes the list in SQLite; without it the answer is the same.
    pub fn runs(&self) -> Result<Runs, RecordError> {
        let (listed, mut unreadable) = self.listed()?;
        let mut runs = Vec::with_capacity(listed.len());
        for (run, listed) in listed {
            let manifest = Manifest::parse(&listed.text, &run.id)
                .map_err(|problem| Manifest::refused(&run.dir, problem));
            match manifest.and_then(|manifest| run.truth_of(manifest)) {
                Ok(manifest) => runs.push(manifest),
                // It was removed in this moment.
                Err(error) if error.is_missing() => {}
                Err(error) => unreadable.push((run.id, error.to_string())),
            }
        }
        runs.sort_by(|one: &Manifest, other| {
            (other.started_at, &other.id).cmp(&(one.started_at, &one.id))
        });
        unreadable.sort();
        Ok(Runs { runs, unreadable })
    }

    /// The newest run.
    pub(crate) fn latest(&self) -> Result<Option<RunDir>, RecordError> {
        let (listed, _) = self.listed()?;
        let runs = listed.into_iter().filter_map(|(run, listed)| {
            let head: Head = serde_json::from_str(&listed.text).ok()?;
            Some((head.started_at, run))
        });
        let newest = runs.max_by(|(time, run), (other_time, other)| {
            (time, &run.id).cmp(&(other_time, &other.id))
        });
        Ok(newest.map(|(_, run)| run))
    }

    /// Gives every dead run of the root its true status. Returns the runs that were changed. Problems of single runs are
    /// skipped.
    pub fn sweep(&self) -> Result<Vec<Manifest>, RecordError> {
        let (listed, _) = self.listed()?;
        let mut changed = Vec::new();
        for (run, listed) in listed {
            let head = serde_json::from_str(&listed.text);
            let is_running = head.is_ok_and(|head: Head| head.status == RunStatus::Running);
            if !is_running || lock::is_held(&run.dir) {
                continue;
            }
            let Ok(owned) = self.claim(&run) else {
                continue;
            };
            self.note(owned.manifest());
            changed.push(owned.manifest().clone());
        }
        Ok(changed)
    }

    /// The runs as their manifests are on disk, and those whose manifest cannot be read.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn listed(&self) -> Result<(Vec<(RunDir, Listed)>, Vec<(String, String)>), RecordError> {
        let Some(root) = self.dir() else {
            return Ok(Default::default());
        };
        let (database, known) = Database::open(root).and_then(Database::read).unzip();
        let mut known: HashMap<_, _> = known.unwrap_or_default();
        let (mut listed, mut unreadable, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for name in self.names()? {
            let run = match RunDir::open(root, &name) {
                Ok(Some(run)) => run,
                Ok(None) => continue,
                Err(error) if error.is_missing() => continue,
                Err(error) => {
                    unreadable.push((name, error.to_string()));
                    continue;
                }
            };
            let stamp = run.dir.stat(MANIFEST).ok().flatten();
            let entry = known
                .remove(&name)
                .filter(|known| Some(known.stamp) == stamp);
            let entry = match entry {
                Some(entry) => entry,
                None => match Listed::read(&run) {
                    Ok(entry) => {
                        changed.push((name, entry.clone()));
                        entry
                    }
                    Err(error) if error.is_missing() => continue,
                    Err(error) => {
                        unreadable.push((name, error.to_string()));
                        continue;
                    }
                },
            };
            listed.push((run, entry));
        }
        // What is left of the known ones is gone.
        if !changed.is_empty() || !known.is_empty() {
            let database = database.or_else(|| Database::open_or_make(root));
            if let Some(mut database) = database {
                database.write(&changed, known.keys());
            }
        }
        Ok((listed, unreadable))
    }
}

/// Upserts runs into the list on a thread of its own.
#[derive(Debug)]
pub(crate) struct Notes {
    root: Option<Dir>,
    thread: Mutex<Option<(Sender<String>, Receiver<()>)>>,
}

impl Notes {
    pub(crate) fn new(root: Option<Dir>) -> Self {
        Self {
            root,
            thread: Mutex::new(None),
        }
    }

    /// Upserts the manifest of a run as it is on disk by then.
    pub(crate) fn add(&self, id: String) {
        let Some(root) = &self.root else {
            return;
        };
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, _) = thread.get_or_insert_with(|| start(root.clone()));
        let _ = ids.send(id);
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let thread = self.thread.get_mut();
        if let Some((ids, done)) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            drop(ids);
            let _ = done.recv_timeout(PATIENCE);
        }
    }
}

fn start(root: Dir) -> (Sender<String>, Receiver<()>) {
    let (ids, received) = channel::<String>();
    let (done, is_done) = channel();
    let note = move || {
        let mut database = None;
        for id in received {
            let Ok(Some(entry)) = RunDir::open(&root, &id).map(|run| Listed::read(&run?).ok())
            else {
                continue;
            };
            if database.is_none() {
                database = Database::open_or_make(&root);
            }
            if let Some(database) = &mut database {
                database.write(&[(id, entry)], std::iter::empty());
            }
        }
        drop(database);
        let _ = done.send(());
    };
    // Without a thread the next reader finds the manifest.
    let _ = thread::Builder::new().name("list".into()).spawn(note);
    (ids, is_done)
}

#[cfg(test)]
#[path = "tests/list.rs"]
mod tests;
