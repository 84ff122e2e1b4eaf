//! [`PluginCache`]: the folder of compiled plugins.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::{fs::File, os::unix::fs::MetadataExt as _};

use crate::RecordError;
use crate::disk::beneath::Dir;
use crate::disk::permissions::{PRIVATE, check_trust};

/// The folder of compiled plugins: `RUNNER_CACHE`, else `$XDG_CACHE_HOME/runner`, else `~/.cache/runner`. Compiled
/// plugins are loaded without further checks, so only the user may be able to write to it.
#[derive(Clone, Debug)]
pub struct PluginCache(Dir);

impl PluginCache {
    /// Opens the folder, and creates it if it is missing.
    pub fn open() -> Result<Self, RecordError> {
        Self::open_at(&place()?)
    }

    /// Opens the folder at this path, and creates it if it is missing.
    pub fn open_at(path: &Path) -> Result<Self, RecordError> {
        let what = "use the plugin cache (`RUNNER_CACHE` names another one)";
        let refused = |source| RecordError::io(what, path, source);
        Dir::open_or_create(path, PRIVATE)?;
        let path = path.canonicalize().map_err(refused)?;
        check_trust(&path).map_err(refused)?;
        Ok(Self(Dir::open(&path)?))
    }

    /// Returns the absolute path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Reads an entry. `None` if it is missing or belongs to another user.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut entry = self.0.read(name).ok()?;
        let user = rustix::process::geteuid().as_raw();
        if entry.metadata().ok()?.uid() != user {
            return None;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Creates an unnamed file for `__compile` to write to.
    pub fn draft(&self) -> Result<File, RecordError> {
        self.0.unnamed()
    }

    /// Syncs a draft and names it. Replaces an entry of that name.
    #[expect(clippy::needless_pass_by_value, reason = "the draft is used up")]
    pub fn keep(&self, draft: File, name: &str) -> Result<(), RecordError> {
        draft.sync_all().map_err(|source| self.0.error("sync", name, source))?;
        self.0.place(&draft, name)
    }
}

fn place() -> Result<PathBuf, RecordError> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = folder("RUNNER_CACHE") {
        return Ok(folder.into());
    }
    if let Some(folder) = folder("XDG_CACHE_HOME") {
        return Ok(Path::new(&folder).join("runner"));
    }
    let home = folder("HOME").ok_or_else(|| {
        let problem = "HOME is not set: set RUNNER_CACHE to a folder of yours";
        let (what, path) = ("find the plugin cache", Path::new("~/.cache/runner"));
        RecordError::io(what, path, io::Error::other(problem))
    })?;
    Ok(Path::new(&home).join(".cache/runner"))
}

#[cfg(test)]
#[path = "tests/plugin_cache.rs"]
mod tests;
