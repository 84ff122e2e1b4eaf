//! [`PrivateFolder`]: a private folder that is gone when it is dropped, whatever a guest made of it.
//!
//! Whoever made it holds a lock on a file in it; so what a dead process has left is told from what is in use. The file
//! begins with a mark that has a token, which the folder has in its name: nobody else's folder is taken for one of these.

use std::{
    ffi::{CString, OsStr},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use fs_err::{self as fs, os::unix::fs::OpenOptionsExt as _};
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::removal;

/// Where an attempt may write what is gone with it.
pub(super) const SCRATCH: &str = "/scratch";
/// Where a command leaves what is kept.
pub(super) const ARTIFACTS: &str = "/artifacts";
/// Where a command finds its test's attachments.
pub(super) const ATTACHMENTS: &str = "/files";

/// How long an attempt waits for its private folder to be removed. What takes longer goes on without it: a guest may have
/// made as many files as its `limits.scratch` has room for.
pub(super) const REMOVAL_TIME: Duration = Duration::from_millis(500);

/// How the names of private folders begin; a token follows.
const PREFIX: &str = "runner-attempt-";
/// As many hexadecimal digits as a UUID has.
const TOKEN_DIGITS: usize = 32;
/// Only for whoever runs the runner.
const MODE: u32 = 0o700;
/// How often removing begins again: a call of the guest that outlived it may still make something.
const TRIES: u32 = 5;
/// How old a folder must be that has no mark yet before it counts as left by a process that died over making it. Making
/// one takes microseconds.
const UNMARKED: Duration = Duration::from_secs(3600);

/// A file in each that is locked for as long as the folder is in use. Guests see only folders beside it.
const LOCK: &str = "lock";
/// What that file begins with, before the token of its folder.
const MARK: &str = "private folder of an attempt, made by runner, layout 1:";

/// A private folder; dropping it removes it.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    lock: fs::File,
}

impl PrivateFolder {
    /// Makes an empty folder in `root`.
    pub(super) fn new_in(root: &Path) -> io::Result<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let path = root.join(format!("{PREFIX}{token}"));
        std::fs::DirBuilder::new().mode(MODE).create(&path)?;
        let lock = lock_new(&path.join(LOCK), &token).inspect_err(|_| {
            // What it could not fill it must not leave.
            let _ = fs::remove_file(path.join(LOCK));
            let _ = fs::remove_dir(&path);
        })?;
        Ok(Self { path, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) -> io::Result<()> {
        let (Some(root), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let root = open(rustix::fs::CWD, root.as_os_str(), OFlags::empty())?;
        let folder = open(root.as_fd(), name, OFlags::NOFOLLOW)?;
        let (held, found) = (
            self.lock.metadata()?,
            rustix::fs::statat(&folder, LOCK, AtFlags::SYMLINK_NOFOLLOW)?,
        );
        if (held.dev(), held.ino()) != (found.st_dev, found.st_ino) {
            return Err(io::Error::other("another folder has taken its place"));
        }
        remove_opened(root.as_fd(), name, &folder)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let removed = (0..TRIES).map(|_| self.remove()).find(Result::is_ok);
        if removed.is_none() {
            tracing::warn!("cannot remove `{}`", self.path.display());
        }
    }
}

/// Tells whether a file or folder is called as the private folders of attempts are.
pub fn is_private_folder(name: &OsStr) -> bool {
    token(name).is_some()
}

/// Removes the folders in `root` that processes of this user have left there when they died, and waits a moment for that:
/// a guest may have left thousands, and what takes longer goes on behind the session.
///
/// What cannot be removed stays; that is said in the log and is not an error.
pub fn sweep_folders(root: &Path, now: SystemTime) {
    let root = root.to_owned();
    let (done, is_done) = mpsc::channel::<()>();
    let sweep = move || {
        sweep(&root, now);
        drop(done);
    };
    // Where there are no more threads, one of the next sessions does it.
    if thread::Builder::new()
        .name("sweep".to_owned())
        .spawn(sweep)
        .is_ok()
    {
        let _ = is_done.recv_timeout(REMOVAL_TIME);
    }
}

fn sweep(root: &Path, now: SystemTime) {
    let Ok(opened) = open(rustix::fs::CWD, root.as_os_str(), OFlags::empty()) else {
        return;
    };
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(token) = token(&name)
            && let Err(error) = remove_dead(opened.as_fd(), &name, token, now)
        {
            tracing::debug!("cannot remove `{}`: {error}", entry.path().display());
        }
    }
}

/// The token in the name of a private folder.
fn token(name: &OsStr) -> Option<&str> {
    let token = name.to_str()?.strip_prefix(PREFIX)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (token.len() == TOKEN_DIGITS && token.bytes().all(is_digit)).then_some(token)
}

fn mark(token: &str) -> String {
    format!("{MARK} {token}\n")
}

/// Makes the file that is locked, and marks it once it is: where it has its mark and no lock, whoever made it has died.
fn lock_new(path: &Path, token: &str) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut lock = options.open(path)?;
    // Where there are no locks the folder is not marked, and stays there if this process dies.
    if lock.try_lock().is_ok() {
        lock.write_all(mark(token).as_bytes())?;
    }
    Ok(lock)
}

fn open(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | flags;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Removes a folder of this user's whose lock nobody holds, if it is what a process of this runner has left: by its name,
/// its owner, its mode, its mark, and what is in it. Everything is looked at, and removed, by way of one handle.
fn remove_dead(root: BorrowedFd<'_>, name: &OsStr, token: &str, now: SystemTime) -> io::Result<()> {
    let folder = std::fs::File::from(open(root, name, OFlags::NOFOLLOW)?);
    let found = folder.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o777 != MODE {
        return Ok(());
    }
    let age = now.duration_since(found.modified()?).unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = match openat(&folder, LOCK, flags, Mode::empty()) {
        Ok(lock) => std::fs::File::from(lock),
        // Made and not filled, or all but removed. If there is anything in it, it stays.
        Err(rustix::io::Errno::NOENT) if age > UNMARKED => {
            return Ok(unlinkat(root, name, AtFlags::REMOVEDIR)?);
        }
        Err(error) => return Err(error.into()),
    };
    if !lock.metadata()?.is_file() {
        return Ok(());
    }
    lock.try_lock()?;
    let (mark, mut text) = (mark(token), Vec::new());
    (&lock).take(mark.len() as u64 + 1).read_to_end(&mut text)?;
    let is_marked = text == mark.as_bytes();
    let is_unmarked = text.is_empty() && age > UNMARKED;
    if (is_marked || is_unmarked) && has_only_what_is_known(&folder, is_marked)? {
        remove_opened(root, name, &folder.into())?;
    }
    Ok(())
}

/// Tells whether nothing is in a folder but what attempts have there, and what removing has moved up.
fn has_only_what_is_known(folder: &std::fs::File, is_marked: bool) -> io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let is_moved = name.iter().all(u8::is_ascii_digit);
        let is_attempts = [SCRATCH, ARTIFACTS, ATTACHMENTS]
            .iter()
            .any(|mount| mount.as_bytes().strip_prefix(b"/") == Some(name));
        let is_known = match name {
            b"." | b".." => true,
            name if name == LOCK.as_bytes() => true,
            _ => is_marked && (is_moved || is_attempts),
        };
        if !is_known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a folder that was opened, and whatever its name is by now, nothing else.
fn remove_opened(root: BorrowedFd<'_>, name: &OsStr, folder: &OwnedFd) -> io::Result<()> {
    let lock = CString::new(LOCK).expect("the name has no NUL");
    removal::empty(folder.as_fd(), &lock)?;
    match unlinkat(folder, LOCK, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // Fails if anything is in what has the name.
    Ok(unlinkat(root, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
        path::{Path, PathBuf},
        time::{Duration, SystemTime},
    };

    use fs_err as fs;

    use super::{LOCK, MARK, PREFIX, PrivateFolder, UNMARKED, mark, sweep_folders};

    /// A folder as one is that a process has left, with the last digit of its token.
    fn leave(root: &Path, digit: char, text: Option<&str>) -> PathBuf {
        let token = format!("{}{digit}", "0".repeat(31));
        let folder = root.join(format!("{PREFIX}{token}"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .unwrap();
        if let Some(text) = text {
            fs::write(folder.join(LOCK), text.replace("TOKEN", &token)).unwrap();
        }
        folder
    }

    #[test]
    fn what_a_dead_process_has_left_is_swept_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let used = PrivateFolder::new_in(root).unwrap();
        let now = SystemTime::now();
        let marked = mark("TOKEN");
        let dead = leave(root, '0', Some(&marked));
        fs::create_dir_all(dead.join("scratch/deep")).unwrap();
        fs::create_dir_all(dead.join("7/deep")).unwrap();

        let other_token = leave(root, '1', Some(&mark(&"1".repeat(32))));
        let other_text = leave(root, '2', Some(&format!("{marked}more")));
        let other_entry = leave(root, '3', Some(&marked));
        fs::write(other_entry.join("notes"), "mine").unwrap();
        let open = leave(root, '4', Some(&marked));
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        let linked = leave(root, '5', None);
        fs::write(
            root.join("lock"),
            marked.replace("TOKEN", &format!("{}5", "0".repeat(31))),
        )
        .unwrap();
        symlink("../lock", linked.join(LOCK)).unwrap();
        // As an older runner made them, a run, and somebody else's.
        let path = |name: &str| root.join(name);
        for name in ["runner-dead", "runner-x", "runner-attempt-x", "runners"] {
            fs::create_dir_all(path(name).join("scratch")).unwrap();
            fs::write(path(name).join(LOCK), &marked).unwrap();
        }
        let link = root.join(format!("{PREFIX}{}", "6".repeat(32)));
        symlink("runners", &link).unwrap();

        sweep_folders(root, now);
        sweep_folders(root, now + 2 * UNMARKED);
        assert!(used.path().join(LOCK).exists());
        assert!(!dead.exists());
        for stays in [other_token, other_text, other_entry, open, linked] {
            assert!(stays.symlink_metadata().is_ok(), "{}", stays.display());
            assert!(stays.join(LOCK).symlink_metadata().is_ok());
        }
        for stays in ["runner-dead", "runner-x", "runner-attempt-x", "runners"] {
            assert!(path(stays).join("scratch").exists(), "{stays}");
        }
        assert!(link.is_symlink());
        sweep_folders(&path("nowhere"), now);
    }

    #[test]
    fn what_a_process_left_that_died_over_making_a_folder_goes_after_an_hour() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let now = SystemTime::now();
        let empty = leave(root, '0', None);
        let unmarked = leave(root, '1', Some(""));
        let filled = leave(root, '2', None);
        fs::write(filled.join("notes"), "mine").unwrap();
        let beside = leave(root, '3', Some(""));
        fs::create_dir(beside.join("scratch")).unwrap();
        sweep_folders(root, now);
        assert!(empty.exists() && unmarked.exists());
        sweep_folders(root, now + UNMARKED + Duration::from_secs(60));
        assert!(!empty.exists() && !unmarked.exists());
        assert!(filled.exists() && beside.exists());
    }

    #[test]
    fn another_folder_in_the_place_of_one_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::new_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        assert!(
            fs::read_to_string(path.join(LOCK))
                .unwrap()
                .starts_with(MARK)
        );
        fs::rename(&path, root.path().join("moved")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        drop(folder);
        assert!(path.join(LOCK).exists());
    }

    #[test]
    fn a_folder_is_private_and_gone_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();

        let folder = PrivateFolder::new_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::create_dir_all(path.join("a/b/c/d")).unwrap();
        // Names that moved folders would get.
        for name in ["1", "a/1", "a/b/2", "a/b/c/d/3"] {
            fs::write(path.join(name), "x").unwrap();
        }
        fs::create_dir_all(path.join("2/2/2")).unwrap();
        symlink(&outside, path.join("a/b/link")).unwrap();
        symlink(&outside, path.join("link")).unwrap();

        drop(folder);
        assert!(!path.exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_folder_deeper_than_any_path_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::new_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        let mut parent = fs::File::open(&path).unwrap().into_parts().0;
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&parent, "deeper", rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let inner =
                rustix::fs::openat(&parent, "deeper", flags, rustix::fs::Mode::empty()).unwrap();
            parent = inner.into();
        }
        drop(folder);
        assert!(!path.exists());
    }
}
