//! [`Cache`]: compiled plugins on disk, named by what they were compiled from and by what compiled them.
//!
//! An artefact is machine code, and is run as it is. So it is loaded only from a folder that nobody else can change, nor
//! any folder above it, and through the very handles on which that was seen (`private.rs`). There is no key by which
//! artefacts are signed: whoever can put one into such a folder can read a key of the same user as well.

use std::{
    fs::{File, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read, Seek as _, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::Once,
};

use crc32fast::Hasher;
use tempfile::{Builder, NamedTempFile};
use wasmtime::Engine;

use super::{
    artefact::{Code, CodeForm, MAX_ARTEFACT_BYTES, deserialize},
    private::{open_file, open_private, path_of},
};
use crate::model::Digest;

/// Counted up when a file is compiled in another way without a change that wasmtime sees.
const MAKE: u32 = 2;
/// How the names of files begin that are being written.
const DRAFT: &str = ".draft-";

/// What an artefact in the cache ends with: the CRC-32 of all bytes before it.
type Seal = [u8; 4];

/// Artefacts in a directory of our own.
pub(in crate::plugin) struct Cache {
    dir: PathBuf,
    compatibility: u64,
    /// Why it cannot be used is said once, not for each plugin.
    warning: Once,
}

/// The name of an artefact.
#[derive(Clone, Copy)]
pub(in crate::plugin) struct CacheKey {
    pub(in crate::plugin) sha256: Digest,
    pub(in crate::plugin) form: CodeForm,
}

/// A file that an artefact is written to.
pub(in crate::plugin) enum Draft {
    /// In the cache, before it has its name there.
    InCache {
        file: NamedTempFile,
        /// The cache, through which it is named: the file's own path leads through this handle.
        folder: OwnedFd,
    },
    /// Where nothing can be kept: it never has a name, so nobody leaves it behind.
    Unnamed(File),
}

impl Cache {
    pub(in crate::plugin) fn new(dir: PathBuf, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        MAKE.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            dir,
            compatibility: hasher.finish(),
            warning: Once::new(),
        }
    }

    /// Loads an artefact; anything that is wrong with it is a miss.
    pub(in crate::plugin) fn load(&self, engine: &Engine, key: CacheKey) -> Option<Code> {
        let folder = open_private(&self.dir).ok()?;
        let name = self.name(key);
        let loaded = open_file(&folder, &name)
            .and_then(|file| check_seal(&file).map(|()| file))
            .map_err(wasmtime::Error::from)
            .and_then(|file| deserialize(engine, key.form, file));
        match loaded {
            Ok(code) => Some(code),
            Err(error) => {
                tracing::debug!(name, "no usable artefact: {error:#}");
                None
            }
        }
    }

    /// Opens a file for a new artefact: in the cache, or if that cannot be used without a name.
    pub(in crate::plugin) fn draft(&self) -> io::Result<Draft> {
        let error = match self.draft_in_cache() {
            Ok(draft) => return Ok(draft),
            Err(error) => error,
        };
        self.warning.call_once(|| {
            tracing::warn!(
                "the compile cache `{}` cannot be used, and plugins are compiled anew each time: {error}; `RUNNER_CACHE` \
                 names another folder",
                self.dir.display()
            );
        });
        Ok(Draft::Unnamed(tempfile::tempfile()?))
    }

    /// Loads a finished artefact and keeps it for the next time.
    pub(in crate::plugin) fn load_and_keep(
        &self,
        engine: &Engine,
        key: CacheKey,
        draft: Draft,
    ) -> wasmtime::Result<Code> {
        // In this order, so that the folder is still open where the file is removed.
        let (folder, file) = match draft {
            Draft::Unnamed(file) => return deserialize(engine, key.form, file),
            Draft::InCache { file, folder } => (folder, file),
        };
        seal(file.as_file())?;
        let code = deserialize(engine, key.form, file.as_file().try_clone()?)?;
        // The name must not appear before the bytes are there for good.
        let kept = file.as_file().sync_all().and_then(|()| {
            let path = self.path_through(&folder).join(self.name(key));
            file.persist(path).map_err(|error| error.error)
        });
        if let Err(error) = kept {
            tracing::warn!(dir = %self.dir.display(), "cannot keep a compiled plugin: {error}");
        }
        Ok(code)
    }

    fn draft_in_cache(&self) -> io::Result<Draft> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let folder = open_private(&self.dir)?;
        let path = self.path_through(&folder);
        sweep(&path);
        loop {
            let file = Builder::new().prefix(DRAFT).tempfile_in(&path)?;
            // Whoever writes to it holds the lock, the compiling child included.
            let locked = file.as_file().try_lock();
            // Before it was locked, a sweep may have taken it for left over. Where there are no locks, none is swept.
            if !matches!(locked, Err(TryLockError::WouldBlock)) && file.path().exists() {
                return Ok(Draft::InCache { file, folder });
            }
        }
    }

    /// A path that leads through the handle, where the system has such paths for folders. Elsewhere it is the folder's own,
    /// which nobody else can change.
    fn path_through(&self, folder: &OwnedFd) -> PathBuf {
        if cfg!(target_os = "linux") {
            path_of(folder)
        } else {
            self.dir.clone()
        }
    }

    fn name(&self, key: CacheKey) -> String {
        let form = match key.form {
            CodeForm::Component => "component",
            CodeForm::Module => "module",
        };
        format!("{}-{:016x}.{form}", key.sha256, self.compatibility)
    }
}

impl Draft {
    /// A handle to write through.
    pub(in crate::plugin) fn writer(&self) -> io::Result<File> {
        match self {
            Self::InCache { file, .. } => file.as_file().try_clone(),
            Self::Unnamed(file) => file.try_clone(),
        }
    }
}

/// Removes the drafts whose writers have died. What cannot be removed is left for the next time.
fn sweep(dir: &Path) {
    let Ok(entries) = fs_err::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let is_draft = entry.file_name().to_string_lossy().starts_with(DRAFT);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_draft
            && is_file
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
            && let Err(error) = fs_err::remove_file(entry.path())
        {
            tracing::debug!("cannot remove what a dead process has left: {error}");
        }
    }
}

/// Ends an artefact with its checksum.
fn seal(mut file: &File) -> io::Result<()> {
    file.rewind()?;
    let seal = checksum(file)?;
    file.write_all(&seal)
}

/// Refuses an artefact that is not what was written: a damaged one would be run all the same.
fn check_seal(mut file: &File) -> io::Result<()> {
    let bytes = file.metadata()?.len();
    if bytes > MAX_ARTEFACT_BYTES + size_of::<Seal>() as u64 {
        return Err(io::Error::other("it is larger than any artefact"));
    }
    let sealed = bytes.saturating_sub(size_of::<Seal>() as u64);
    let expected = checksum(Read::take(&mut file, sealed))?;
    let mut found = Seal::default();
    file.read_exact(&mut found)?;
    if found != expected {
        return Err(io::Error::other("its checksum is wrong"));
    }
    Ok(())
}

fn checksum(mut reader: impl Read) -> io::Result<Seal> {
    let mut hasher = Hasher::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut block)? {
            0 => return Ok(hasher.finalize().to_le_bytes()),
            bytes => hasher.update(&block[..bytes]),
        }
    }
}
