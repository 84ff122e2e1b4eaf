//! [`LeftFiles`]: the files that an attempt left in its workspace, from its base and its changes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use runner_model::tree::{LeftEntry, Tree};
use runner_model::units::show_sizes_apart;
use runner_model::visible::visible_line;
use runner_model::workspace::{CONTENTS, EntryKind, MAX_BASE_ENTRIES, MAX_CHANGES};
use runner_model::{Digest, RowRef};

use crate::disk::beneath::Dir;
use crate::disk::content_store::CheckedFile;
use crate::disk::layout::{ARTIFACTS, STORE};
use crate::disk::permissions::of_user_folder;
use crate::{RecordError, RunDir, rows::line_reader::read_json_line};

/// Bytes of the files that [`LeftFiles::save`] writes for a run of another key.
const MAX_FOREIGN_BYTES: u64 = 1 << 30;

/// The files that an attempt left in its workspace.
#[derive(Debug)]
pub struct LeftFiles {
    run: RunDir,
    /// Digest of the contents of changed files.
    contents: Option<Digest>,
    pub tree: Tree,
}

/// The result of [`LeftFiles::save`].
#[derive(Debug, Default)]
pub struct SavedFiles {
    /// Number of files and links.
    pub files: u64,
    /// Paths of links that lead out of the workspace, which were left out.
    pub refused: Vec<String>,
    /// Paths of changes that decide which programs version control runs, which were left out.
    pub repositories: Vec<String>,
}

impl RunDir {
    /// Reads the workspace of a row. Without kept changes, it is the base.
    ///
    /// # Errors
    ///
    /// The base or the list of changes is missing or damaged.
    pub fn workspace(&self, row: &RowRef<'_>) -> Result<LeftFiles, RecordError> {
        let result = row.workspace.unwrap_or_default();
        let list = |file: Result<File, RecordError>, most| -> Result<_, RecordError> {
            let lines = read_list(file?, most);
            lines.map_err(|source| self.dir.error("read the workspace of", ".", source))
        };
        let base = result.base.map(|base| list(self.content(&base), MAX_BASE_ENTRIES));
        let changes = result.changes.map(|changes| list(self.artifact(&changes), MAX_CHANGES));
        let [base, changes] = [base, changes].map(|lines| lines.unwrap_or_else(|| Ok(Vec::new())));
        let tree = Tree::rebuild(&base?, &changes?).map_err(|problem| {
            let of = format!("the workspace of `{}`, attempt {}", row.trial, row.attempt);
            self.dir.refuse(ARTIFACTS, format!("{of}: {problem}"))
        })?;
        // A guest may have left a file of this name, which is before that of the workspace.
        let contents = row.artifacts.iter().rev().find(|artifact| *artifact.name == *CONTENTS);
        let contents = contents.map(|artifact| artifact.sha256);
        Ok(LeftFiles { run: self.clone(), contents, tree })
    }
}

/// Reads a list of files, which may be another user's: a line for each of at most `most` files.
fn read_list(file: File, most: usize) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for _ in 0..=most {
        let (bytes, _) = read_json_line(&mut reader, &mut line)?;
        if bytes == 0 {
            return Ok(lines);
        }
        if line.is_empty() && bytes > 1 {
            return Err(io::Error::other("its list of files is not JSON"));
        }
        lines.append(&mut line);
        lines.push(b'\n');
    }
    Err(io::Error::other(format!("its list has more than {most} files")))
}

impl LeftFiles {
    /// Opens the content of a file, which is compared with its digest while it is read.
    ///
    /// # Errors
    ///
    /// The content is missing.
    pub fn open(&self, left: &LeftEntry) -> Result<CheckedFile, RecordError> {
        let Self { run, contents, .. } = self;
        let sha256 = left.entry.sha256.unwrap_or(Digest([0; 32]));
        let (folder, digest, at) = match (left.at, contents) {
            (Some(at), Some(contents)) => (run.dir.dir(ARTIFACTS)?, contents, at),
            _ => (run.root.dir(STORE)?, &sha256, 0),
        };
        let name = digest.path();
        let part = CheckedFile::part(folder.read(&name)?, at, left.entry.bytes, sha256);
        part.map_err(|source| folder.error("read", &name, source))
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    ///
    /// The content is missing or damaged.
    pub fn read(&self, left: &LeftEntry) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::new();
        // Without a byte, there may be no contents.
        if left.entry.bytes == 0 {
            return Ok(bytes);
        }
        let read = self.open(left)?.read_to_end(&mut bytes);
        read.map_err(|source| self.run.dir.error("read the workspace of", ".", source))?;
        Ok(bytes)
    }

    /// Reads the contents of all changes.
    ///
    /// # Errors
    ///
    /// A content is missing or damaged, or shares bytes with another one.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let refuse = |left: &LeftEntry, problem: &str| {
            let path = visible_line(&left.entry.path);
            self.run.dir.refuse(ARTIFACTS, format!("the content of `{path}`: {problem}"))
        };
        let left = self.tree.changes.iter().filter_map(|change| change.after.as_ref());
        let left = left.filter(|left| left.at.is_some() && left.entry.bytes > 0);
        let parts: BTreeMap<_, _> =
            left.map(|left| ((left.at, left.entry.bytes, left.entry.sha256), left)).collect();
        let mut end = 0;
        for ((at, bytes, _), left) in parts {
            let at = at.unwrap_or_default();
            // With shared bytes, a short list could name 20,000 large contents, and take days.
            if at < end {
                return Err(refuse(left, "it shares bytes with another one"));
            }
            end = at.saturating_add(bytes);
            let read = self.open(left).and_then(|mut content| {
                let read = io::copy(&mut content, &mut io::sink());
                read.map(drop).map_err(|source| self.run.dir.error("read", ARTIFACTS, source))
            });
            read.map_err(|error| match error {
                error if error.is_exhausted() => error,
                error => refuse(left, &error.to_string()),
            })?;
        }
        Ok(())
    }

    /// Writes the files into a new folder. Links come last, so that nothing is written through one. A `git status` in the folder
    /// runs no program that the attempt chose: see [`Tree::repositories`].
    ///
    /// # Errors
    ///
    /// The folder exists, a file cannot be written to its end, or the run is foreign and its files have more than 1 GiB.
    pub fn save(&self, folder: &Path) -> Result<SavedFiles, RecordError> {
        let is_own = self.run.foreign().is_none();
        let files = self.tree.entries.values().map(|left| left.entry.bytes);
        let bytes = files.fold(0, u64::saturating_add);
        // A list of some KiB can name one large content 100,000 times.
        if !is_own && bytes > MAX_FOREIGN_BYTES {
            let [bytes, most] = show_sizes_apart(bytes, MAX_FOREIGN_BYTES);
            let problem = format!(
                "the files have {bytes}, more than the {most} that a run of another key may write; if you know who made it: {}",
                self.run.command("trust", &[])
            );
            return Err(self.run.dir.refuse(ARTIFACTS, problem));
        }
        let mode = of_user_folder();
        let parent = Dir::open_or_create(folder.parent().unwrap_or(folder), mode)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let top = parent.create_dir(&name, mode)?;
        let is_link = |left: &LeftEntry| left.entry.kind == EntryKind::Link;
        let repositories = self.tree.repositories(is_own);
        let entries = self.tree.entries.iter().filter_map(|(path, left)| {
            let left = repositories.get(&**path).map_or(Some(left), |base| *base);
            left.map(|left| (path, left))
        });
        let (links, others): (Vec<_>, Vec<_>) = entries.partition(|(_, left)| is_link(left));
        let mut saved = SavedFiles::default();
        saved.repositories.extend(repositories.keys().map(|path| (*path).to_owned()));
        for (path, left) in others.into_iter().chain(links) {
            if is_link(left) && !self.tree.stays(path) {
                saved.refused.push(path.clone());
                continue;
            }
            self.save_entry(&top, path, left)?;
            saved.files += u64::from(left.entry.kind != EntryKind::Folder);
        }
        Ok(saved)
    }

    fn save_entry(&self, top: &Dir, path: &str, left: &LeftEntry) -> Result<(), RecordError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = top.dir(parent)?;
        match (left.entry.kind, &left.entry.target) {
            (EntryKind::Link, Some(target)) => parent.create_link(name, target),
            (EntryKind::File, _) => {
                let mut copy = parent.create_with_mode(name, left.entry.mode & of_user_folder())?;
                if left.entry.bytes == 0 {
                    return Ok(());
                }
                let mut content = self.open(left)?;
                io::copy(&mut content, &mut copy).map(drop).map_err(|source| {
                    // A damaged file is not left as if it were whole.
                    let _ = parent.remove(name);
                    parent.error("write", name, source)
                })
            }
            _ => parent.create_dir(name, of_user_folder()).map(drop),
        }
    }
}

#[cfg(test)]
#[path = "tests/workspace.rs"]
mod tests;
