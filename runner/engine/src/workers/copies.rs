//! [`Copies`]: compares the workers' copies of the folders that workspaces start as with the originals, and removes the folders
//! of workers that have exited.
//!
//! Attempts get links to a copy, so whatever changes it changes what later attempts start as, and the worker would not notice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Instant;
use std::{mem, thread};

use runner_files::{hash, open_folder, open_regular_at};
use runner_model::workspace::{TreeEntry, copy_name, read_base};
use runner_model::{Digest, Reason, WorkerId, visible::visible_line};
use runner_prepare::{ContentSource, machine};
use runner_record::Scratch;
use rustix::fs::CWD;

use super::inputs::{Compared, Input};

/// After a comparison for an attempt in doubt, the next one waits this many times as long as it took: a run in which most attempts
/// time out spends at most a twentieth of a core on comparisons.
const PAUSE: u32 = 20;

/// The copies of all workers on this machine.
pub(super) struct Copies {
    workers: BTreeMap<WorkerId, WorkerCopies>,
    sender: Sender<Input>,
    blobs: ContentSource,
}

/// The copies of one worker.
struct WorkerCopies {
    folder: PathBuf,
    /// Trials and bases of the rows that no comparison covers, in the order of their reports.
    rows: Vec<(u64, Digest)>,
    /// Number of those rows that the running comparison covers. `None` while none runs.
    covered: Option<usize>,
    is_doubted: bool,
    /// Earliest time of the next comparison for an attempt in doubt.
    next: Instant,
    /// Removes the folder of a worker that has exited. `None` while the worker lives, and at the end of a session, which removes
    /// all.
    remover: Option<Box<dyn FnOnce() + Send>>,
    has_exited: bool,
}

impl Copies {
    pub(super) fn new(sender: Sender<Input>, blobs: ContentSource) -> Self {
        Self { workers: BTreeMap::new(), sender, blobs }
    }

    /// Adds a worker with its folder.
    pub(super) fn add(&mut self, worker: WorkerId, folder: PathBuf) {
        let copies = WorkerCopies {
            folder,
            rows: Vec::new(),
            covered: None,
            is_doubted: false,
            next: Instant::now(),
            remover: None,
            has_exited: false,
        };
        self.workers.insert(worker, copies);
    }

    /// Adds a row of a trial whose attempt or grader has used the copy of a base. Ignores workers on other machines.
    pub(super) fn add_row(&mut self, worker: WorkerId, trial: u64, base: Digest, is_doubted: bool) {
        let Some(copies) = self.workers.get_mut(&worker) else { return };
        copies.rows.push((trial, base));
        copies.is_doubted |= is_doubted;
        if copies.is_doubted && Instant::now() >= copies.next {
            self.start(worker);
        }
    }

    /// Starts the last comparison of a worker that has exited, and then the removal of its folder.
    pub(super) fn exited(&mut self, worker: WorkerId, scratch: Option<&Scratch>) {
        let Some(copies) = self.workers.get_mut(&worker) else { return };
        copies.has_exited = true;
        let name = copies.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        if let (Some(scratch), Some(name)) = (scratch, name) {
            copies.remover = Some(Box::new(scratch.remover(name)));
        }
        self.start(worker);
    }

    /// Starts a comparison for each worker with rows that none covers. Returns whether comparisons are running.
    pub(super) fn start_all(&mut self) -> bool {
        let workers: Vec<_> = self.workers.keys().copied().collect();
        workers.into_iter().for_each(|worker| self.start(worker));
        self.workers.values().any(|copies| copies.covered.is_some())
    }

    /// Drops all comparisons. Returns the number of rows that none covers.
    pub(super) fn give_up(&mut self) -> u64 {
        let dropped = self.workers.values_mut().map(|copies| {
            copies.covered = None;
            mem::take(&mut copies.rows).len() as u64
        });
        dropped.sum()
    }

    /// Handles the end of a comparison. Returns the trials of the worker's rows that a difference makes doubtful.
    pub(super) fn finish(&mut self, compared: &Compared) -> BTreeSet<u64> {
        let worker = compared.worker;
        let Some(copies) = self.workers.get_mut(&worker) else { return BTreeSet::new() };
        let covered = copies.covered.take().unwrap_or_default();
        copies.next = Instant::now() + compared.started.elapsed() * PAUSE;
        let end = if compared.difference.is_some() { copies.rows.len() } else { covered };
        let rows = copies.rows.drain(..end);
        let trials = rows.filter(|_| compared.difference.is_some()).map(|(trial, _)| trial);
        let trials = trials.collect();
        if copies.has_exited {
            self.start(worker);
        }
        trials
    }

    /// Starts a comparison, or removes the folder of a worker that needs none and has exited.
    fn start(&mut self, worker: WorkerId) {
        let Some(copies) = self.workers.get_mut(&worker) else { return };
        if copies.covered.is_some() {
            return;
        }
        if copies.rows.is_empty() {
            if copies.has_exited
                && let Some(gone) = self.workers.remove(&worker)
                && let Some(remove) = gone.remover
            {
                self.spawn(remove);
            }
            return;
        }
        (copies.covered, copies.is_doubted) = (Some(copies.rows.len()), false);
        let bases: BTreeSet<Digest> = copies.rows.iter().map(|(_, base)| *base).collect();
        let (folder, blobs, sender) =
            (copies.folder.clone(), self.blobs.clone(), self.sender.clone());
        self.spawn(move || {
            let started = Instant::now();
            let difference = bases.iter().find_map(|base| difference(&folder, base, &blobs));
            // Without a receiver the session has ended.
            let _ = sender.send(Input::Compared(Compared { worker, difference, started }));
        });
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        if let Err(error) = thread::Builder::new().name("copies".into()).spawn(work) {
            let message = machine::failure("cannot start a thread", error);
            let _ = self.sender.send(Input::Failed(Reason::Machine, message));
        }
    }
}

/// Returns the path in a base of the first file whose copy in a worker's folder has another content, or cannot be read.
fn difference(folder: &Path, base: &Digest, blobs: &ContentSource) -> Option<String> {
    let Ok(lines) = blobs.bytes(base) else { return Some("its list".to_owned()) };
    let Ok(entries) = read_base(&lines) else { return Some("its list".to_owned()) };
    let opened = open_folder(CWD, folder).and_then(|folder| open_folder(folder, copy_name(base)));
    let files = entries.iter().filter(|entry| entry.sha256.is_some());
    let mut numbered = files.enumerate();
    let differs = numbered.find(|(number, entry)| {
        let opened = opened.as_ref().map_err(|error| io::Error::from(*error));
        let is_same = opened.and_then(|copy| is_same(copy, *number, entry));
        !is_same.unwrap_or(false)
    });
    differs.map(|(_, entry)| visible_line(&entry.path).into_owned())
}

/// Returns whether a file of a copy has the content of its entry. The worker may have put anything in its place.
fn is_same(copy: impl AsFd, number: usize, entry: &TreeEntry<'_>) -> io::Result<bool> {
    let (file, found) = open_regular_at(copy, number.to_string())?;
    if found.st_size as u64 != entry.bytes {
        return Ok(false);
    }
    let (sha256, _) = hash(file.take(entry.bytes), io::sink())?;
    Ok(entry.sha256 == Some(sha256))
}

#[cfg(test)]
#[path = "../tests/copies.rs"]
mod tests;
