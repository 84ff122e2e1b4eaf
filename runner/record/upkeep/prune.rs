//! [`Pruning`]: what `prune` finds in a results root, and what is to go. Nothing here writes; `retention` deletes.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
};

use jiff::Timestamp;

use super::{
    entries::{StoreEntry, size_of, store_entries},
    leftovers::leftovers,
    policy::{Candidate, PrunePolicy, Why},
};
use crate::{
    model::{Digest, RunStatus},
    record::{
        disk::{
            layout::{RunDir, RunId},
            lock,
            stamp::{self, Stamp},
        },
        error::RecordError,
        reading::run_entry::RunEntry,
        store::{root::Store, scan::FoundRun},
    },
};

/// What goes, or has gone.
#[derive(Debug, Default)]
pub struct Pruning {
    /// The runs that go, newest first.
    pub runs: Vec<PrunedRun>,
    /// Runs that the policy names and that stay all the same.
    pub spared: Vec<(RunEntry, Spared)>,
    /// Directories in which a creation was aborted, or from which a run was not deleted completely.
    pub leftovers: Vec<(PathBuf, u64)>,
    /// Entries of the content store that no run needs any more.
    pub entries: Amount,
    /// What is left: runs, and their bytes with all of the content store.
    pub left: Amount,
    /// Directories that hold a run which cannot be read, and why. While there is one, the content store is left alone.
    pub unreadable: Vec<(PathBuf, RecordError)>,
    /// What could not be deleted, and why.
    pub failures: Vec<(PathBuf, RecordError)>,
}

/// A run that goes.
#[derive(Debug)]
pub struct PrunedRun {
    /// The run.
    pub run: RunEntry,
    /// How large its directory is.
    pub bytes: u64,
    /// Why it goes.
    pub why: Vec<Why>,
}

/// Why a run stays although the policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    /// It is running.
    Running,
    /// Its owner is gone, and nobody has swept it yet.
    NotYetSwept,
    /// Somebody pinned it.
    Pinned,
    /// Somebody holds its lock, or has changed it meanwhile.
    InUse,
    /// A newer runner has written it.
    Newer,
    /// Its directory is somewhere else, and here is only a symbolic link.
    Link,
}

/// So many things, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How large they are together.
    pub bytes: u64,
}

impl Store {
    /// Says what [`Store::prune`] would delete; writes nothing.
    pub(crate) fn prunable(
        &self,
        policy: &PrunePolicy,
        now: Timestamp,
    ) -> Result<Pruning, RecordError> {
        let mut survey = RootSurvey::of(self, now)?;
        let mut pruning = survey.choose(policy, now);
        survey.forget(&pruning);
        for entry in survey.unused(now) {
            pruning.entries.add(entry.bytes());
        }
        pruning.left = survey.left(pruning.entries);
        pruning.unreadable = survey.unreadable;
        Ok(pruning)
    }
}

/// Everything in a results root that may be deleted, at one moment.
pub(in crate::record) struct RootSurvey {
    /// Newest first.
    pub(in crate::record) runs: Vec<SurveyedRun>,
    pub(in crate::record) leftovers: Vec<(PathBuf, u64)>,
    pub(in crate::record) entries: Vec<StoreEntry>,
    pub(in crate::record) unreadable: Vec<(PathBuf, RecordError)>,
    /// Whether a newer runner has written some of the runs: then nobody here knows all that they need.
    has_newer: bool,
}

/// A run and what decides about it.
pub(in crate::record) struct SurveyedRun {
    pub(in crate::record) run: RunEntry,
    pub(in crate::record) stamp: Stamp,
    spared: Option<Spared>,
    bytes: u64,
    content: BTreeSet<Digest>,
}

impl RootSurvey {
    pub(in crate::record) fn of(store: &Store, now: Timestamp) -> Result<Self, RecordError> {
        // Before the manifests: an entry that is new by then is not here.
        let entries = store_entries(&store.root.content())
            .map_err(RecordError::io("read the content store"))?;
        let found = store.manifests()?;
        let mut survey = Self {
            runs: Vec::with_capacity(found.manifests.len()),
            leftovers: leftovers(&store.root, now)
                .map_err(RecordError::io("read the results root"))?,
            entries,
            unreadable: found.unreadable,
            has_newer: found.manifests.iter().any(|run| run.manifest.is_newer()),
        };
        for found in found.manifests {
            let dir = found.dir.path().to_owned();
            match SurveyedRun::new(&found) {
                Ok(run) => survey.runs.push(run),
                Err(_) if stamp::is_gone(&RunDir::new(&dir)) => {}
                Err(error) => survey.unreadable.push((dir, error)),
            }
        }
        survey
            .runs
            .sort_unstable_by(|one, other| RunEntry::newest_first(&one.run, &other.run));
        Ok(survey)
    }

    /// Asks the policy about every run.
    pub(in crate::record) fn choose(&self, policy: &PrunePolicy, now: Timestamp) -> Pruning {
        let candidates: Vec<Candidate> = self.runs.iter().map(SurveyedRun::candidate).collect();
        let reasons = policy.reasons(&candidates, &self.sizes(), now);

        let mut pruning = Pruning {
            leftovers: self.leftovers.clone(),
            ..Pruning::default()
        };
        for (surveyed, why) in self.runs.iter().zip(reasons) {
            let run = surveyed.run.clone();
            match surveyed.spared {
                _ if why.is_empty() => {}
                Some(spared) => pruning.spared.push((run, spared)),
                None => pruning.runs.push(PrunedRun {
                    run,
                    bytes: surveyed.bytes,
                    why,
                }),
            }
        }
        pruning
    }

    /// Takes the runs that go as gone.
    fn forget(&mut self, pruning: &Pruning) {
        let gone: HashSet<&RunId> = pruning.runs.iter().map(|pruned| &pruned.run.id).collect();
        self.runs.retain(|run| !gone.contains(&run.run.id));
    }

    /// The entries of the content store that no run needs and nobody has used for long.
    pub(in crate::record) fn unused(&self, now: Timestamp) -> Vec<&StoreEntry> {
        if !self.unreadable.is_empty() || self.has_newer {
            return Vec::new();
        }
        let needed: HashSet<Digest> = self
            .runs
            .iter()
            .flat_map(|run| &run.content)
            .copied()
            .collect();
        let is_needed =
            |entry: &&StoreEntry| entry.digest.is_some_and(|digest| needed.contains(&digest));
        self.entries
            .iter()
            .filter(|entry| !is_needed(entry) && entry.is_unused(now))
            .collect()
    }

    pub(in crate::record) fn left(&self, gone: Amount) -> Amount {
        let runs: u64 = self.runs.iter().map(|run| run.bytes).sum();
        let entries: u64 = self.entries.iter().map(|entry| entry.bytes()).sum();
        Amount {
            count: self.runs.len() as u64,
            bytes: runs + entries.saturating_sub(gone.bytes),
        }
    }

    fn sizes(&self) -> HashMap<Digest, u64> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry.digest?, entry.bytes())))
            .collect()
    }
}

impl SurveyedRun {
    fn new(found: &FoundRun) -> Result<Self, RecordError> {
        let mut run = RunEntry::of(&found.dir, &found.manifest);
        run.ask_lock()?;
        Ok(Self {
            spared: match found.manifest.is_newer() {
                true => Some(Spared::Newer),
                false => spared(&run, &found.dir)?,
            },
            bytes: size_of(found.dir.path()),
            content: found.manifest.kept(),
            stamp: found.stamp,
            run,
        })
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            id: self.run.id.clone(),
            status: self.run.status,
            ended: self.run.completed_at.unwrap_or(self.run.created_at),
            is_spared: self.spared.is_some(),
            bytes: self.bytes,
            content: self.content.clone(),
        }
    }
}

impl Amount {
    pub(in crate::record) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl Spared {
    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::NotYetSwept => "not yet swept",
            Self::Pinned => "pinned",
            Self::InUse => "in use",
            Self::Newer => "a newer runner's",
            Self::Link => "a symbolic link",
        }
    }
}

/// Says why a run must stay, whatever a policy says.
fn spared(run: &RunEntry, dir: &RunDir) -> Result<Option<Spared>, RecordError> {
    let metadata =
        fs_err::symlink_metadata(dir.path()).map_err(RecordError::io("look at a run directory"))?;
    Ok(if !metadata.is_dir() {
        Some(Spared::Link)
    } else if run.is_not_yet_swept {
        Some(Spared::NotYetSwept)
    } else if run.status == RunStatus::Running {
        Some(Spared::Running)
    } else if run.pinned.is_some() {
        Some(Spared::Pinned)
    } else if lock::is_held(&dir.lock()) {
        Some(Spared::InUse)
    } else {
        None
    })
}
