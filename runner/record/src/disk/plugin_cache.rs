//! [`PluginCache`]: the folder of compiled plugins.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs::File, os::unix::fs::MetadataExt as _, time::Duration};

use runner_model::{Digest, Time, cache::is_compile_key};

use crate::RecordError;
use crate::disk::beneath::Dir;
use crate::disk::fault::now;
use crate::disk::permissions::{PRIVATE, check_trust};

/// Time after which an unused entry is removed.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time for which an entry stays in any case: a session may be about to load it.
const IN_USE: Duration = Duration::from_secs(3600);
/// Bytes of all entries.
const MOST_BYTES: u64 = 5 << 30;

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

    /// Syncs a draft and names it. Replaces an entry of that name. Then removes unused entries.
    #[expect(clippy::needless_pass_by_value, reason = "the draft is used up")]
    pub fn keep(&self, draft: File, name: &str) -> Result<(), RecordError> {
        draft.sync_all().map_err(|source| self.0.error("sync", name, source))?;
        self.0.place(&draft, name)?;
        self.trim(now(), MOST_BYTES);
        Ok(())
    }

    /// Removes entries that were not used for [`UNUSED`], and those that were unused longest until the rest has at most `most`
    /// bytes. Entries that cannot be removed only take space.
    fn trim(&self, now: Time, most: u64) {
        let entry = |name: String| {
            // The folder may contain other files of the user.
            let (_, end) = (Digest::parse(name.get(..64)?)?, &name[64..]);
            let key = end.strip_prefix('-').map(|key| key.strip_suffix("-quick").unwrap_or(key));
            if ![".json", ".files"].contains(&end) && !key.is_some_and(is_compile_key) {
                return None;
            }
            let found = self.0.read(&name).ok()?.metadata().ok()?;
            // Every read sets the time of access, at least once a day on most systems.
            let used = found.accessed().ok()?.max(found.modified().ok()?);
            Some((now.since(used.into()), found.len(), name))
        };
        let names = self.0.names().unwrap_or_default();
        let mut entries: Vec<_> = names.into_iter().filter_map(entry).collect();
        entries.sort();
        let mut size = 0;
        for (unused, length, name) in entries {
            size += length;
            if unused > UNUSED || size > most && unused > IN_USE {
                let _ = self.0.remove(&name);
            }
        }
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
    let home = folder("HOME").ok_or(RecordError::NoCache)?;
    Ok(Path::new(&home).join(".cache/runner"))
}

#[cfg(test)]
#[path = "tests/plugin_cache.rs"]
mod tests;
