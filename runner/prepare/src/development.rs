//! The development form of a plugin: a loader, which is a component without the author's source, and a section with the source.
//!
//! The loader stays the same while the source changes. So does its compiled code, and an edit compiles nothing. Guests read the
//! source as a file of the contract. The `cli` crate builds the form by `[dev]` of a `plugin.toml`.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;

use runner_files::hash;
use runner_model::{Digest, cache::source_name, provider::PreparedProvider};
use runner_record::PluginCache;

use crate::{PrepareError, content_source, machine};

/// Bytes of the source. Each instance of the loader reads all of it.
pub const MAX_SOURCE: u64 = 16 << 20;
/// Name of the custom section of WASM.
const NAME: [u8; 13] = *b"runner-source";
/// Bytes before the source: the id of custom sections, the section's length in five bytes, and its name with its length.
const HEAD: usize = 1 + 5 + 1 + NAME.len();
/// End of the file, after the loader's length in eight bytes.
const MAGIC: [u8; 8] = *b"runsrc01";
/// Bytes after the source.
const TAIL: usize = 8 + MAGIC.len();

/// The loader of a development form.
pub(crate) struct Loader {
    pub(crate) digest: Digest,
    bytes: u64,
    /// Whether the cache lacked the source.
    pub(crate) is_new: bool,
}

/// Adds source of at most [`MAX_SOURCE`] bytes to a loader.
pub fn join(mut loader: Vec<u8>, source: &[u8]) -> Vec<u8> {
    let length = loader.len() as u64;
    let section = HEAD - 6 + source.len() + TAIL;
    loader.push(0);
    // LEB128 with a fixed number of bytes.
    loader.extend([0, 7, 14, 21].map(|shift| (section >> shift) as u8 | 0x80));
    loader.extend([(section >> 28) as u8, NAME.len() as u8]);
    loader.extend(NAME);
    loader.extend(source);
    loader.extend(length.to_le_bytes());
    loader.extend(MAGIC);
    loader
}

/// Returns whether the cache has the source of a plugin, which it has from an inspection on.
pub fn is_development(cache: &PluginCache, plugin: &Digest) -> bool {
    cache.open_entry(&source_name(plugin)).is_some()
}

/// Returns whether a plugin of a provider is a development form.
pub fn is_any(providers: &[PreparedProvider], cache: &PluginCache) -> bool {
    providers.iter().any(|prepared| is_development(cache, &prepared.digest))
}

/// Returns a notice for each provider whose plugin is a development form.
pub fn notices(providers: &[PreparedProvider], cache: &PluginCache) -> Vec<String> {
    let mut providers = providers.to_vec();
    providers.retain(|prepared| is_development(cache, &prepared.digest));
    let notice = |PreparedProvider { provider, .. }: &PreparedProvider| {
        let (role, name, plugin) = (provider.role(), &provider.name, &provider.plugin);
        format!(
            "{role} `{name}`: development form of `{plugin}`; `runner plugin build` builds the final form"
        )
    };
    providers.iter().map(notice).collect()
}

impl Loader {
    /// Finds the loader in a plugin's file, and keeps the source in the cache, where workers read it. `None` for other plugins.
    pub(crate) fn find(
        cache: &PluginCache,
        plugin: &Digest,
        mut file: &File,
    ) -> Result<Option<Self>, PrepareError> {
        let Some((bytes, source)) = divide(file).map_err(failed)? else { return Ok(None) };
        let name = source_name(plugin);
        let known = cache.read(&name).unwrap_or_default();
        // A guest must not run other source than that of its plugin, whatever has damaged the cache.
        if let Some((digest, rest)) = known.split_first_chunk::<64>()
            && let Some(digest) = Digest::parse(&String::from_utf8_lossy(digest))
            && rest == source
        {
            return Ok(Some(Self { digest, bytes, is_new: false }));
        }
        file.rewind().map_err(failed)?;
        let (digest, _) = hash(file.take(bytes), io::sink()).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let mut entry = cache.draft()?;
        entry.write_all(format!("{digest}").as_bytes()).map_err(failed)?;
        entry.write_all(&source).map_err(failed)?;
        cache.keep(entry, &name)?;
        Ok(Some(Self { digest, bytes, is_new: true }))
    }

    /// Returns an unnamed copy of the loader in a plugin's file.
    pub(crate) fn copy(&self, mut plugin: &File) -> Result<File, PrepareError> {
        let mut copy = tempfile::tempfile().map_err(failed)?;
        plugin.rewind().map_err(failed)?;
        content_source::copy(plugin.take(self.bytes), &mut copy).map_err(failed)?;
        Ok(copy)
    }
}

/// Returns whether a file is a development form.
pub(crate) fn is_form(plugin: &File) -> bool {
    matches!(divide(plugin), Ok(Some(_)))
}

/// Returns the loader's length and the source. `None` if the file is not a development form.
fn divide(plugin: &File) -> io::Result<Option<(u64, Vec<u8>)>> {
    let length = plugin.metadata()?.len();
    let mut tail = [0; TAIL];
    let Some(end) = length.checked_sub(TAIL as u64) else { return Ok(None) };
    plugin.read_exact_at(&mut tail, end)?;
    let (loader, magic) = tail.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let loader = u64::from_le_bytes(*loader);
    let source = loader.checked_add(HEAD as u64).and_then(|start| end.checked_sub(start));
    let Some(bytes) = source.filter(|bytes| *magic == MAGIC && *bytes <= MAX_SOURCE) else {
        return Ok(None);
    };
    let mut source = vec![0; bytes as usize];
    plugin.read_exact_at(&mut source, loader + HEAD as u64)?;
    Ok(Some((loader, source)))
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: io::Error) -> PrepareError {
    PrepareError::Machine(machine::failure("cannot read a plugin", error))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use runner_model::{cache::source_name, digest};
    use runner_record::PluginCache;

    use super::{Loader, is_development, join};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn source_is_separated_from_its_loader() {
        let folder = tempfile::tempdir().unwrap();
        let cache = PluginCache::open_at(folder.path()).unwrap();
        for source in ["", "print(1)"] {
            let plugin = join(b"a loader".to_vec(), source.as_bytes());
            // The section's length is that of the rest of the file.
            assert_eq!(usize::from(plugin[9] & 0x7f), plugin.len() - b"a loader".len() - 6);
            let sha256 = digest(&plugin);
            assert!(!is_development(&cache, &sha256));
            for is_new in [true, false] {
                let loader = Loader::find(&cache, &sha256, &file(&plugin)).unwrap().unwrap();
                assert_eq!((loader.digest, loader.is_new), (digest(b"a loader"), is_new));
                let mut copy = loader.copy(&file(&plugin)).unwrap();
                assert_eq!(std::io::read_to_string(&mut copy).unwrap(), "a loader");
            }
            assert!(is_development(&cache, &sha256));
            let entry = cache.read(&source_name(&sha256)).unwrap();
            assert_eq!(entry[64..], *source.as_bytes());
        }
    }

    #[test]
    fn other_ends_of_files_are_not_source() {
        let folder = tempfile::tempdir().unwrap();
        let cache = PluginCache::open_at(folder.path()).unwrap();
        let plugin = join(b"a loader".to_vec(), b"print(1)");
        let length = plugin.len();
        let mut long = plugin.clone();
        long[length - 16..length - 8].fill(0xff);
        for other in [&plugin[..length - 1], &plugin[length - 16..], &long, b"runsrc01", b""] {
            assert!(Loader::find(&cache, &digest(other), &file(other)).unwrap().is_none());
        }
    }
}
