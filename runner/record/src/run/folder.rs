//! Folders of new runs. Their names are the ids of the runs: unique ones, or names that users chose.

use std::io::ErrorKind;

use runner_model::Time;

use crate::disk::beneath::{Dir, random};
use crate::disk::layout::{LOG, LOGS, MANIFEST, ROWS, SCENARIO, is_run_name};
use crate::disk::lock::{LOCK, Lock};
use crate::disk::owner;
use crate::disk::permissions::of_own_folder;
use crate::run::run_dir::Check;
use crate::{Holder, RecordError, ResultsRoot, RunDir};

/// Bytes of the scenario's name in the name of a folder.
const MAX_NAME: usize = 64;
/// Files of a run that is being created, and the prefix of temporary files.
const CREATED_FILES: [&str; 5] = [ROWS, LOGS, LOG, SCENARIO, MANIFEST];
const UNFINISHED: &str = ".new-";

impl ResultsRoot {
    /// Returns the run in folder `name`. `None` if [`Self::create`] can create a run there.
    ///
    /// # Errors
    ///
    /// No run can have this name, another process has the folder, or it has other contents.
    pub fn run_in(&self, name: &str) -> Result<Option<RunDir>, RecordError> {
        let root = self.own_dir()?;
        let refuse = || root.refuse(name, "not a valid name for a run; choose another");
        if !is_run_name(name) {
            return Err(refuse());
        }
        let found = RunDir::open(root, name)?;
        // Commands would take the name for a flag.
        if found.is_none() && name.starts_with('-') {
            return Err(refuse());
        }
        if found.is_none() && root.stat(name)?.is_some() {
            return check_free(root, &root.dir(name)?, name);
        }
        Ok(found)
    }
}

/// Creates the folder `name` for a new run. Takes over an empty folder, and a folder that a dead process left while it
/// created a run. Also returns whether there was a folder.
pub(crate) fn create(root: &Dir, name: &str) -> Result<(Dir, Lock, bool), RecordError> {
    let (dir, had_folder) = match root.create_dir(name, of_own_folder()) {
        Err(error) if error.kind() == Some(ErrorKind::AlreadyExists) => (root.dir(name)?, true),
        made => (made?, false),
    };
    let owner =
        owner::other_user(&dir, dir.path()).map_err(|source| dir.error("examine", ".", source))?;
    if let (Some(problem), false) = (owner, owner::is_trusted(root)) {
        return Err(dir.refuse(".", format!("it {problem}; choose another folder")));
    }
    if check_free(root, &dir, name)?.is_some() {
        return Err(RecordError::held(name, dir.path(), Holder::default()));
    }
    let lock = Lock::take(&dir, name).inspect_err(|_| {
        if !had_folder {
            drop(root.remove_folder(name));
        }
    })?;
    // Another process may have created a run here and ended.
    if RunDir::open(root, name)?.is_some() {
        return Err(RecordError::held(name, dir.path(), Holder::default()));
    }
    // Another process may have written here before the lock was taken.
    check_unused(&dir)?;
    dir.clear(&[LOCK])?;
    Ok((dir, lock, had_folder))
}

/// Checks a folder that this process has not locked, and writes nothing into it. A process that creates a run there at the same
/// time has the lock, so a problem counts only if no process does. Returns the run that was created meanwhile.
fn check_free(root: &Dir, dir: &Dir, name: &str) -> Result<Option<RunDir>, RecordError> {
    if check_unused(dir).is_ok() {
        return Ok(None);
    }
    let folder =
        RunDir { root: root.clone(), dir: dir.clone(), id: name.into(), check: Check::Nothing };
    let _idle = folder.keep_idle()?;
    if dir.stat(MANIFEST)?.is_some_and(|manifest| manifest.length > 0) {
        return Ok(Some(folder));
    }
    check_unused(dir).map(|()| None)
}

/// Fails if the folder has contents that an interrupted creation of a run does not leave.
fn check_unused(dir: &Dir) -> Result<(), RecordError> {
    // A manifest is on disk before the first row.
    if dir.stat(ROWS)?.is_some_and(|rows| rows.length > 0) {
        let problem = format!(
            "it is missing or empty, and {ROWS} has results: restore it, or choose another folder"
        );
        return Err(dir.refuse(MANIFEST, problem));
    }
    let names = dir.names()?;
    let mut others = names.iter().filter(|name| {
        *name != LOCK && !name.starts_with(UNFINISHED) && !CREATED_FILES.contains(&&***name)
    });
    match others.next() {
        Some(other) => Err(dir.refuse(
            ".",
            format!("it holds `{other}`, which is not part of a run; choose another folder"),
        )),
        None => Ok(()),
    }
}

/// Returns a new id of a run or group: `<UTC>-<name>-<8 hex digits>`.
pub fn new_id(name: &str, now: Time) -> String {
    let time = now.to_string().replace('T', "_").replace([':', '.'], "-");
    let time = time.trim_end_matches('Z');
    format!("{time}-{}-{:08x}", plain(name), random() as u32)
}

/// Returns a name as it is in an id.
pub(crate) fn plain(name: &str) -> String {
    let plain = name
        .replace(|letter: char| !(letter.is_ascii_alphanumeric() || "._-".contains(letter)), "-");
    plain.chars().take(MAX_NAME).collect()
}

/// Returns the time and the name in an id of [`new_id`]. `None` if the user chose the id.
pub(crate) fn parse_id(id: &str) -> Option<(Time, &str)> {
    let (rest, end) = id.rsplit_once('-')?;
    let (day, rest) = rest.split_once('_')?;
    let mut parts = rest.splitn(5, '-');
    let mut time = day.to_owned();
    for mark in ["T", ":", ":", "."] {
        time = time + mark + parts.next()?;
    }
    let time = Time::parse(&(time + "Z"))?;
    let is_random = end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_random.then_some((time, parts.next()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::disk::lock::Lock;
    use crate::tests::{folder, new_run};
    use crate::{RecordError, ResultsRoot};

    #[test]
    fn only_unfinished_runs_are_taken_over() {
        let folder = folder();
        let root = ResultsRoot::open(folder.path()).unwrap();
        let create = |name: &str| {
            let mut new = new_run(1);
            new.id = name.to_owned();
            root.create(new)
        };
        for name in ["new", "empty", "left"] {
            if name != "new" {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            if name == "left" {
                for left in ["lock", "runner.log", ".new-benchmark.json"] {
                    fs::write(folder.path().join(name).join(left), "left").unwrap();
                }
                for empty in ["index.jsonl", "benchmark.json"] {
                    fs::write(folder.path().join(name).join(empty), "").unwrap();
                }
            }
            assert!(root.run_in(name).unwrap().is_none());
            let owned = create(name).unwrap();
            assert_eq!(owned.dir().id(), name);
            assert!(root.run_in(name).unwrap().is_some());
            assert!(!owned.dir().path().join(".new-benchmark.json").exists());
            let again = create(name);
            assert!(matches!(again, Err(RecordError::Held { .. })), "{again:?}");
        }
        fs::create_dir(folder.path().join("rows")).unwrap();
        fs::write(folder.path().join("rows/index.jsonl"), "{}\n").unwrap();
        let refused = create("rows");
        assert!(matches!(refused, Err(RecordError::Foreign { .. })), "{refused:?}");
        fs::create_dir(folder.path().join("mine")).unwrap();
        fs::write(folder.path().join("mine/notes"), "").unwrap();
        for name in ["mine", "latest", "a\u{1b}", ".gone-0"] {
            let refused = root.run_in(name);
            assert!(matches!(refused, Err(RecordError::Foreign { .. })));
        }
        let mine = create("mine");
        assert!(matches!(mine, Err(RecordError::Foreign { .. })), "{mine:?}");
        assert_eq!(fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);
    }

    #[test]
    fn folder_of_another_process_is_held() {
        let folder = folder();
        let root = ResultsRoot::open(folder.path()).unwrap();
        for left in ["live.json", "index.jsonl"] {
            fs::create_dir(folder.path().join(left)).unwrap();
            let lock = Lock::take(&root.own_dir().unwrap().dir(left).unwrap(), left).unwrap();
            // The manifest is not on disk yet, or was not when another process looked for it.
            fs::write(folder.path().join(left).join(left), "{}").unwrap();
            let mut new = new_run(1);
            new.id = left.to_owned();
            let held = root.create(new);
            assert!(matches!(held, Err(RecordError::Held { .. })), "{held:?}");
            if left == "live.json" {
                let held = root.run_in(left);
                assert!(matches!(held, Err(RecordError::Held { .. })), "{held:?}");
            }
            drop(lock);
            let mut new = new_run(1);
            new.id = left.to_owned();
            let refused = root.create(new);
            assert!(matches!(refused, Err(RecordError::Foreign { .. })), "{refused:?}");
        }
    }
}
