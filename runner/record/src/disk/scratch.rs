//! [`Scratch`]: a session's folder for temporary files. A later session removes the folder of a dead process.

use std::time::{Duration, SystemTime};
use std::{fs::File, path::Path, sync::mpsc::channel, thread};

use crate::disk::beneath::{Dir, random};
use crate::disk::lock::{LOCK, try_lock};
use crate::{RecordError, disk::fault::now, disk::owner::is_private, disk::permissions::PRIVATE};

const PREFIX: &str = "runner-";
/// A live process locks its folder within milliseconds.
const OLD: Duration = Duration::from_secs(60);
/// Longest time that the end of a session waits for the removal. A deep tree takes seconds on a busy disk.
const PATIENCE: Duration = Duration::from_millis(500);

/// A private folder for temporary files, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    above: Dir,
    dir: Dir,
    name: String,
    /// Held while the process lives.
    lock: File,
}

impl Scratch {
    /// Creates a folder in `above`.
    pub fn make(above: &Path) -> Result<Self, RecordError> {
        let above = Dir::open(above)?;
        let name = format!("{PREFIX}{:016x}", random());
        let dir = above.create_dir(&name, PRIVATE)?;
        let lock = dir.create_file(LOCK)?;
        // No other process knows the folder yet.
        try_lock(&lock, true).map_err(|source| dir.error("take", LOCK, source))?;
        Ok(Self { above, dir, name, lock })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a function that removes a folder in this one, as far as possible. Blocks.
    pub fn remover(&self, name: String) -> impl FnOnce() + Send + 'static + use<> {
        let dir = self.dir.clone();
        move || {
            let _ = dir.dir(&name).and_then(|inner| inner.clear(&[]));
            let _ = dir.remove_folder(&name);
        }
    }

    /// Removes the folders of dead processes in `above`, as far as possible.
    pub fn sweep(above: &Path) {
        let Ok(above) = Dir::open(above) else {
            return;
        };
        for name in above.folders().unwrap_or_default() {
            if is_name(&name)
                && let Ok(dir) = above.dir(&name)
                && let Some(_lock) = take_dead(&dir)
            {
                let _ = remove(&above, &dir, &name);
            }
        }
    }
}

impl Scratch {
    /// Starts to remove the folder, and waits for the end no longer than `patience`. A later session removes the rest.
    fn remove_within(&self, patience: Duration) {
        let Self { above, dir, name, lock } = self;
        // The next sweep need not wait for its age.
        let _ = lock.set_modified(SystemTime::UNIX_EPOCH);
        let Ok(lock) = lock.try_clone() else { return };
        let above = above.clone();
        let dir = dir.clone();
        let name = name.clone();
        let (running, done) = channel::<()>();
        let remove = move || {
            let _ = remove(&above, &dir, &name);
            drop((running, lock));
        };
        if thread::Builder::new().name("scratch".into()).spawn(remove).is_ok() {
            let _ = done.recv_timeout(patience);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove_within(PATIENCE);
    }
}

fn is_name(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the lock of a folder that this user made and no process holds.
fn take_dead(dir: &Dir) -> Option<File> {
    let found = dir.stat(LOCK).ok()??;
    if !is_private(dir) || !found.is_file || now().since(found.changed()) < OLD {
        return None;
    }
    let lock = dir.read(LOCK).ok()?;
    lock.try_lock().is_ok().then_some(lock)
}

/// Removes the folder. The lock is last: without it another process would not recognize the rest.
fn remove(above: &Dir, dir: &Dir, name: &str) -> Result<(), RecordError> {
    dir.clear(&[LOCK])?;
    dir.remove(LOCK)?;
    above.remove_folder(name)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant, SystemTime};

    use super::{OLD, Scratch};

    #[test]
    fn folders_of_dead_processes_are_removed() {
        let above = tempfile::tempdir().unwrap();
        let path = |name: &str| above.path().join(name);
        let age = |folder: &str| {
            let lock = File::open(path(folder).join("lock")).unwrap();
            lock.set_modified(SystemTime::now() - 2 * OLD).unwrap();
        };
        let make = |name: &str, mode| {
            fs::create_dir_all(path(name).join("worker-1/deep")).unwrap();
            fs::write(path(name).join("worker-1/deep/file"), "text").unwrap();
            fs::write(path(name).join("lock"), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        };
        let live = Scratch::make(above.path()).unwrap();
        let name = live.path().file_name().unwrap().to_str().unwrap();
        fs::write(live.path().join("mine"), "text").unwrap();
        age(name);
        let [dead, young, shared] = [1, 2, 3].map(|number| format!("runner-{number:016x}"));
        for (folder, mode) in [(&dead, 0o700), (&young, 0o700), (&shared, 0o750)] {
            make(folder, mode);
        }
        make("runner-other", 0o700);
        for folder in [&*dead, &shared, "runner-other"] {
            age(folder);
        }
        Scratch::sweep(above.path());
        assert!(!path(&dead).exists());
        for folder in [&*young, &shared, "runner-other"] {
            assert!(path(folder).join("worker-1/deep/file").exists(), "{folder}");
        }
        assert!(live.path().join("mine").exists());
        let gone = live.path().to_owned();
        drop(live);
        // On a busy disk, the removal continues for a while.
        let began = Instant::now();
        while gone.exists() {
            assert!(began.elapsed() < OLD, "it stays");
        }
    }

    #[test]
    fn unfinished_removal_is_left_to_any_sweep() {
        let above = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(above.path()).unwrap();
        let deep: String = (0..500).map(|_| "deep/").collect();
        fs::create_dir_all(scratch.path().join(deep)).unwrap();
        let lock = File::open(scratch.path().join("lock")).unwrap();
        scratch.remove_within(Duration::ZERO);
        assert_eq!(lock.metadata().unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);
        drop(scratch);
        // On a busy machine both removals are still running, and each can end the other one.
        while fs::read_dir(above.path()).unwrap().count() > 0 {
            Scratch::sweep(above.path());
        }
    }
}
