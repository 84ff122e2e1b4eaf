//! The only place that deletes runs, and what no run needs any more.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    policy::Policy,
    prune::{Amount, Pruning, Spared, StoreEntry, Survey, Surveyed, is_abandoned, is_leftover},
};
use crate::{
    model::Digest,
    record::{
        disk::{
            durable,
            layout::{self, RunDir, RunId},
            lock::Lock,
        },
        error::RecordError,
        format::manifest::Manifest,
        reading::run_entry::{self, Stamp},
        store::{
            database::{self, Database},
            root::Store,
        },
    },
};

/// Births wait for the content store's lock for a second at most, so it is kept for no more entries than this.
const BATCH: usize = 64;

impl Store {
    /// Deletes the runs that a policy names, what births left, and what no run needs of the content store.
    ///
    /// What cannot be deleted is reported in [`Pruning::failures`], and the rest goes on.
    pub fn prune(&self, policy: &Policy, now: Timestamp) -> Result<Pruning, RecordError> {
        let mut survey = Survey::of(self, now)?;
        let mut pruning = survey.choose(policy, now);
        self.remove_runs(&mut pruning, &mut survey, now);
        remove_leftovers(&mut pruning, now);
        self.remove_temporaries(&survey);

        let entries = self.remove_entries(&survey, now, &mut pruning.failures);
        pruning.entries = entries;
        pruning.left = survey.left(entries);
        pruning.unreadable = survey.unreadable;
        Ok(pruning)
    }

    /// Deletes runs; `pruning` and `survey` know afterwards which are gone.
    fn remove_runs(&self, pruning: &mut Pruning, survey: &mut Survey, now: Timestamp) {
        let surveyed: HashMap<&RunId, &Surveyed> =
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
                    if run_entry::is_gone(&dir) {
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
    fn remove_temporaries(&self, survey: &Survey) {
        durable::sweep(self.root.path());
        for run in &survey.runs {
            durable::sweep(&run.run.dir);
        }
    }

    /// Deletes entries of the content store that no run needs, a few at a time, while no birth is under way.
    fn remove_entries(
        &self,
        survey: &Survey,
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
        survey: &Survey,
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
    fn needed_since(&self, survey: &Survey) -> Result<HashSet<Digest>, RecordError> {
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
                Err(_) if run_entry::is_gone(&dir) => {}
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

/// Removes what is left of a birth that failed.
pub(in crate::record) fn remove_failed_birth(dir: &RunDir) -> io::Result<()> {
    fs_err::remove_dir_all(dir.path())
}

/// Removes the write-ahead log of a database whose file is to be replaced.
pub(in crate::record) fn remove_database_logs(database: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut log = database.as_os_str().to_owned();
        log.push(suffix);
        durable::remove(Path::new(&log))?;
    }
    Ok(())
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
        Err(RecordError::Held { .. }) if run_entry::is_gone(dir) => return Ok(Removal::Gone),
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
    remove_directory(dir, lock).map_err(failed())?;
    Ok(Removal::Done)
}

/// Removes a directory that holds no run.
///
/// Its lock goes only then, so that nobody takes another one meanwhile, and last what tells that all of it is to go.
fn remove_directory(dir: &RunDir, lock: Lock) -> io::Result<()> {
    remove_content(dir)?;
    durable::remove(&dir.lock())?;
    durable::remove(&dir.deleted())?;
    let removed = fs_err::remove_dir(dir.path());
    drop(lock);
    match removed {
        // Somebody begins a run in it.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what is in a directory that holds no run, but for its lock and what tells that it was deleted.
fn remove_content(dir: &RunDir) -> io::Result<()> {
    let kept = [dir.lock(), dir.deleted()];
    for entry in fs_err::read_dir(dir.path())? {
        let path = entry?.path();
        if kept.contains(&path) {
            continue;
        }
        if fs_err::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            fs_err::remove_dir_all(&path)?;
        } else {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Ends what somebody has begun who died while they deleted a run. The caller holds the lock, which stays.
pub(in crate::record) fn finish_deletion(dir: &RunDir) -> io::Result<()> {
    remove_content(dir)?;
    durable::remove(&dir.deleted())
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

/// Removes what an aborted birth left, unless it lives after all.
fn remove_leftover(dir: &RunDir, now: Timestamp) -> Result<bool, RecordError> {
    if !is_leftover(dir, now) {
        return Ok(false);
    }
    let lock = match Lock::own(&dir.lock(), now) {
        Err(RecordError::Held { .. } | RecordError::Gone { .. }) => return Ok(false),
        lock => lock?,
    };
    // Meanwhile somebody may have begun something here.
    if !run_entry::is_gone(dir) || !is_abandoned(dir, now) {
        return Ok(false);
    }
    remove_directory(dir, lock).map_err(RecordError::io("remove what is left of a birth"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        path::Path,
        time::{Duration, SystemTime},
    };

    use jiff::{SignedDuration, Timestamp};

    use crate::{
        model::{Digest, RunStatus},
        record::{
            Blob, BlobSource, Filter, Policy, Pruning, RecordError, Spared, Store,
            disk::layout,
            store::content::Content,
            testing::{NOW, birth, end, finished_run, ignore},
            upkeep::prune::Survey,
        },
    };

    const ALL: Policy = Policy {
        runs: BTreeSet::new(),
        statuses: Vec::new(),
        older_than: None,
        keep_last: Some(0),
        max_bytes: None,
    };

    /// Long after every run of these tests.
    fn later() -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(100)
    }

    fn store(root: &Path) -> Store {
        Store::open(root).unwrap()
    }

    fn entry(root: &Path, bytes: &[u8]) -> std::path::PathBuf {
        layout::content_entry(&root.join("store"), Digest::of(bytes))
    }

    fn set_modified(path: &Path, at: Timestamp) {
        let file = fs_err::File::open(path).unwrap();
        file.set_modified(SystemTime::from(at)).unwrap();
    }

    /// Sets every time in the content store.
    fn used(root: &Path, at: Timestamp) {
        for bytes in [b"plugin".as_slice(), b"suite"] {
            set_modified(&entry(root, bytes), at);
        }
    }

    fn names(root: &Path) -> Vec<String> {
        let list = store(root).runs(&Filter::default()).unwrap();
        list.runs.iter().map(|run| run.id.to_string()).collect()
    }

    fn going(pruning: &Pruning) -> Vec<String> {
        let ids = pruning.runs.iter().map(|pruned| pruned.run.id.to_string());
        ids.collect()
    }

    #[test]
    fn runs_go_with_what_only_they_needed_and_the_database_follows() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for _ in 0..3 {
            finished_run(root);
        }
        let all = names(root);
        used(root, NOW.parse().unwrap());

        let policy = Policy {
            keep_last: Some(1),
            ..Policy::default()
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
        let crashed = store(root).begin(birth(1), ignore).unwrap();
        drop(crashed);
        let live = store(root).begin(birth(1), ignore).unwrap();
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
    fn entries_that_were_used_lately_stay() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let now = later();
        let prune = || store(root).prune(&ALL, now).unwrap();
        used(root, now - SignedDuration::from_hours(23));
        let pruning = prune();
        assert_eq!((pruning.runs.len(), pruning.entries.count), (1, 0));
        used(root, now - SignedDuration::from_hours(25));
        assert_eq!(prune().entries.count, 2);
    }

    #[test]
    fn what_an_interrupted_birth_left_goes_and_nothing_of_anybody_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        used(root, NOW.parse().unwrap());
        let shelf = entry(root, b"plugin").parent().unwrap().to_owned();
        for (file, hours) in [(".new-old", 25), (".new-young", 0), ("notes.txt", 25)] {
            fs_err::write(shelf.join(file), "").unwrap();
            let at = later() - SignedDuration::from_hours(hours);
            set_modified(&shelf.join(file), at);
        }
        let old = "2026-11-20_04-39-12-123-00000001";
        let young = "2026-11-20_04-39-12-123-00000002";
        let live = "2026-11-20_04-39-12-123-00000003";
        for name in [old, young, live, "my-notes"] {
            fs_err::create_dir(root.join(name)).unwrap();
            fs_err::write(root.join(name).join("lock"), "").unwrap();
            let minutes = if name == young { 59 } else { 61 };
            set_modified(
                &root.join(name),
                later() - SignedDuration::from_mins(minutes),
            );
        }
        let lock = fs_err::File::open(root.join(live).join("lock")).unwrap();
        lock.try_lock().unwrap();

        let dry = store(root).prunable(&Policy::default(), later()).unwrap();
        let pruning = store(root).prune(&Policy::default(), later()).unwrap();
        assert_eq!(pruning.leftovers, [(root.join(old), 0)]);
        assert_eq!(dry.leftovers, pruning.leftovers);
        assert_eq!(pruning.entries.count, 1);
        for stays in [
            root.join(young),
            root.join(live),
            root.join("my-notes"),
            shelf.join(".new-young"),
            shelf.join("notes.txt"),
        ] {
            assert!(stays.exists(), "{}", stays.display());
        }
        assert!(!root.join(old).exists());
        assert!(!shelf.join(".new-old").exists());
    }

    #[test]
    fn while_a_birth_is_under_way_no_entry_goes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        used(root, NOW.parse().unwrap());
        let birth = Content::open(root.join("store")).unwrap();

        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!(pruning.runs.len(), 1);
        let [(_, RecordError::Held { .. })] = &pruning.failures[..] else {
            panic!("{:?}", pruning.failures);
        };
        assert!(entry(root, b"plugin").exists());
        drop(birth);
        assert_eq!(store(root).prune(&ALL, later()).unwrap().entries.count, 2);
    }

    #[test]
    fn what_a_birth_used_since_the_survey_stays() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs_err::remove_dir_all(finished_run(root).run_dir).unwrap();
        used(root, NOW.parse().unwrap());
        let survey = Survey::of(&store(root), later()).unwrap();
        assert_eq!(survey.unused(later()).len(), 2);

        // One entry is touched; a run that needs the other is born, by another user who cannot touch it.
        let blob = Blob {
            digest: Digest::of(b"plugin"),
            source: BlobSource::Bytes(b"plugin".as_slice().into()),
        };
        let content = Content::open(root.join("store")).unwrap();
        content.add(&blob, SystemTime::from(later())).unwrap();
        drop(content);
        let mut other = birth(1);
        other.blobs.retain(|blob| blob.digest == other.suite);
        let recorder = store(root).begin(other, ignore).unwrap();
        set_modified(&entry(root, b"suite"), NOW.parse().unwrap());

        let mut failures = Vec::new();
        let removed = store(root).remove_entries(&survey, later(), &mut failures);
        assert_eq!((removed.count, failures.len()), (0, 0));
        assert!(entry(root, b"plugin").exists() && entry(root, b"suite").exists());
        drop(recorder);
    }

    #[test]
    fn while_a_run_cannot_be_read_the_content_store_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let unreadable = finished_run(root).run_dir;
        fs_err::write(unreadable.join("benchmark.json"), "{").unwrap();
        used(root, NOW.parse().unwrap());

        let pruning = store(root).prune(&ALL, later()).unwrap();
        assert_eq!((pruning.runs.len(), pruning.entries.count), (1, 0));
        assert_eq!(pruning.unreadable[0].0, unreadable);
        assert!(unreadable.join("scenario.toml").exists());
    }

    #[test]
    fn a_run_that_was_deleted_in_part_is_deleted_by_the_next_prune_or_makes_room_however_it_is_called()
     {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let chosen = root.join("chosen");
        // As it is after the death of whoever deletes it, anywhere on the way.
        let die = |is_locked: bool| {
            fs_err::rename(finished_run(root).run_dir, &chosen).unwrap();
            fs_err::create_dir_all(chosen.join("artifacts/0/1-1")).unwrap();
            fs_err::rename(chosen.join("benchmark.json"), chosen.join("deleted.json")).unwrap();
            if !is_locked {
                fs_err::remove_file(chosen.join("lock")).unwrap();
            }
        };
        let now = Timestamp::now();
        for is_locked in [true, false] {
            die(is_locked);
            assert_eq!(store(root).prunable(&ALL, now).unwrap().leftovers.len(), 1);
            assert_eq!(store(root).prune(&ALL, now).unwrap().leftovers.len(), 1);
            assert!(!chosen.exists());

            die(is_locked);
            let place = store(root).reserve(&chosen, now).unwrap().unwrap();
            // Whoever begins there is in nobody's way, and nobody in theirs.
            assert_eq!(store(root).prune(&ALL, now).unwrap().leftovers.len(), 0);
            let left: Vec<_> = chosen.read_dir().unwrap().flatten().collect();
            assert_eq!(left.len(), 1, "{left:?}");
            assert!(chosen.join("lock").exists());
            drop(place);
            fs_err::remove_dir_all(&chosen).unwrap();
        }

        // What is no run of ours stays.
        fs_err::create_dir(&chosen).unwrap();
        fs_err::write(chosen.join("lock"), "").unwrap();
        assert_eq!(store(root).prune(&ALL, later()).unwrap().leftovers.len(), 0);
        assert!(chosen.join("lock").exists());
    }

    #[test]
    fn an_age_is_counted_from_the_end_of_a_run() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        finished_run(root);
        let ended = end(RunStatus::Completed, 1).now;
        let policy = Policy {
            older_than: Some(Duration::from_secs(60)),
            ..Policy::default()
        };
        let prunable = |seconds| {
            let now = ended + SignedDuration::from_secs(seconds);
            store(root).prunable(&policy, now).unwrap().runs.len()
        };
        assert_eq!((prunable(59), prunable(61)), (0, 1));
    }
}
