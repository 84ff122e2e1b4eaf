//! Taking a directory in which nobody else creates a run.

use std::{io, path::Path, sync::Arc};

use jiff::Timestamp;

use super::recorder::Locks;
use crate::record::{
    disk::{
        durable,
        layout::{RunDir, RunId},
        lock::{self, Lock},
        modes,
        stamp::Stamp,
    },
    error::RecordError,
    failpoint,
    store::{deletion, root::Store},
};

/// A directory that nobody else creates a run in.
#[derive(Debug)]
pub struct ReservedDirectory {
    pub(super) id: RunId,
    pub(super) dir: RunDir,
    pub(super) locks: Locks,
}

impl Store {
    /// Takes a directory of the caller's choice for a run, which may be there if nothing is in it; `None` if a run is in it.
    /// The run's id is the directory's name, and its root the directory's parent.
    pub(crate) fn reserve(
        &self,
        dir: &Path,
        now: Timestamp,
    ) -> Result<Option<ReservedDirectory>, RecordError> {
        let dir = RunDir::real(dir);
        take(&dir, self.session_lock(&dir.root())?, now)
    }
}

/// Takes a directory that is missing, empty, or left over from a creation that was interrupted; `None` if a run is there.
fn take(
    dir: &RunDir,
    root_lock: Arc<Lock>,
    now: Timestamp,
) -> Result<Option<ReservedDirectory>, RecordError> {
    let id = dir.id().ok_or_else(|| RecordError::NoName {
        path: dir.path().to_owned(),
    })?;
    match modes::create_directory(dir.path(), false) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(RecordError::io("create a run directory")(error));
        }
        _ => {}
    }
    let is_being_deleted = !has_run(dir) && dir.is_being_deleted();
    if !is_being_deleted && let Err(error) = check_unused(dir) {
        if has_run(dir) {
            return Ok(None);
        }
        // Somebody may be beginning a run here.
        lock::refuse_held(&dir.lock())?;
        return if has_run(dir) { Ok(None) } else { Err(error) };
    }
    let run_lock = enter(dir, now)?;
    if !has_run(dir) && dir.is_being_deleted() {
        deletion::finish_deletion(dir).map_err(RecordError::io("delete a run"))?;
    }
    // Whoever had the lock before may have been faster.
    match check_unused(dir) {
        Err(_) if has_run(dir) => return Ok(None),
        unused => unused?,
    }
    Ok(Some(ReservedDirectory {
        id,
        dir: dir.clone(),
        locks: Locks::new(run_lock, root_lock),
    }))
}

fn has_run(dir: &RunDir) -> bool {
    Stamp::of(dir).is_ok_and(|stamp| stamp.is_some())
}

/// Takes the lock of a directory in which a run is to be created.
pub(super) fn enter(dir: &RunDir, now: Timestamp) -> Result<Lock, RecordError> {
    let failed = || RecordError::io("fill a run directory");
    pass("directory").map_err(failed())?;
    let lock = Lock::own(&dir.lock(), now)?;
    pass("lock").map_err(failed())?;
    Ok(lock)
}

/// Refuses a directory in which something is that no interrupted creation has left.
fn check_unused(dir: &RunDir) -> Result<(), RecordError> {
    let left_over = [dir.lock(), dir.scenario(), dir.index(), dir.inflight()];
    let entries = fs_err::read_dir(dir.path()).map_err(RecordError::io("read a run directory"))?;
    for entry in entries {
        let entry = entry.map_err(RecordError::io("read a run directory"))?;
        let name = entry.file_name();
        let is_temporary = name
            .as_encoded_bytes()
            .starts_with(durable::TEMPORARY.as_bytes());
        let has_rows = entry.path() == dir.index() && !is_empty(&dir.index());
        if has_rows || !is_temporary && !left_over.contains(&entry.path()) {
            return Err(RecordError::InUse {
                path: dir.path().to_owned(),
            });
        }
    }
    Ok(())
}

fn is_empty(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.len() == 0)
}

pub(super) fn pass(place: &str) -> io::Result<()> {
    failpoint::pass("birth", place)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use crate::{
        model::{Outcome, RunStatus},
        record::{
            RecordError, RunFilter, Store,
            testing::{end, entry, ignore, manifest, new_run, now},
        },
    };

    #[test]
    fn a_run_can_be_created_in_a_directory_of_ones_choice_if_nothing_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let dir = directory.path().join("mine");
        // What a creation that was interrupted leaves.
        fs_err::create_dir(&dir).unwrap();
        for name in ["lock", "index.jsonl", "scenario.toml"] {
            fs_err::write(dir.join(name), "").unwrap();
        }
        let place = store.reserve(&dir, now()).unwrap().unwrap();
        let held = store.reserve(&dir, now()).unwrap_err();
        assert!(held.to_string().contains("pid "), "{held}");
        let recorder = store.begin_in(place, new_run(1), ignore).unwrap();
        assert_eq!(recorder.run_id().as_str(), "mine");
        recorder.record(vec![entry(0, 1, Outcome::Passed)]);
        recorder.finish(&end(RunStatus::Completed, 1)).unwrap();
        assert_eq!(
            store.runs(&RunFilter::default()).unwrap().runs[0]
                .id
                .as_str(),
            "mine"
        );

        assert!(store.reserve(&dir, now()).unwrap().is_none());
        assert_eq!(manifest(&dir).status, RunStatus::Completed);
        let full = directory.path().join("full");
        fs_err::create_dir(&full).unwrap();
        fs_err::write(full.join("file"), "").unwrap();
        let error = store.reserve(&full, now()).unwrap_err();
        assert!(matches!(error, RecordError::InUse { .. }), "{error}");
        let unnamed = directory.path().join(OsStr::from_bytes(b"caf\xe9"));
        let error = store.reserve(&unnamed, now()).unwrap_err();
        assert!(matches!(error, RecordError::NoName { .. }), "{error}");
    }
}
