//! Changes of a run's labels and of its pin after its start. The holder of the run's lock writes them: this process, or the
//! process that works on the run and receives a request.
//!
//! The request is a file with the token of that lock. One request is on disk at a time, and its sender waits until the
//! manifest has the change. So a request that gets lost is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use runner_model::row::Actor;
use serde::{Deserialize, Serialize};

use crate::disk::beneath::{Dir, random};
use crate::disk::layout::MANIFEST;
use crate::disk::lock;
use crate::run::control::POLL_EVERY;
use crate::run::requests::{LABELS, PATIENCE, remove_all};
use crate::{Answer, Owned, Pin, RecordError, Requests, ResultsRoot, RunDir, now};

/// Labels have at most 64 KiB of JSON before a change and after it.
const MAX_BYTES: u64 = 256 << 10;

/// Labels to set and to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelChange {
    pub set: BTreeMap<String, String>,
    /// Keys. A key that is also in `set` is set.
    pub remove: BTreeSet<String>,
}

impl LabelChange {
    fn apply(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.retain(|key, _| !self.remove.contains(key));
        labels.extend(self.set.clone());
        labels
    }
}

/// A change of labels as in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRequest {
    /// Random text, so that the request differs from a lost one.
    id: String,
    /// Token of the lock. Other holders ignore the request.
    token: String,
    change: LabelChange,
    by: Actor,
}

impl ResultsRoot {
    /// Changes labels of a run, and waits until they are on disk. A dead run gets its true status, too.
    ///
    /// Returns [`Answer::Labelled`], or [`Answer::NoAnswer`] if the process that holds the run did not respond. Then no label
    /// changes later.
    ///
    /// # Errors
    ///
    /// The labels are too long, or the run cannot be read or written.
    pub fn label(
        &self,
        run: &RunDir,
        change: &LabelChange,
        by: &Actor,
    ) -> Result<Answer, RecordError> {
        let mut sent = String::new();
        let answer = lock::retry_for(PATIENCE, POLL_EVERY, || {
            let holder = lock::holder(&run.dir);
            let mut manifest = run.manifest()?;
            let labels = change.apply(&manifest.labels);
            let mut change = change.clone();
            change.remove.retain(|key| manifest.labels.contains_key(key));
            if mem::replace(&mut manifest.labels, labels.clone()) == labels {
                return Ok(Some(Answer::Labelled));
            }
            manifest.check_texts().map_err(|problem| run.dir.refuse(MANIFEST, problem))?;
            match holder {
                None => return self.label_unheld(run, &change, by),
                Some(holder) if holder.is_suspended() => return Ok(Some(Answer::NoAnswer)),
                // The holder removes a request when it has read it.
                Some(holder) if run.dir.stat(LABELS)?.is_none() => {
                    sent = format!("{:016x}", random());
                    let id = sent.clone();
                    let by = by.clone();
                    let request = LabelRequest { id, token: holder.token, change, by };
                    let bytes = serde_json::to_vec(&request).unwrap_or_default();
                    let file = run.dir.unnamed_with(&bytes);
                    let placed = file.and_then(|file| run.dir.place(&file, LABELS));
                    placed.map_err(|error| run.vanished(error))?;
                }
                Some(_) => {}
            }
            Ok(None)
        });
        if read(&run.dir).is_some_and(|request| request.id == sent) {
            let _ = run.dir.remove(LABELS);
        }
        Ok(answer?.unwrap_or(Answer::NoAnswer))
    }

    /// Changes labels of a run that no process holds. `None` if another process has just taken it.
    fn label_unheld(
        &self,
        run: &RunDir,
        change: &LabelChange,
        by: &Actor,
    ) -> Result<Option<Answer>, RecordError> {
        let mut owned = match self.claim(run) {
            Err(RecordError::Held { .. }) => return Ok(None),
            claimed => claimed?,
        };
        // A dead owner has not removed its requests.
        remove_all(&run.dir);
        owned.lock.release_reserve();
        owned.set_labels(change, by)?;
        Ok(Some(Answer::Labelled))
    }
}

impl Requests {
    /// Returns the request to change labels. Removes a request for another holder, and a file that cannot be read.
    pub fn labels(&self) -> Option<LabelRequest> {
        if !matches!(self.dir.stat(LABELS), Ok(Some(_))) {
            return None;
        }
        let request = read(&self.dir).filter(|request| request.token == self.token);
        if request.is_none() {
            let _ = self.dir.remove(LABELS);
        }
        request
    }
}

impl Owned {
    /// Changes labels as requested, and removes the request.
    ///
    /// # Errors
    ///
    /// As of [`ResultsRoot::label`]. The labels stay as they were.
    pub fn label(&mut self, request: &LabelRequest) -> Result<(), RecordError> {
        let labelled = self.set_labels(&request.change, &request.by);
        let removed = self.run.dir.remove(LABELS);
        labelled.and(removed)
    }

    /// Pins a run against `prune`, or unpins it with `None`. Returns whether the manifest changed.
    pub fn pin(&mut self, by: Option<Actor>) -> Result<bool, RecordError> {
        let old = self.manifest.pinned.take();
        if old.as_ref().map(|old| &old.by) == by.as_ref() {
            self.manifest.pinned = old;
            return Ok(false);
        }
        self.log(if by.is_some() { "the run is pinned" } else { "the run is no longer pinned" });
        self.manifest.pinned = by.map(|by| Pin { at: now(), by });
        self.lock.release_reserve();
        self.replace_manifest()?;
        Ok(true)
    }

    fn set_labels(&mut self, change: &LabelChange, by: &Actor) -> Result<(), RecordError> {
        lock::check(&self.run.dir, &self.lock.stamp)?;
        let labels = change.apply(&self.manifest.labels);
        let before = mem::replace(&mut self.manifest.labels, labels);
        let checked = self.manifest.check_texts();
        let checked = checked.map_err(|problem| self.run.dir.refuse(MANIFEST, problem));
        if let Err(error) = checked.and_then(|()| self.replace_manifest()) {
            self.manifest.labels = before;
            return Err(error);
        }
        let set = change.set.iter().map(|(key, value)| format!("{key}={value}"));
        let removed = change.remove.iter().map(|key| format!("without {key}"));
        let changes: Vec<_> = set.chain(removed).collect();
        self.log(&format!("labelled by {} on {}: {}", by.user, by.host, changes.join(", ")));
        Ok(())
    }
}

fn read(dir: &Dir) -> Option<LabelRequest> {
    let bytes = dir.read_all(LABELS, MAX_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}
