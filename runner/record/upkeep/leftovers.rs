//! Directories in which a creation was interrupted, or from which a run was not deleted completely.

use std::{io, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::entries::{modified, names, size_of};
use crate::record::{
    disk::{
        layout::{Root, RunDir, RunId},
        lock::{self, Lock},
        stamp,
    },
    error::RecordError,
    store::deletion,
};

/// A directory without a manifest that is younger may still become a run.
const CREATION_AGE: SignedDuration = SignedDuration::from_hours(1);

/// Directories of creations that were aborted and of runs that were not deleted completely, and that belong to nobody.
pub(super) fn leftovers(root: &Root, now: Timestamp) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut leftovers = Vec::new();
    for name in names(root.path())? {
        let dir = root.run(&name);
        if is_leftover(&dir, now) {
            leftovers.push((dir.path().to_owned(), size_of(dir.path())));
        }
    }
    leftovers.sort();
    Ok(leftovers)
}

/// Tells whether a directory holds no run and belongs to nobody; what cannot be asked is left alone.
pub(in crate::record) fn is_leftover(dir: &RunDir, now: Timestamp) -> bool {
    is_abandoned(dir, now) && stamp::is_gone(dir) && !lock::is_held(&dir.lock())
}

/// Tells whether a directory is one that was deleted in part, or is called like a run and is too old for a creation.
pub(in crate::record) fn is_abandoned(dir: &RunDir, now: Timestamp) -> bool {
    let Ok(metadata) = fs_err::symlink_metadata(dir.path()) else {
        return false;
    };
    if !metadata.is_dir() {
        return false;
    }
    let name = dir.path().file_name().and_then(|name| name.to_str());
    let is_old = || modified(&metadata).is_ok_and(|at| now.duration_since(at) > CREATION_AGE);
    dir.is_being_deleted() || name.is_some_and(RunId::is_generated) && is_old()
}

/// Removes what an aborted creation left, unless it lives after all.
pub(super) fn remove_leftover(dir: &RunDir, now: Timestamp) -> Result<bool, RecordError> {
    if !is_leftover(dir, now) {
        return Ok(false);
    }
    let lock = match Lock::own(&dir.lock(), now) {
        Err(RecordError::Held { .. } | RecordError::Gone { .. }) => return Ok(false),
        lock => lock?,
    };
    // Meanwhile somebody may have begun something here.
    if !stamp::is_gone(dir) || !is_abandoned(dir, now) {
        return Ok(false);
    }
    deletion::remove_directory(dir, lock)
        .map_err(RecordError::io("remove what is left of a creation"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use crate::record::{
        PrunePolicy,
        testing::{NOW, finished_run},
        upkeep::testing::{ALL, entry, later, set_modified, store, used},
    };

    #[test]
    fn what_an_interrupted_creation_left_goes_and_nothing_of_anybody_else() {
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

        let dry = store(root)
            .prunable(&PrunePolicy::default(), later())
            .unwrap();
        let pruning = store(root).prune(&PrunePolicy::default(), later()).unwrap();
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
}
