//! [`Tree::apply`]: builds again what an attempt left in its workspace, and adds the files of a grader.

use std::fs::{File, FileTimes};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};

use runner_files::open_folder;
use runner_model::Digest;
use runner_model::tree::check_path;
use runner_model::workspace::{Change, ChangeKind, EntryKind, TreeEntry, read_base};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::base::{OWNER_READS, Overlay, PERMISSIONS};
use super::tree::Tree;
use crate::fs::quota::shorten_path;

impl Tree {
    /// Makes the changes of an overlay, all beneath the workspace and without following links: the
    /// paths are those of a guest, or lies of its worker. `check` is called for each of them. Blocks.
    pub(super) fn apply(
        &self,
        overlay: &Overlay,
        check: impl Fn() -> wasmtime::Result<()>,
    ) -> wasmtime::Result<()> {
        let lines = overlay.changes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let changes: Vec<Change<'_>> =
            lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
        // `..` would lead to this attempt's private folder, which `make_way` would empty.
        let is_invalid = changes.iter().find_map(|change| check_path(&change.path).err());
        if let Some(problem) = is_invalid {
            return Err(io::Error::new(ErrorKind::InvalidData, problem).into());
        }
        let mut contents = overlay.contents.as_deref().map(File::open).transpose()?;
        // What is in a folder has a path that comes after that of the folder.
        for change in changes.iter().rev().filter(|change| change.change == ChangeKind::Removed) {
            check()?;
            match self.remove(&change.path) {
                // A secret in the path was replaced.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(|error| at_path(&change.path, &error))?,
            }
        }
        for change in changes.into_iter().filter(|change| change.change != ChangeKind::Removed) {
            check()?;
            let Change { path, kind, mode, bytes, sha256, at, target, .. } = change;
            self.make_way(&path).map_err(|error| at_path(&path, &error))?;
            let entry = TreeEntry { path, kind, mode, bytes, sha256, target };
            self.add(&entry, |sha256| self.content(sha256, at, bytes, contents.as_mut()))?;
        }
        for path in &overlay.replaced {
            check()?;
            self.make_way(path).map_err(|error| at_path(path, &error))?;
        }
        for entry in read_base(&overlay.files)? {
            check()?;
            let blob = |sha256: &Digest| {
                Ok(File::open(overlay.blobs.join(sha256.to_string()))?.take(u64::MAX))
            };
            self.add(&entry, blob)?;
        }
        Ok(())
    }

    /// Takes the files of a grader out of the workspace while it calls a tool. A tool often runs
    /// the agent's program, which could print the answers in them. Blocks.
    pub(crate) fn hide(&self) -> io::Result<()> {
        for (number, path) in self.hidden.iter().enumerate() {
            let (parent, name) = split(path);
            let moved = self
                .open(parent, OFlags::DIRECTORY)
                .and_then(|folder| Ok(renameat(folder, name, &self.copies, hidden_name(number))?));
            let Err(error) = moved else { continue };
            match Errno::from_io_error(&error) {
                // The grader has removed it, or replaced a folder above.
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                _ => return Err(at_path(path, &error)),
            }
        }
        Ok(())
    }

    /// Puts the files of a grader back. They replace everything that a tool has left at their paths. Blocks.
    pub(crate) fn show_hidden(&self) -> io::Result<()> {
        for (number, path) in self.hidden.iter().enumerate() {
            let hidden = hidden_name(number);
            if statat(&self.copies, &*hidden, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                continue;
            }
            let (parent, name) = split(path);
            let shown = self.make_way(path).and_then(|()| {
                Ok(renameat(&self.copies, &*hidden, self.open(parent, OFlags::DIRECTORY)?, name)?)
            });
            shown.map_err(|error| at_path(path, &error))?;
        }
        Ok(())
    }

    /// Returns the content of an added or changed file, at its place in `contents` or in the base.
    fn content(
        &self,
        sha256: &Digest,
        at: Option<u64>,
        bytes: u64,
        contents: Option<&mut File>,
    ) -> io::Result<io::Take<File>> {
        match (at, contents) {
            (None, _) => {
                let number = self.base.with_content(sha256);
                Ok(self.base.open(number.ok_or(ErrorKind::NotFound)?)?.take(bytes))
            }
            (Some(at), Some(contents)) => {
                contents.seek(SeekFrom::Start(at))?;
                Ok(contents.try_clone()?.take(bytes))
            }
            (Some(_), None) => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Adds an entry that is not there. `open` returns the content of a file.
    fn add(
        &self,
        entry: &TreeEntry<'_>,
        open: impl FnOnce(&Digest) -> io::Result<io::Take<File>>,
    ) -> io::Result<()> {
        let add = || {
            let (parent, name) = split(&entry.path);
            let folder = self.open(parent, OFlags::DIRECTORY)?;
            match (entry.kind, &entry.sha256, &entry.target) {
                (EntryKind::Folder, ..) => Ok(mkdirat(&folder, name, Mode::RWXU)?),
                (EntryKind::Link, _, Some(target)) => Ok(symlinkat(&**target, &folder, name)?),
                (EntryKind::File, Some(sha256), _) => {
                    let flags = OFlags::WRONLY
                        | OFlags::CREATE
                        | OFlags::EXCL
                        | OFlags::NOFOLLOW
                        | OFlags::CLOEXEC;
                    let mode = Mode::from_raw_mode(entry.mode & PERMISSIONS | OWNER_READS);
                    let mut file: File = openat(&folder, name, flags, mode)?.into();
                    // Without a byte, there may be no contents.
                    if entry.bytes > 0 && io::copy(&mut open(sha256)?, &mut file)? != entry.bytes {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    let time = self.base.time;
                    file.set_times(FileTimes::new().set_accessed(time).set_modified(time))
                }
                _ => Err(ErrorKind::InvalidData.into()),
            }
        };
        add().map_err(|error| at_path(&entry.path, &error))
    }

    /// Removes a file, a link or an empty folder.
    fn remove(&self, path: &str) -> io::Result<()> {
        let (parent, name) = split(path);
        let folder = self.open(parent, OFlags::DIRECTORY)?;
        match unlinkat(&folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Ok(unlinkat(&folder, name, AtFlags::REMOVEDIR)?),
            removed => Ok(removed?),
        }
    }

    /// Removes everything at a path, and makes folders of the paths that lead there.
    fn make_way(&self, path: &str) -> io::Result<()> {
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            match self.open(above, OFlags::DIRECTORY) {
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => self.remove(above)?,
            }
            let (parent, name) = split(above);
            mkdirat(self.open(parent, OFlags::DIRECTORY)?, name, Mode::RWXU)?;
        }
        let (parent, name) = split(path);
        let folder = self.open(parent, OFlags::DIRECTORY)?;
        if let Ok(inner) = open_folder(&folder, name) {
            runner_files::empty(inner, &[])?;
        }
        match self.remove(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// Returns the name of a hidden file in the folder of copies, whose other names are numbers.
fn hidden_name(number: usize) -> String {
    format!("hidden-{number}")
}

/// Returns the path of the folder that an entry is in, and its name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn at_path(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", shorten_path(path)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Overlay, Tree};

    #[test]
    fn changes_out_of_the_workspace_are_refused() {
        for path in ["..", ".", "", "a/..", "a/../..", "/a", "a//b", "a/./b"] {
            for kind in [r#""added","kind":"folder""#, r#""removed","kind":"file""#] {
                let private = tempfile::tempdir().unwrap();
                fs::write(private.path().join("kept"), "").unwrap();
                // The change before it makes the folder that the path leads through.
                let changes = format!(
                    "{{\"path\":\"a\",\"change\":\"added\",\"kind\":\"folder\"}}\n\
                     {{\"path\":\"{path}\",\"change\":{kind}}}\n"
                );
                let overlay = Overlay {
                    changes: changes.into_bytes(),
                    contents: None,
                    replaced: Vec::new(),
                    files: Vec::new(),
                    blobs: private.path().to_owned(),
                };
                let refused = Tree::create(private.path(), None, Some(&overlay), || Ok(()));
                assert!(private.path().join("kept").exists(), "{path}");
                let problem = format!("`{path}` is not a path in a workspace");
                assert_eq!(refused.unwrap_err().to_string(), problem);
            }
        }
    }
}
