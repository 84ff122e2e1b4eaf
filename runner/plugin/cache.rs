//! [`Cache`]: compiled plugins on disk, named by what they were compiled from and by what compiled them.

use std::{
    fs::{File, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crc32fast::Hasher;
use tempfile::{Builder, NamedTempFile};
use wasmtime::{Engine, Module, component::Component};

use crate::model::Digest;

/// How the names of files begin that are being written.
const DRAFT: &str = ".draft-";

/// What an artefact in the cache ends with: the CRC-32 of all bytes before it.
type Seal = [u8; 4];

/// Artefacts in a directory of our own.
pub(super) struct Cache {
    dir: PathBuf,
    compatibility: u64,
}

/// The name of an artefact.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) sha256: Digest,
    pub(super) form: Form,
}

/// The two forms of compiled code.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Component,
    Module,
}

/// Loaded code.
pub(super) enum Code {
    Component(Component),
    Module(Module),
}

/// A file that an artefact is written to before it has its name.
pub(super) struct Draft {
    file: NamedTempFile,
    /// Whether it lies where it can be kept.
    is_in_cache: bool,
}

impl Cache {
    pub(super) fn new(dir: PathBuf, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            dir,
            compatibility: hasher.finish(),
        }
    }

    /// Loads an artefact; anything that is wrong with it is a miss.
    pub(super) fn load(&self, engine: &Engine, key: Key) -> Option<Code> {
        is_private(&self.dir)
            .ok()
            .filter(|is_private| *is_private)?;
        let path = self.path(key);
        let loaded = check_seal(&path)
            .map_err(wasmtime::Error::from)
            .and_then(|()| deserialize(engine, key.form, &path));
        match loaded {
            Ok(code) => Some(code),
            Err(error) => {
                tracing::debug!(path = %path.display(), "no usable artefact: {error:#}");
                None
            }
        }
    }

    /// Opens a file for a new artefact: in the cache, or if that cannot be used in the system's temporary directory.
    pub(super) fn draft(&self) -> io::Result<Draft> {
        match self.draft_in_cache() {
            Ok(file) => Ok(Draft {
                file,
                is_in_cache: true,
            }),
            Err(error) => {
                tracing::warn!(
                    "the compile cache `{}` cannot be used: {error}",
                    self.dir.display()
                );
                Ok(Draft {
                    file: NamedTempFile::new()?,
                    is_in_cache: false,
                })
            }
        }
    }

    /// Loads a finished artefact and keeps it for the next time.
    pub(super) fn load_and_keep(
        &self,
        engine: &Engine,
        key: Key,
        draft: Draft,
    ) -> wasmtime::Result<Code> {
        seal(draft.file.as_file())?;
        let code = deserialize(engine, key.form, draft.file.path())?;
        if draft.is_in_cache {
            // The name must not appear before the bytes are there for good.
            let kept = draft.file.as_file().sync_all().and_then(|()| {
                draft
                    .file
                    .persist(self.path(key))
                    .map_err(|error| error.error)
            });
            if let Err(error) = kept {
                tracing::warn!(dir = %self.dir.display(), "cannot keep a compiled plugin: {error}");
            }
        }
        Ok(code)
    }

    fn draft_in_cache(&self) -> io::Result<NamedTempFile> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        if !is_private(&self.dir)? {
            return Err(io::Error::other("others may write to it"));
        }
        sweep(&self.dir);
        loop {
            let file = Builder::new().prefix(DRAFT).tempfile_in(&self.dir)?;
            // Whoever writes to it holds the lock, the compiling child included.
            let locked = file.as_file().try_lock();
            // Before it was locked, a sweep may have taken it for left over. Where there are no locks, none is swept.
            if !matches!(locked, Err(TryLockError::WouldBlock)) && file.path().exists() {
                return Ok(file);
            }
        }
    }

    fn path(&self, key: Key) -> PathBuf {
        let form = match key.form {
            Form::Component => "component",
            Form::Module => "module",
        };
        self.dir
            .join(format!("{}-{:016x}.{form}", key.sha256, self.compatibility))
    }
}

impl Code {
    /// The bytes of its machine code and data.
    pub(super) fn size(&self) -> u64 {
        let image = match self {
            Self::Component(component) => component.image_range(),
            Self::Module(module) => module.image_range(),
        };
        (image.end.addr() - image.start.addr()) as u64
    }
}

impl Draft {
    /// A handle to write through.
    pub(super) fn writer(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
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

/// Whether nobody else can put files there: an artefact is machine code, and is trusted.
fn is_private(dir: &Path) -> io::Result<bool> {
    let metadata = fs_err::metadata(dir)?;
    let is_mine = metadata.uid() == rustix::process::geteuid().as_raw();
    Ok(is_mine && metadata.mode() & 0o022 == 0)
}

/// Ends an artefact with its checksum.
fn seal(mut file: &File) -> io::Result<()> {
    file.rewind()?;
    let seal = checksum(file)?;
    file.write_all(&seal)
}

/// Refuses an artefact that is not what was written: a damaged one would be run all the same.
fn check_seal(path: &Path) -> io::Result<()> {
    let mut file = fs_err::File::open(path)?;
    let bytes = file.metadata()?.len();
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

#[expect(
    unsafe_code,
    reason = "the one place where our own compiled artefacts are loaded"
)]
fn deserialize(engine: &Engine, form: Form, path: &Path) -> wasmtime::Result<Code> {
    // SAFETY: the file was written by our own compiler, into a directory that is ours alone or under a fresh private
    // name, and is never written to afterwards. Damage is found by the checksum, another wasmtime by the header.
    unsafe {
        Ok(match form {
            Form::Component => Code::Component(Component::deserialize_file(engine, path)?),
            Form::Module => Code::Module(Module::deserialize_file(engine, path)?),
        })
    }
}
