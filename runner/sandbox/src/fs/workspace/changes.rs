//! [`find`]: finds the changes in a workspace after its attempt.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use runner_files::open_regular_at;
use runner_model::workspace::{
    CONTENTS, Change, ChangeKind, EntryKind, MAX_CHANGE_BYTES, MAX_CHANGES,
};
use runner_model::{Digest, ErrorClass, HostFault, media_type, row::RowError, units::show_size};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, readlinkat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::base::{BaseEntry, is_executable};
use super::tree::Tree;
use crate::call::LeftWorkspace;
use crate::fs::quota::{MAX_PATH_BYTES, shorten_path};
use crate::redact::{Redactor, values::DistinctNames};
use crate::store::artifacts::{LeftContent, LeftFile, append, shorten};
use crate::{host_fault::fault_in, message::failure};

/// Bytes of a file that are read at once.
const PIECE: usize = 64 * 1024;
/// Modes of new files, as git has them. The real ones depend on the user's mask.
const MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;

/// Which changes are kept.
pub(crate) struct Kept<'a> {
    /// Whether more than their numbers is kept.
    pub(crate) all: bool,
    /// Most bytes of all contents.
    pub(crate) max_bytes: u64,
    pub(crate) redactor: Option<&'a Arc<Redactor>>,
    /// A private folder, for contents.
    pub(crate) folder: &'a Path,
}

/// Reason for the loss of all changes.
pub(crate) enum Lost {
    /// They exceed a bound.
    Bound(String),
    Failed(io::Error),
}

/// The changes that are found in one tree.
struct Walk<'a> {
    tree: &'a Tree,
    /// At most one if only numbers are kept.
    changes: Vec<Change<'a>>,
    keeps_all: bool,
    /// Numbers of the changes that are not kept, by kind.
    numbers: [u32; 3],
    /// Folders to be read, with their index in the base.
    folders: Vec<(String, Option<usize>)>,
}

/// The contents of changed files, one after the other.
struct Contents<'a> {
    kept: &'a Kept<'a>,
    left: LeftFile,
    places: HashMap<Digest, u64>,
}

/// Finds the changes in a workspace. Blocks.
pub(crate) fn find(tree: &Tree, kept: &Kept<'_>) -> Result<LeftWorkspace, Lost> {
    let top = vec![(".".to_owned(), Some(0))];
    let (changes, keeps_all, numbers) = (Vec::new(), kept.all, [0; 3]);
    let mut walk = Walk { tree, changes, keeps_all, numbers, folders: top };
    while let Some((path, index)) = walk.folders.pop() {
        walk.folder(&path, index)?;
    }
    let mut changes = walk.changes;
    let number = |kind| {
        let listed = changes.iter().filter(|change| change.change == kind).count();
        walk.numbers[kind as usize] + listed as u32
    };
    let mut left = LeftWorkspace {
        changes: Vec::new(),
        contents: LeftFile {
            name: CONTENTS.to_owned(),
            media_type: media_type(CONTENTS).to_owned(),
            bytes: 0,
            content: LeftContent::Memory(Vec::new()),
        },
        added: number(ChangeKind::Added),
        changed: number(ChangeKind::Changed),
        removed: number(ChangeKind::Removed),
        is_partial: false,
    };
    if !kept.all {
        return Ok(left);
    }
    // The order in a folder depends on the file system.
    changes.sort_by(|left, right| left.path.cmp(&right.path));
    let mut contents = Contents { kept, left: left.contents, places: HashMap::new() };
    let is_new = |change: &Change<'_>| {
        let is_there = change.kind == EntryKind::File && change.change != ChangeKind::Removed;
        is_there && change.sha256.is_none()
    };
    // Each path counts: hard links to one file are read, and later written, as often.
    let bytes = changes.iter().filter(|change| is_new(change)).map(|change| change.bytes);
    if bytes.fold(0, u64::saturating_add) > kept.max_bytes {
        let most = show_size(kept.max_bytes);
        return Err(Lost::Bound(format!(
            "the changed files of the workspace have more than `limits.workspace`, {most}"
        )));
    }
    for change in changes.iter_mut().filter(|change| is_new(change)) {
        contents.add(tree, change)?;
    }
    left.contents = contents.left;
    if let Some(redactor) = kept.redactor {
        redact(redactor, &mut changes);
    }
    for change in &changes {
        serde_json::to_writer(&mut left.changes, change).map_err(io::Error::other)?;
        left.changes.push(b'\n');
        // Paths of a guest may be long.
        if left.changes.len() as u64 > MAX_CHANGE_BYTES {
            let most = show_size(MAX_CHANGE_BYTES);
            return Err(Lost::Bound(format!("the list of changed files has more than {most}")));
        }
    }
    Ok(left)
}

impl<'a> Walk<'a> {
    fn folder(&mut self, path: &str, index: Option<usize>) -> Result<(), Lost> {
        let base = &self.tree.base;
        let known = index.map_or(&[][..], |index| &base.folders[index].entries);
        let mut is_there = vec![false; known.len()];
        let mut dir = Dir::new(self.tree.open(path, OFlags::DIRECTORY)?)?;
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_str().map_err(io::Error::other)?;
            if matches!(name, "." | "..") {
                continue;
            }
            let place = index.and_then(|index| base.folders[index].find(name));
            let before = place.map(|place| {
                is_there[place] = true;
                &known[place].1
            });
            if let Some(BaseEntry::File(number)) = before
                && base.file(*number).inode == entry.ino()
            {
                continue;
            }
            let path = if path == "." { name.to_owned() } else { format!("{path}/{name}") };
            if path.len() > MAX_PATH_BYTES {
                let path = shorten_path(&path);
                return Err(Lost::Bound(format!("the path `{path}` is too long to be kept")));
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let found = statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(found.st_mode)
                }
                kind => kind,
            };
            match kind {
                FileType::Directory => {
                    let index = match before {
                        Some(BaseEntry::Folder(index)) => Some(*index),
                        _ => {
                            self.add(path.clone(), before, EntryKind::Folder)?;
                            None
                        }
                    };
                    self.folders.push((path, index));
                    continue;
                }
                FileType::Symlink => self.link(dir.fd()?, name, path.clone(), before)?,
                // Also what no guest can create.
                _ => self.file(dir.fd()?, name, path.clone(), before)?,
            }
            if let Some(BaseEntry::Folder(index)) = before {
                self.remove_all(&path, *index)?;
            }
        }
        for ((name, entry), _) in known.iter().zip(is_there).filter(|(_, is_there)| !is_there) {
            let path = if path == "." { name.clone() } else { format!("{path}/{name}") };
            self.remove(&path, entry)?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        folder: impl AsFd,
        name: &str,
        path: String,
        before: Option<&BaseEntry>,
    ) -> Result<(), Lost> {
        let target = readlinkat(folder, name, Vec::new())?.into_string();
        let target = target.map_err(io::Error::other)?;
        if !matches!(before, Some(BaseEntry::Link(known)) if *known == target) {
            self.add(path, before, EntryKind::Link)?.target = Some(target.into());
        }
        Ok(())
    }

    fn file(
        &mut self,
        folder: impl AsFd,
        name: &str,
        path: String,
        before: Option<&BaseEntry>,
    ) -> Result<(), Lost> {
        let (file, found) = open_regular_at(folder, name)?;
        let base = &self.tree.base;
        let bytes = u64::try_from(found.st_size).unwrap_or_default();
        let is_executable = is_executable(found.st_mode);
        // A file of the base at another path.
        let mut known = base.number(found.st_dev, found.st_ino).map(|number| base.file(number));
        let mut mode = match known {
            Some(known) => known.mode,
            None if is_executable => EXECUTABLE_MODE,
            None => MODE,
        };
        if let Some(BaseEntry::File(number)) = before {
            let before = base.file(*number);
            let is_same = match known {
                Some(known) => known.sha256 == before.sha256,
                None => bytes == before.bytes && has_same_content(&file, &base.open(*number)?)?,
            };
            if before.is_executable == is_executable {
                if is_same {
                    return Ok(());
                }
                mode = before.mode;
            }
            known = known.or(is_same.then_some(before));
        }
        let sha256 = known.map(|known| known.sha256);
        let change = self.add(path, before, EntryKind::File)?;
        *change = Change { mode, bytes, sha256, ..change.clone() };
        Ok(())
    }

    /// Adds everything in a folder of the base, which is at `path`, as removed.
    fn remove_all(&mut self, path: &str, index: usize) -> Result<(), Lost> {
        for (name, entry) in &self.tree.base.folders[index].entries {
            self.remove(&format!("{path}/{name}"), entry)?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &str, entry: &BaseEntry) -> Result<(), Lost> {
        let kind = match entry {
            BaseEntry::File(_) => EntryKind::File,
            BaseEntry::Folder(_) => EntryKind::Folder,
            BaseEntry::Link(_) => EntryKind::Link,
        };
        self.add(path.to_owned(), None, kind)?.change = ChangeKind::Removed;
        match entry {
            BaseEntry::Folder(index) => self.remove_all(path, *index),
            _ => Ok(()),
        }
    }

    /// Adds a change of what was there `before`.
    fn add(
        &mut self,
        path: String,
        before: Option<&BaseEntry>,
        kind: EntryKind,
    ) -> Result<&mut Change<'a>, Lost> {
        if !self.keeps_all {
            // Millions of paths may fit into `limits.scratch`, and none of them is needed.
            let known = self.changes.pop();
            known.iter().for_each(|known| self.numbers[known.change as usize] += 1);
        }
        if self.changes.len() >= MAX_CHANGES {
            let message = format!("more than {MAX_CHANGES} files of the workspace were changed");
            return Err(Lost::Bound(message));
        }
        let change = if before.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        self.changes.push(Change {
            path: path.into(),
            change,
            kind,
            mode: 0,
            bytes: 0,
            sha256: None,
            at: None,
            target: None,
        });
        Ok(self.changes.last_mut().unwrap_or_else(|| unreachable!()))
    }
}

impl Contents<'_> {
    /// Adds the content of a changed file.
    fn add(&mut self, tree: &Tree, change: &mut Change<'_>) -> Result<(), Lost> {
        let file = tree.open(&change.path, OFlags::empty())?;
        let at = self.left.bytes;
        let mut redacted = self.kept.redactor.map(Redactor::stream_that_keeps_size);
        let mut hasher = Sha256::new();
        let mut file = file.take(change.bytes);
        let mut piece = vec![0; PIECE];
        change.bytes = 0;
        loop {
            let read = file.read(&mut piece)?;
            let bytes = match &mut redacted {
                Some(stream) if read == 0 => &*stream.end(),
                Some(stream) => &*stream.push(&piece[..read]),
                None => &piece[..read],
            };
            hasher.update(bytes);
            change.bytes += bytes.len() as u64;
            append(&mut self.left, bytes, Some(self.kept.folder))?;
            if read == 0 {
                break;
            }
        }
        let sha256 = Digest(hasher.finalize().into());
        change.sha256 = Some(sha256);
        let known = self.places.get(&sha256).copied();
        let is_of_base = tree.base.has_content(&sha256);
        if is_of_base || known.is_some() {
            shorten(&mut self.left, at)?;
            change.at = known;
            return Ok(());
        }
        change.at = Some(at);
        self.places.insert(sha256, at);
        Ok(())
    }
}

impl Lost {
    /// Returns the error of the attempt, and the resource that the machine lacks.
    pub(crate) fn error(self) -> (RowError<'static>, Option<HostFault>) {
        match self {
            Self::Bound(message) => (failure(ErrorClass::Limit, "workspace", message), None),
            Self::Failed(error) => {
                let message = format!("cannot read the workspace: {error}");
                let fault = fault_in(&error.into());
                let code = fault.map_or("workspace", HostFault::as_str);
                (failure(ErrorClass::Internal, code, message), fault)
            }
        }
    }
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Lost {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// Removes secrets from paths, which stay different, and from targets.
fn redact(redactor: &Redactor, changes: &mut [Change<'_>]) {
    let mut names = DistinctNames::default();
    let is_secret = |change: &&mut Change<'_>| redactor.is_in(change.path.as_bytes());
    let (secret, others): (Vec<_>, Vec<_>) = changes.iter_mut().partition(is_secret);
    for change in others.iter().filter(|_| !secret.is_empty()) {
        names.distinct(change.path.to_string());
    }
    for change in secret {
        let mut path = change.path.to_string();
        redactor.text(&mut path);
        change.path = names.distinct(path).into();
    }
    for target in changes.iter_mut().filter_map(|change| change.target.as_mut()) {
        redactor.text(target.0.to_mut());
    }
    changes.sort_by(|left, right| left.path.cmp(&right.path));
}

fn has_same_content(left: &File, right: &File) -> io::Result<bool> {
    let mut pieces = [vec![0; PIECE], vec![0; PIECE]];
    let mut place = 0;
    loop {
        let [one, other] = &mut pieces;
        let read = left.read_at(one, place)?;
        if read != right.read_at(other, place)? || one[..read] != other[..read] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        place += read as u64;
    }
}
