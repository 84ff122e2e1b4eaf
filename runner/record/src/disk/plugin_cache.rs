//! [`PluginCache`]: the folder of compiled plugins, and of tables of results.

use std::path::{Path, PathBuf};
use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt as _, time::Duration};

use runner_files::DigestCache;
use runner_model::{Digest, Time, cache::is_key_and_form};

use crate::disk::permissions::{PRIVATE, check_trust};
use crate::{RecordError, disk::beneath::Dir, disk::fault::now};

/// Time after which an unused entry is removed.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time for which an entry stays in any case: a session may be about to load it.
const IN_USE: Duration = Duration::from_secs(3600);
/// End of the name of a table of results, after 64 hexadecimal digits.
pub const TABLE: &str = ".table";
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
        let mut bytes = Vec::new();
        self.open_entry(name)?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Opens an entry for reading. `None` if it is missing or belongs to another user.
    pub fn open_entry(&self, name: &str) -> Option<File> {
        let entry = self.0.read(name).ok()?;
        let user = rustix::process::geteuid().as_raw();
        (entry.metadata().ok()?.uid() == user).then_some(entry)
    }

    /// Creates an unnamed file for the content of an entry.
    pub fn draft(&self) -> Result<File, RecordError> {
        self.0.unnamed()
    }

    /// Syncs a draft and names it. Replaces an entry of that name. Then removes unused entries.
    #[expect(clippy::needless_pass_by_value, reason = "the draft is used up")]
    pub fn keep(&self, draft: File, name: &str) -> Result<(), RecordError> {
        draft.sync_all().map_err(|source| self.0.error("sync", name, source))?;
        self.keep_unsynced(&draft, name)
    }

    /// Names a draft, as [`Self::keep`] does. A loss of power may damage the entry, so its content has to have a checksum.
    pub fn keep_unsynced(&self, draft: &File, name: &str) -> Result<(), RecordError> {
        self.0.place(draft, name)?;
        self.trim(now(), MOST_BYTES);
        Ok(())
    }

    /// Removes entries that were not used for [`UNUSED`], and those that were unused longest until the rest has at most `most`
    /// bytes. Entries that cannot be removed only take space.
    fn trim(&self, now: Time, most: u64) {
        let names = self.0.names().unwrap_or_default();
        let entries = names.into_iter().filter_map(|name| {
            // The folder may contain other files of the user.
            let _ = Digest::parse(name.get(..64)?)?;
            let end = &name[64..];
            let ends = [".json", ".files", ".source", ".loader", TABLE];
            if !ends.contains(&end) && !end.strip_prefix('-').is_some_and(is_key_and_form) {
                return None;
            }
            let found = self.0.read(&name).ok()?.metadata().ok()?;
            // Every read sets the time of access, at least once a day on most systems.
            let used = found.accessed().ok()?.max(found.modified().ok()?);
            Some((now.since(used.into()), found.len(), name))
        });
        let mut entries: Vec<_> = entries.collect();
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

impl DigestCache for PluginCache {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        Self::read(self, name)
    }

    fn keep(&self, name: &str, entry: &[u8]) {
        // It has a checksum, so a loss of power may damage it. A sync and a look at all entries take milliseconds, and a scenario may
        // have hundreds of folders. Plugins and tables remove unused entries.
        let _ = self.0.unnamed_with(entry).and_then(|draft| self.0.place(&draft, name));
    }
}

fn place() -> Result<PathBuf, RecordError> {
    let places = [("RUNNER_CACHE", ""), ("XDG_CACHE_HOME", "runner"), ("HOME", ".cache/runner")];
    let mut places = places.into_iter().filter_map(|(name, inner)| {
        let folder = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(if inner.is_empty() { folder.into() } else { Path::new(&folder).join(inner) })
    });
    places.next().ok_or(RecordError::NoCache)
}

#[cfg(test)]
#[path = "tests/plugin_cache.rs"]
mod tests;
