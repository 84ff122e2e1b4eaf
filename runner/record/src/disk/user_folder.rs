//! [`UserFolder`]: reads and replaces files of the user below one folder, without following links.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::beneath::{Dir, random};
use super::fault::{self, Place};
use super::lock::lock_within;
use super::{durable::Unsynced, durable::sync_together, permissions};
use crate::RecordError;

const OWNER_WRITES: u32 = 0o200;
/// Time that another process may take to replace its files.
const PATIENCE: Duration = Duration::from_secs(10);
/// Start of the temporary names.
const DRAFT: &str = ".accept-";

/// A folder with files of the user.
#[derive(Debug)]
pub struct UserFolder(Dir);

/// A new content of a file.
pub struct Replacement<'a> {
    /// The path relative to the folder.
    pub path: &'a str,
    /// The present content. `None` if the file is missing.
    pub old: Option<&'a [u8]>,
    pub new: &'a [u8],
}

/// A new file under its temporary name.
struct Draft<'a> {
    folder: Dir,
    name: &'a str,
    temporary: String,
    mode: u32,
}

impl UserFolder {
    /// Opens a folder that the user named.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Dir::open(path).map(Self)
    }

    /// Reads a file of at most `limit` bytes. `None` if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be read, is larger or read-only, or a part of the path is a link.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, RecordError> {
        let (folder, name) = split(path);
        let opened = folder.map_or_else(|| Ok(self.0.clone()), |folder| self.folder(folder, None));
        match opened.and_then(|dir| Ok((mode_to_keep(&dir, name)?, dir.read_all(name, limit)?))) {
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces all files, or leaves all as they are. A kill leaves the old or the new content of each file. Processes that replace files of
    /// one folder wait for each other.
    ///
    /// # Errors
    ///
    /// A file has changed, or cannot be written. The error names files whose old content could not be restored.
    pub fn replace(&self, files: &[Replacement<'_>]) -> Result<(), RecordError> {
        let mut created = Vec::new();
        let folders = files.iter().map(|file| match split(file.path).0 {
            Some(folder) => self.folder(folder, Some(&mut created)),
            None => Ok(self.0.clone()),
        });
        let folders: Result<Vec<_>, _> = folders.collect();
        let replaced = folders.and_then(|folders| {
            let _locks = lock_folders(&folders)?;
            self.replace_in(folders, files)
        });
        if replaced.is_err() {
            // Those that others have filled meanwhile stay.
            for (above, name) in created.iter().rev() {
                let _ = above.remove_folder(name);
            }
        }
        replaced?;
        sync_together(created.into_iter().map(|(above, _)| Unsynced::Names(above)).collect())
    }

    /// Replaces all files, each in its folder. A failure restores those that it has replaced.
    fn replace_in(&self, folders: Vec<Dir>, files: &[Replacement<'_>]) -> Result<(), RecordError> {
        let (mut drafts, mut unsynced) = (Vec::new(), Vec::new());
        let prepared = files.iter().zip(folders).try_for_each(|(file, folder)| {
            let (_, name) = split(file.path);
            check_content(&folder, name, file.old)?;
            let mode = file.old.map(|_| mode_to_keep(&folder, name)).transpose()?;
            let mode = mode.unwrap_or_else(permissions::of_user_file);
            let temporary = format!("{DRAFT}{:016x}", random());
            let draft = Draft { folder, name, temporary, mode };
            let written = draft.write(file.new)?;
            let path = draft.folder.path().join(&draft.temporary);
            drafts.push(draft);
            unsynced.push(Unsynced::Content(written, path));
            Ok(())
        });
        let mut renamed = 0;
        let replaced = prepared.and_then(|()| sync_together(unsynced)).and_then(|()| {
            drafts.iter().zip(files).try_for_each(|(draft, file)| {
                draft.rename(file.old)?;
                renamed += 1;
                Ok(())
            })
        });
        if let Err(error) = replaced {
            let written = files.iter().zip(&drafts).take(renamed);
            let kept = written.filter(|(file, draft)| draft.undo(file.old).is_err());
            let kept: Vec<_> = kept.map(|(file, _)| format!("`{}`", file.path)).collect();
            for draft in &drafts {
                let _ = draft.folder.remove(&draft.temporary);
            }
            if kept.is_empty() {
                return Err(error);
            }
            let kept = kept.join(", ");
            let source = io::Error::other(format!("{error}; already replaced: {kept}"));
            return Err(self.0.error("restore", ".", source));
        }
        sync_together(drafts.into_iter().map(|draft| Unsynced::Names(draft.folder)).collect())
    }

    /// Opens a folder below this one. Creates missing ones if `created` is given, and adds them to it.
    fn folder(
        &self,
        path: &str,
        mut created: Option<&mut Vec<(Dir, String)>>,
    ) -> Result<Dir, RecordError> {
        path.split('/').try_fold(self.0.clone(), |dir, name| match (dir.dir(name), &mut created) {
            (Err(error), Some(created)) if error.is_missing() => {
                let folder = dir.create_dir(name, permissions::of_user_folder())?;
                created.push((dir, name.to_owned()));
                Ok(folder)
            }
            (opened, _) => opened,
        })
    }
}

impl Draft<'_> {
    fn write(&self, bytes: &[u8]) -> Result<File, RecordError> {
        let mut file = self.folder.create_file(&self.temporary)?;
        let written = file.set_permissions(Permissions::from_mode(self.mode));
        written.and_then(|()| file.write_all(bytes)).map(|()| file).map_err(|source| {
            let _ = self.folder.remove(&self.temporary);
            self.folder.error("write", self.name, source)
        })
    }

    /// Replaces the file, unless an editor has saved it meanwhile.
    fn rename(&self, old: Option<&[u8]>) -> Result<(), RecordError> {
        fault::pass(Place::UserFileRename)
            .map_err(|source| self.folder.error("replace", self.name, source))
            .and_then(|()| check_content(&self.folder, self.name, old))
            .and_then(|()| self.folder.rename(&self.temporary, self.name))
    }

    /// Restores the content before [`Self::rename`].
    fn undo(&self, old: Option<&[u8]>) -> Result<(), RecordError> {
        let Some(old) = old else { return self.folder.remove(self.name) };
        let path = self.folder.path().join(&self.temporary);
        sync_together(vec![Unsynced::Content(self.write(old)?, path)])?;
        self.folder.rename(&self.temporary, self.name)
    }
}

/// Fails if a file has another content than `old`.
fn check_content(folder: &Dir, name: &str, old: Option<&[u8]>) -> Result<(), RecordError> {
    let is_same = match (folder.read_all(name, old.map_or(0, <[u8]>::len) as u64), old) {
        (Ok(bytes), Some(old)) => bytes == old,
        (Err(error), None) => error.is_missing(),
        _ => false,
    };
    if is_same {
        Ok(())
    } else {
        Err(folder.refuse(name, "changed meanwhile; nothing was written. Run the command again"))
    }
}

/// Locks folders until the handles are dropped, and removes files of processes that were killed. On a file system without locks,
/// only the contents are compared.
fn lock_folders(folders: &[Dir]) -> Result<Vec<File>, RecordError> {
    let mut folders: Vec<_> = folders.iter().collect();
    // In one order, so that two processes cannot wait for each other.
    folders.sort_by_key(|folder| (folder.stamp.device, folder.stamp.inode));
    folders.dedup_by(|one, other| one.stamp.is_same_file(&other.stamp));
    let mut locks = Vec::new();
    for folder in folders {
        let handle = folder.new_handle()?;
        match lock_within(&handle, true, PATIENCE, |source| folder.error("lock", ".", source)) {
            Ok(true) => {}
            Ok(false) => return Err(folder.refuse(".", "another process replaces files there")),
            Err(_) => continue,
        }
        let is_draft = |name: &String| {
            name.strip_prefix(DRAFT).is_some_and(|digits| {
                digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
        };
        for name in folder.names()?.iter().filter(|name| is_draft(name)) {
            let _ = folder.remove(name);
        }
        locks.push(handle);
    }
    Ok(locks)
}

/// Splits the folders off a path.
fn split(path: &str) -> (Option<&str>, &str) {
    path.rsplit_once('/').map_or((None, path), |(folder, name)| (Some(folder), name))
}

/// Returns the mode of a file that may be replaced.
fn mode_to_keep(folder: &Dir, name: &str) -> Result<u32, RecordError> {
    let metadata = folder
        .read(name)?
        .metadata()
        .map_err(|source: io::Error| folder.error("read", name, source))?;
    match metadata.permissions().mode() & 0o777 {
        mode if mode & OWNER_WRITES > 0 => Ok(mode),
        _ => Err(folder.refuse(name, "it is read-only")),
    }
}
