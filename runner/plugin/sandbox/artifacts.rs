//! [`ArtifactCollector`]: the files that an attempt leaves, within their limits.

use std::{
    error::Error,
    io::{self, Read as _},
    iter, mem,
    path::Path,
    sync::Arc,
};

use bytesize::ByteSize;

use super::spool::{Extents, Spool, Spooled};
use crate::{
    model::{Artifact, AttemptError, ErrorClass, Limits, media_type},
    plugin::{
        contract::runner::provider::artifacts::ArtifactError,
        failure::failure,
        host_fault::{fault_error, fault_in},
    },
};

const MAX_NAME_BYTES: usize = 128;
const MAX_MEDIA_TYPE_BYTES: usize = 255;
/// How much of a file is copied at once.
const PIECE_BYTES: u64 = 64 * 1024;

/// Collects artifacts within their limits; by default there is room for none.
#[derive(Default)]
pub(in crate::plugin) struct ArtifactCollector {
    files: Vec<Unfinished>,
    /// How many bytes they have together.
    pub(in crate::plugin) bytes: u64,
    /// Why some could not be kept, if that was the machine's fault.
    pub(in crate::plugin) lost: Option<AttemptError>,
    max_files: u64,
    max_bytes: u64,
    spool: Spool,
}

/// An artifact that may still grow.
struct Unfinished {
    name: String,
    media_type: String,
    content: Extents,
}

impl ArtifactCollector {
    /// Counts artifacts, and keeps none: those of a call that is not an attempt.
    pub(super) fn uncollected(limits: &Limits) -> Self {
        Self {
            max_files: limits.artifact_files,
            max_bytes: limits.artifacts,
            ..Self::default()
        }
    }

    /// Keeps artifacts; what is too much for memory in a file that is made in `folder`.
    pub(super) fn kept_in(folder: &Path, limits: &Limits) -> Self {
        Self {
            spool: Spool::new(folder),
            ..Self::uncollected(limits)
        }
    }

    /// Adds a whole file of `size` bytes, or says why not.
    pub(in crate::plugin) fn keep<R: io::Read>(
        &mut self,
        name: &str,
        size: u64,
        open: impl FnOnce() -> io::Result<R>,
    ) -> Result<(), String> {
        if self.files.iter().any(|file| file.name == name) {
            return Err("there is an artifact of this name".to_owned());
        }
        if self.files.len() as u64 >= self.max_files {
            return Err(format!("over `limits.artifact_files`, {}", self.max_files));
        }
        if self.bytes.saturating_add(size) > self.max_bytes {
            let most = ByteSize(self.max_bytes);
            return Err(format!("over `limits.artifacts`, {most}"));
        }
        let mut source = open().map_err(|error| error.to_string())?.take(size);
        let mut content = Extents::default();
        let mut buffer = vec![0; usize::try_from(size.min(PIECE_BYTES)).unwrap_or_default()];
        loop {
            let read = source.read(&mut buffer);
            let piece = match read.map_err(|error| error.to_string())? {
                0 => break,
                length => &buffer[..length],
            };
            let kept = self.spool.append(&mut content, piece);
            kept.map_err(|error| self.lose(&error))?;
        }
        self.bytes += content.length();
        self.files.push(Unfinished {
            name: name.to_owned(),
            media_type: media_type(name).to_owned(),
            content,
        });
        Ok(())
    }

    /// Adds a chunk to a file, which is made where it is not there.
    pub(in crate::plugin) fn append(
        &mut self,
        name: String,
        media_type: String,
        chunk: &[u8],
    ) -> Result<(), ArtifactError> {
        if !is_artifact_name(&name) || media_type.len() > MAX_MEDIA_TYPE_BYTES {
            return Err(ArtifactError::BadName);
        }
        // What came after a hole would not be where the guest has put it.
        if self.lost.is_some() {
            return Err(ArtifactError::Unavailable);
        }
        let known = self.files.iter().position(|file| file.name == name);
        if known.is_none() && self.files.len() as u64 >= self.max_files {
            return Err(ArtifactError::TooMany);
        }
        let bytes = self.bytes + chunk.len() as u64;
        if bytes > self.max_bytes {
            return Err(ArtifactError::TooLarge);
        }

        let mut fresh = Extents::default();
        let content = match known {
            Some(index) => &mut self.files[index].content,
            None => &mut fresh,
        };
        if let Err(error) = self.spool.append(content, chunk) {
            self.lose(&error);
            return Err(ArtifactError::Unavailable);
        }
        self.bytes = bytes;
        if known.is_none() {
            self.files.push(Unfinished {
                name,
                media_type,
                content: fresh,
            });
        }
        Ok(())
    }

    /// Takes what was kept; what comes afterwards is not.
    pub(in crate::plugin) fn take(&mut self) -> Vec<Artifact> {
        if self.files.is_empty() {
            self.spool = Spool::default();
            return Vec::new();
        }
        let spool = Arc::new(mem::take(&mut self.spool));
        let files = mem::take(&mut self.files).into_iter();
        let finished = files.map(|file| Artifact {
            name: file.name,
            media_type: file.media_type,
            content: Arc::new(Spooled::new(&spool, file.content)),
        });
        finished.collect()
    }

    /// Remembers why an artifact could not be kept, and says it.
    fn lose(&mut self, error: &io::Error) -> String {
        let folder = self.spool.folder();
        self.lost.get_or_insert_with(|| unkept(folder, error));
        error.to_string()
    }
}

/// The error of an attempt whose artifacts the machine could not keep in the folder for temporary files.
pub fn unkept(folder: &Path, error: &io::Error) -> AttemptError {
    let what = format!("cannot keep artifacts in `{}`: {error}", folder.display());
    let causes = iter::successors(Some(error as &(dyn Error + 'static)), |&error| {
        error.source()
    });
    match fault_in(causes) {
        Some(fault) => fault_error(fault, &what),
        None => failure(ErrorClass::Internal, "artifacts", what),
    }
}

/// Tells whether an artifact may be called so; it never becomes a path.
pub(in crate::plugin) fn is_artifact_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::is_artifact_name;

    #[test]
    fn artifact_names_never_become_paths() {
        for good in ["a", "report.html", "..a", "-", &"x".repeat(128)] {
            assert!(is_artifact_name(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "ä",
            "a b",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(!is_artifact_name(bad), "{bad:?}");
        }
    }
}
