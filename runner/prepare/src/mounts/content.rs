//! [`FolderReader`]: digests of the content of granted folders, with a cache of the digests of files.
//!
//! A digest covers what guests can see and that decides their outputs: names, kinds, bytes, and the texts of symbolic links.
//! Links are not followed. Times, owners and permissions are left out.

use std::io;
use std::path::{Path, PathBuf};

use runner_files::{Content, TooLarge, TreeReader};
use runner_model::provider::{FolderContent, MountedFolder, PreparedProvider};
use runner_model::visible::{cut, shown_path, visible_line};
use runner_model::{Digest, grants::FsMode};
use runner_record::PluginCache;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// Prefix of the hashed bytes. A change of the recipe needs a new number.
const RECIPE: &[u8] = b"runner-folder-1\0";
/// Files, folders and links of a folder whose content is read.
const MOST_FILES: usize = 50_000;
/// Bytes of all files of such a folder.
const MOST_BYTES: u64 = 1 << 30;
/// Characters of a path in a message.
const SHOWN_PATH: usize = 200;

/// Reads the content of granted folders.
pub struct FolderReader<'a> {
    cache: &'a PluginCache,
    most_files: usize,
    most_bytes: u64,
}

/// Reason why a folder has no digest.
enum NoDigest {
    TooLarge(TooLarge),
    /// It is the results root.
    Results,
    Io(io::Error),
}

impl<'a> FolderReader<'a> {
    pub fn new(cache: &'a PluginCache) -> Self {
        Self { cache, most_files: MOST_FILES, most_bytes: MOST_BYTES }
    }

    /// Sets the contents of the read-only folders of providers. The results root is left out, because each run changes it.
    /// Returns notices about folders that are too large or cannot be read.
    pub fn read_all(
        &self,
        providers: &mut [PreparedProvider],
        results: Option<&Path>,
    ) -> Vec<String> {
        let results = results.and_then(place);
        let mut notices = Vec::new();
        for PreparedProvider { provider, mounts, .. } in providers {
            let folders = mounts.iter_mut().filter(|folder| folder.mode == FsMode::ReadOnly);
            for folder in folders {
                let read = self.content(folder, results.as_deref());
                folder.content = None;
                let why = match read {
                    Ok(content) => {
                        folder.content = Some(content);
                        continue;
                    }
                    Err(NoDigest::TooLarge(TooLarge(bound))) => format!("has {bound}"),
                    Err(NoDigest::Results) => "is the results root".to_owned(),
                    Err(NoDigest::Io(error)) => format!("cannot be read: {error}"),
                };
                notices.push(format!(
                    "the folder `{}`, granted to `{}` as `{}`, {why}: fingerprints leave it out, so a change of its files is not noticed",
                    folder.host, provider.name, folder.guest
                ));
            }
        }
        notices
    }

    /// Returns the folders whose content is no longer that of their mounts, each as a noun with the provider.
    pub fn changed(&self, providers: &[PreparedProvider]) -> Vec<String> {
        let mut changed = Vec::new();
        for PreparedProvider { provider, mounts, .. } in providers {
            for folder in mounts {
                let Some(content) = &folder.content else { continue };
                let read = self.digest(folder, content.without.as_deref());
                if !read.is_ok_and(|sha256| sha256 == content.sha256) {
                    let host = shown_path(Path::new(&folder.host));
                    let guest = &folder.guest;
                    let table = provider.table();
                    changed
                        .push(format!("folder {host}, `{guest}` of `{table}.{}`", provider.name));
                }
            }
        }
        changed
    }

    /// Reads the content of a folder, without the results root.
    fn content(
        &self,
        folder: &MountedFolder,
        results: Option<&Path>,
    ) -> Result<FolderContent, NoDigest> {
        let inside = results.and_then(|root| root.strip_prefix(&folder.host).ok());
        let without = match inside.map(Path::to_str) {
            Some(Some("")) => return Err(NoDigest::Results),
            // Manifests have no such path. With the results, each run would change the digest.
            Some(None) => {
                let problem = "the path of the results root in it is not UTF-8";
                return Err(NoDigest::Io(io::Error::other(problem)));
            }
            without => without.flatten().map(ToOwned::to_owned),
        };
        let sha256 = self.digest(folder, without.as_deref())?;
        Ok(FolderContent { sha256, without })
    }

    /// Returns the digest of a folder's content. Leaves out the folder at the relative path `without`.
    fn digest(&self, folder: &MountedFolder, without: Option<&str>) -> Result<Digest, NoDigest> {
        let reader = TreeReader {
            cache: Some(self.cache),
            most_entries: self.most_files,
            most_bytes: self.most_bytes,
        };
        let without = without.map(str::as_bytes);
        let entries = reader.read(Path::new(&folder.host), |path| without == Some(path));
        let mut state = Sha256::new_with_prefix(RECIPE);
        for (path, content) in entries.map_err(NoDigest::TooLarge)? {
            add(&mut state, &path, &content).map_err(NoDigest::Io)?;
        }
        Ok(Digest(state.finalize().into()))
    }
}

/// Returns the real path of the results root or, if it is missing, of the first folder that will be created for it.
fn place(root: &Path) -> Option<PathBuf> {
    let root = std::path::absolute(root).ok()?;
    let mut missing = None;
    for folder in root.ancestors() {
        match folder.canonicalize() {
            Ok(real) => return Some(missing.map_or(real.clone(), |name| real.join(name))),
            Err(_) => missing = folder.file_name(),
        }
    }
    None
}

/// Adds an entry with the lengths of its parts, so that different folders never have the same bytes.
fn add(state: &mut Sha256, path: &[u8], content: &Content) -> io::Result<()> {
    let (kind, content) = match content {
        Content::File { sha256, .. } => (b'f', &sha256.0[..]),
        Content::Link(target) => (b'l', &target[..]),
        Content::Folder => (b'd', &[][..]),
        // Guests cannot open it.
        Content::Special => (b's', &[][..]),
        Content::Unreadable(error) if !path.is_empty() && is_hidden(error) => (b'u', &[][..]),
        Content::Unreadable(error) if path.is_empty() => {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        Content::Unreadable(error) => {
            let path = cut(&String::from_utf8_lossy(path), SHOWN_PATH);
            return Err(io::Error::other(format!("`{}`: {error}", visible_line(&path))));
        }
    };
    state.update([kind]);
    for part in [path, content] {
        state.update((part.len() as u64).to_le_bytes());
        state.update(part);
    }
    Ok(())
}

/// Returns whether the runner may not read an entry, so that guests cannot either, or whether it was replaced meanwhile.
fn is_hidden(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO
        )
    )
}

#[cfg(test)]
#[path = "../tests/folder_content.rs"]
mod tests;
