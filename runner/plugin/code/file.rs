//! [`PluginFile`]: a plugin's file, read, hashed and sniffed.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use bytesize::ByteSize;
use thiserror::Error;

use super::{
    bundled::{bundled, others},
    footprint::Footprint,
    sniff::{Kind, sniff},
    sniff_error::SniffError,
};
use crate::model::Digest;

/// A plugin's file as it was when it was looked at, known by its digest. A run may have many, so its bytes are read again
/// by whoever needs them, and are those that were looked at or nothing.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// The name of its bytes.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where its bytes are.
    pub content: PluginContent,
    /// What its instances cost the host.
    pub(in crate::plugin) footprint: Footprint,
}

/// Where the bytes of a plugin's file are.
#[derive(Clone, Debug)]
pub enum PluginContent {
    /// In memory.
    Memory(Bytes),
    /// In this file.
    File(PathBuf),
}

/// Why a file cannot be used as a plugin.
#[derive(Debug, Error)]
pub enum PluginFileError {
    /// There is no such file.
    #[error("plugin `{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one, but it cannot be read.
    #[error("cannot read plugin `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The binary carries none of this name.
    #[error("the runner carries no plugin `{}`; {}", path.display(), others())]
    NotBundled {
        /// `bundled:NAME`.
        path: PathBuf,
    },
    /// It is a folder, a pipe or a device.
    #[error("plugin `{}` is not a regular file", path.display())]
    Irregular {
        /// The file.
        path: PathBuf,
    },
    /// It was replaced or written to since it was looked at.
    #[error("plugin `{}` has changed since this command began; try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It has more bytes than `limits.file` allows.
    #[error("plugin `{}` is larger than `limits.file`, which is {}", path.display(), ByteSize(*limit))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Its content is not a plugin.
    #[error("plugin `{}` {reason}", path.display())]
    NoPlugin {
        /// The file.
        path: PathBuf,
        /// What it is instead; completes the sentence.
        reason: SniffError,
    },
}

impl PluginFile {
    /// Reads, hashes and sniffs the file at `path`.
    pub fn read(path: &Path, max_bytes: u64) -> Result<Self, PluginFileError> {
        Self::read_as(path, path, max_bytes)
    }

    /// Reads, hashes and sniffs the file at `content`, such as one of the content store; `path` is for messages and for
    /// `argv[0]`.
    pub fn read_as(path: &Path, content: &Path, max_bytes: u64) -> Result<Self, PluginFileError> {
        if let Some(bytes) = read_bundled(content, max_bytes) {
            let bytes = bytes?;
            return Self::sniff(path, &bytes, PluginContent::Memory(bytes.clone()));
        }
        let bytes = Self::read_bytes(content, max_bytes)?;
        Self::sniff(path, &bytes, PluginContent::File(content.into()))
    }

    /// The same file, whose bytes are at `content` now.
    pub fn moved_to(&self, content: PathBuf) -> Self {
        Self {
            content: PluginContent::File(content),
            ..self.clone()
        }
    }

    /// Reads the bytes again, all of them.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or are not the same any more.
    pub fn bytes(&self) -> Result<Bytes, PluginFileError> {
        let path = match &self.content {
            PluginContent::Memory(bytes) => return Ok(bytes.clone()),
            PluginContent::File(path) => path,
        };
        let changed = || PluginFileError::Changed { path: path.clone() };
        let bytes = Self::read_bytes(path, self.size).map_err(|error| match error {
            PluginFileError::TooLarge { .. } => changed(),
            error => error,
        })?;
        if Digest::of(&bytes) != self.sha256 {
            return Err(changed());
        }
        Ok(bytes.into())
    }

    /// Reads the bytes of the file at `path`, whatever they are.
    ///
    /// # Errors
    ///
    /// Fails if it is not a regular file, has more than `max_bytes`, or cannot be read.
    pub fn read_bytes(path: &Path, max_bytes: u64) -> Result<Vec<u8>, PluginFileError> {
        if let Some(bytes) = read_bundled(path, max_bytes) {
            return bytes.map(Vec::from);
        }
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => PluginFileError::Missing { path: path.into() },
            _ => PluginFileError::Unreadable {
                path: path.into(),
                source,
            },
        };
        // Before it is opened: opening a pipe waits for whoever writes into it.
        if !fs_err::metadata(path).map_err(unreadable)?.is_file() {
            return Err(PluginFileError::Irregular { path: path.into() });
        }
        let bytes = read_bounded(path, max_bytes).map_err(unreadable)?;
        bytes.ok_or(PluginFileError::TooLarge {
            path: path.into(),
            limit: max_bytes,
        })
    }

    /// Takes bytes that were read elsewhere; `path` is for messages and for `argv[0]`.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, PluginFileError> {
        let bytes = Bytes::from(bytes);
        Self::sniff(path, &bytes, PluginContent::Memory(bytes.clone()))
    }

    fn sniff(path: &Path, bytes: &[u8], content: PluginContent) -> Result<Self, PluginFileError> {
        let (kind, footprint) = sniff(bytes).map_err(|reason| PluginFileError::NoPlugin {
            path: path.into(),
            reason,
        })?;
        Ok(Self {
            path: path.into(),
            kind,
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            content,
            footprint,
        })
    }
}

/// The bytes of a plugin that the binary carries; `None` if the path names a file.
fn read_bundled(path: &Path, max_bytes: u64) -> Option<Result<Bytes, PluginFileError>> {
    let bytes = bundled(path)?.ok_or_else(|| PluginFileError::NotBundled { path: path.into() });
    Some(
        bytes.and_then(|bytes| match bytes.len() as u64 > max_bytes {
            true => Err(PluginFileError::TooLarge {
                path: path.into(),
                limit: max_bytes,
            }),
            false => Ok(bytes),
        }),
    )
}

/// `None` if there is more; reads no more than one byte over the limit, whatever the file says of its size.
fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let (file, most) = (fs_err::File::open(path)?, max_bytes.saturating_add(1));
    // At once: what grows leaves behind as much again.
    let size = file.metadata()?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::PluginFile;

    #[test]
    fn every_bad_file_has_its_own_message() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str, content: Option<&[u8]>| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                fs_err::write(&path, content).unwrap();
            }
            let error = PluginFile::read(&path, 16).unwrap_err().to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };

        assert_eq!(message("a.wasm", None), "plugin `a.wasm` does not exist");
        assert_eq!(message("b.wasm", Some(b"")), "plugin `b.wasm` is empty");
        assert_eq!(
            message("c.wasm", Some(b"hello")),
            "plugin `c.wasm` is not WASM"
        );
        assert_eq!(
            message("d.wasm", Some(&[0; 17])),
            "plugin `d.wasm` is larger than `limits.file`, which is 16 B"
        );
        assert_eq!(
            message("e.wasm", Some(b"\0asm\x01\0\0\0")),
            "plugin `e.wasm` is a module without `_start`, so it is a library and not a command; build it as a program \
             for WASI"
        );
    }
}
