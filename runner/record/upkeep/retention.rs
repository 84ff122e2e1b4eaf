//! The only place that deletes runs, and what no run needs any more.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    path::PathBuf,
};

use jiff::Timestamp;

use super::{
    entries::StoreEntry,
    leftovers::remove_leftover,
    policy::PrunePolicy,
    prune::{Amount, Pruning, RootSurvey, Spared, SurveyedRun},
};
use crate::{
    model::Digest,
    record::{
        disk::{
            durable,
            layout::{self, RunDir, RunId},
            lock::Lock,
            stamp::{self, Stamp},
        },
        error::RecordError,
        format::manifest::Manifest,
        store::{
            database::{self, Database},
            deletion,
            root::Store,
        },
    },
};

/// Whoever creates a run waits for the content store's lock for a second at most, so it is kept for no more entries than this.
const BATCH: usize = 64;

impl Store {
    /// Deletes the runs that a policy names, what aborted creations left, and what no run needs of the content store.
    ///
    /// What cannot be deleted is reported in [`Pruning::failures`], and the rest goes on.
    pub(crate) fn prune(
        &self,
        policy: &PrunePolicy,
        now: Timestamp,
    ) -> Result<Pruning, RecordError> {
        let mut survey = RootSurvey::of(self, now)?;
        let mut pruning = survey.choose(policy, now);
        self.remove_runs(&mut pruning, &mut survey, now);
        remove_leftovers(&mut pruning, now);
        self.remove_temporaries(&survey, now);

        let entries = self.remove_entries(&survey, now, &mut pruning.failures);
        pruning.entries = entries;
        pruning.left = survey.left(entries);
        pruning.unreadable = survey.unreadable;
        Ok(pruning)
    }

    /// Deletes runs; `pruning` and `survey` know afterwards which are gone.
    fn remove_runs(&self, pruning: &mut Pruning, survey: &mut RootSurvey, now: Timestamp) {
        let surveyed: HashMap<&RunId, &SurveyedRun> =
            survey.runs.iter().map(|run| (&run.run.id, run)).collect();
        let mut gone = HashSet::new();
        for pruned in mem::take(&mut pruning.runs) {
            let dir = RunDir::new(&pruned.run.dir);
            match remove_run(&dir, surveyed[&pruned.run.id].stamp, now) {
                Ok(Removal::Done) => {
                    gone.insert(pruned.run.id.clone());
                    pruning.runs.push(pruned);
                }
                Ok(Removal::Gone) => {
                    gone.insert(pruned.run.id);
                }
                Ok(Removal::Spared(spared)) => pruning.spared.push((pruned.run, spared)),
                Err(error) => {
                    if stamp::is_gone(&dir) {
                        gone.insert(pruned.run.id);
                    }
                    pruning.failures.push((pruned.run.dir, error));
                }
            }
        }

        survey.runs.retain(|run| !gone.contains(&run.run.id));
        if !gone.is_empty() {
            self.forget(&gone.into_iter().collect::<Vec<_>>());
        }
    }

    /// Removes what processes have left that died while they wrote a file; what is in the content store goes by its age.
    fn remove_temporaries(&self, survey: &RootSurvey, now: Timestamp) {
        durable::sweep(self.root.path());
        self.sweep_groups(now);
        for run in &survey.runs {
            durable::sweep(&run.run.dir);
        }
    }

    /// Deletes entries of the content store that no run needs, a few at a time, while no run is being created.
    fn remove_entries(
        &self,
        survey: &RootSurvey,
        now: Timestamp,
        failures: &mut Vec<(PathBuf, RecordError)>,
    ) -> Amount {
        let mut removed = Amount::default();
        let store = self.root.content();
        for batch in survey.unused(now).chunks(BATCH) {
            if let Err(error) = self.remove_batch(batch, survey, now, &mut removed) {
                failures.push((store, error));
                break;
            }
        }
        removed
    }

    fn remove_batch(
        &self,
        batch: &[&StoreEntry],
        survey: &RootSurvey,
        now: Timestamp,
        removed: &mut Amount,
    ) -> Result<(), RecordError> {
        let _lock = Lock::own(&layout::content_lock(&self.root.content()), now)?;
        let needed = self.needed_since(survey)?;
        for entry in batch {
            let is_needed = entry.digest.is_some_and(|digest| needed.contains(&digest));
            let failed = || RecordError::io("delete an entry of the content store");
            match entry.is_still_unused(now) {
                Ok(true) if !is_needed => {
                    durable::remove(&entry.path).map_err(failed())?;
                    removed.add(entry.bytes());
                }
                Ok(_) => {}
                // Another process prunes as well.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        Ok(())
    }

    /// What runs need that are new or changed since the survey.
    fn needed_since(&self, survey: &RootSurvey) -> Result<HashSet<Digest>, RecordError> {
        let known: HashMap<&str, Stamp> = survey
            .runs
            .iter()
            .map(|run| (run.run.id.as_str(), run.stamp))
            .collect();
        let mut needed = HashSet::new();
        for (name, stamp) in self.stamps()?.found {
            let dir = self.root.run(&name);
            if known.get(name.as_str()) == Some(&stamp) {
                continue;
            }
            match Manifest::read(&dir.manifest()) {
                Ok(manifest) => needed.extend(manifest.kept()),
                Err(_) if stamp::is_gone(&dir) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(needed)
    }

    /// Lets `runner.db` follow.
    fn forget(&self, gone: &[RunId]) {
        let forgotten = Database::open(&self.root.database())
            .and_then(|mut database| database.project(&[], gone).map(drop));
        if let Err(error) = forgotten {
            database::warn(&error);
        }
    }
}

/// What became of a run that was to be deleted.
enum Removal {
    Done,
    /// Somebody else has deleted it.
    Gone,
    Spared(Spared),
}

/// Deletes a run, unless it is no longer what it was.
fn remove_run(dir: &RunDir, stamp: Stamp, now: Timestamp) -> Result<Removal, RecordError> {
    let failed = || RecordError::io("delete a run");
    let lock = match Lock::own_run(dir, now) {
        Err(RecordError::Gone { .. }) => return Ok(Removal::Gone),
        Err(RecordError::Held { .. }) if stamp::is_gone(dir) => return Ok(Removal::Gone),
        Err(RecordError::Held { .. }) => return Ok(Removal::Spared(Spared::InUse)),
        lock => lock?,
    };
    let is_here = fs_err::symlink_metadata(dir.path()).is_ok_and(|metadata| metadata.is_dir());
    match Stamp::of(dir).map_err(failed())? {
        None => return Ok(Removal::Gone),
        found if !is_here || found != Some(stamp) => return Ok(Removal::Spared(Spared::InUse)),
        Some(_) => {}
    }

    // First what makes it a run: cut short, this leaves something that says what it is, and no half run.
    fs_err::rename(dir.manifest(), dir.deleted()).map_err(failed())?;
    deletion::remove_directory(dir, lock).map_err(failed())?;
    Ok(Removal::Done)
}

fn remove_leftovers(pruning: &mut Pruning, now: Timestamp) {
    for (path, bytes) in mem::take(&mut pruning.leftovers) {
        match remove_leftover(&RunDir::new(&path), now) {
            Ok(true) => pruning.leftovers.push((path, bytes)),
            Ok(false) => {}
            Err(error) => pruning.failures.push((path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use jiff::SignedDuration;

    use crate::{
        model::{Digest, RunStatus},
        record::{
            Blob, BlobSource, PrunePolicy, Spared,
            store::content::ContentStore,
            testing::{NOW, end, finished_run, ignore, new_run},
            upkeep::{
                prune::RootSurvey,
                testing::{ALL, entry, going, later, names, set_modified, store, used},
            },
        },
    };

    #[test]
    fn runs_go_with_what_only_they_needed_and_the_database_follows() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for _ in 0..3 {
            finished_run(root);
        }
        let all = names(root);
        used(root, NOW.parse().unwrap());

        let policy = PrunePolicy {
            keep_last: Some(1),
            ..PrunePolicy::default()
        };
        let dry = store(root).prunable(&policy, later()).unwrap();
        assert_eq!(names(root), all);
        let pruning = store(root).prune(&policy, later()).unwrap();
        assert_eq!(going(&pruning), all[1..]);
        assert_eq!(going(&dry), all[1..]);
        assert_eq!(pruning.left, dry.left);
        assert_eq!(names(root), all[..1]);
        assert!(entry(root, b"plugin").exists());

        let dry = store(root).prunable(&ALL, later()).unwrap();
        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!((pruning.entries.count, pruning.entries.bytes), (2, 11));
        assert_eq!(dry.entries, pruning.entries);
        assert_eq!((pruning.left.count, pruning.left.bytes), (0, 0));
        assert!(!entry(root, b"plugin").exists());

        let connection = rusqlite::Connection::open(root.join("runner.db")).unwrap();
        let count: i64 = connection
            .query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 0);
    }

    #[test]
    fn live_unswept_pinned_and_linked_runs_stay_with_what_they_need() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let root = directory.path();
        let linked = finished_run(elsewhere.path());
        std::os::unix::fs::symlink(&linked.run_dir, root.join("linked")).unwrap();
        finished_run(root);
        let pinned = store(root).find("2026").unwrap();
        pinned.pin(None, NOW.parse().unwrap()).unwrap();
        let crashed = store(root).begin(new_run(1), ignore).unwrap();
        drop(crashed);
        let live = store(root).begin(new_run(1), ignore).unwrap();
        used(root, NOW.parse().unwrap());

        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!(going(&pruning), [""; 0]);
        let mut spared: Vec<_> = pruning.spared.iter().map(|(_, why)| why.as_str()).collect();
        spared.sort_unstable();
        assert_eq!(
            spared,
            ["a symbolic link", "not yet swept", "pinned", "running"]
        );
        assert_eq!(pruning.entries.count, 0);
        assert!(linked.run_dir.join("benchmark.json").exists());

        live.finish(&end(RunStatus::Completed, 1)).unwrap();
        pinned.unpin(NOW.parse().unwrap()).unwrap();
        assert_eq!(store(root).prune(&ALL, later()).unwrap().runs.len(), 2);
    }

    #[test]
    fn a_run_whose_lock_is_held_stays_whatever_its_manifest_says() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let run = finished_run(root);
        let lock = fs_err::File::open(run.run_dir.join("lock")).unwrap();
        lock.try_lock().unwrap();
        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!(pruning.spared[0].1, Spared::InUse);
        assert_eq!(names(root).len(), 1);
    }

    #[test]
    fn an_age_is_counted_from_the_end_of_a_run() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let ended = end(RunStatus::Completed, 1).now;
        let policy = PrunePolicy {
            older_than: Some(Duration::from_secs(60)),
            ..PrunePolicy::default()
        };
        let prunable = |seconds| {
            let now = ended + SignedDuration::from_secs(seconds);
            store(root).prunable(&policy, now).unwrap().runs.len()
        };
        assert_eq!((prunable(59), prunable(61)), (0, 1));
    }

    #[test]
    fn what_a_new_run_used_since_the_survey_stays() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs_err::remove_dir_all(finished_run(root).run_dir).unwrap();
        used(root, NOW.parse().unwrap());
        let survey = RootSurvey::of(&store(root), later()).unwrap();
        assert_eq!(survey.unused(later()).len(), 2);

        // One entry is touched; a run that needs the other is created, by another user who cannot touch it.
        let blob = Blob {
            digest: Digest::of(b"plugin"),
            source: BlobSource::Bytes(b"plugin".as_slice().into()),
        };
        let mut content = ContentStore::open(root.join("store")).unwrap();
        content.add(&blob, SystemTime::from(later())).unwrap();
        drop(content);
        let mut other = new_run(1);
        other.blobs.retain(|blob| blob.digest == other.suite);
        let recorder = store(root).begin(other, ignore).unwrap();
        set_modified(&entry(root, b"suite"), NOW.parse().unwrap());

        let mut failures = Vec::new();
        let removed = store(root).remove_entries(&survey, later(), &mut failures);
        assert_eq!((removed.count, failures.len()), (0, 0));
        assert!(entry(root, b"plugin").exists() && entry(root, b"suite").exists());
        drop(recorder);
    }
}
