//! [`Artifacts`]: the artifacts of an attempt, within their limits.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use runner_model::{
    ErrorClass, HostFault, Limits, row::RowError, row::is_host_artifact, visible::shown_path,
};

use crate::{
    contract::runner::provider::artifacts::ArtifactError, host_fault::fault_in, message::failure,
};

/// Bytes of an artifact in memory. A larger one is in a file.
pub(crate) const SMALL: u64 = 16 * 1024;
/// Artifacts in files, which stay open until they are sent.
pub(crate) const MAX_OPEN: usize = 128;
const MAX_NAME_BYTES: usize = 128;
const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// Numbers the files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An artifact as a guest left it, not redacted.
#[derive(Debug)]
pub struct LeftFile {
    /// A file name, not a path.
    pub name: String,
    pub media_type: String,
    pub bytes: u64,
    pub content: LeftContent,
}

/// The content of an artifact.
#[derive(Debug)]
pub enum LeftContent {
    /// At most [`SMALL`] bytes.
    Memory(Vec<u8>),
    /// A file without a name, at its start.
    File(File),
}

/// Collects artifacts. The default has room for none.
#[derive(Default)]
pub(crate) struct Artifacts {
    pub(crate) files: Vec<LeftFile>,
    /// Reason for the loss of an artifact, and the resource that the machine lacked, if that was the reason.
    pub(crate) lost: Option<(RowError<'static>, Option<HostFault>)>,
    max_files: u64,
    max_bytes: u64,
    /// The folder of files.
    folder: PathBuf,
}

impl Artifacts {
    /// Collects artifacts within limits. Larger ones are in files in `folder`, without a name.
    pub(crate) fn new(folder: &Path, limits: &Limits) -> Self {
        Self {
            files: Vec::new(),
            lost: None,
            max_files: limits.artifact_files,
            max_bytes: limits.artifacts,
            folder: folder.to_owned(),
        }
    }

    /// Returns the bytes of all artifacts.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Creates a file without a name for standard output.
    pub(crate) fn unnamed_file(&self) -> io::Result<File> {
        unnamed_file(&self.folder)
    }

    /// Appends a chunk to an artifact, which is created if it does not exist.
    pub(crate) fn append(
        &mut self,
        name: String,
        media_type: String,
        chunk: &[u8],
    ) -> Result<(), ArtifactError> {
        if !is_artifact_name(&name) || media_type.len() > MAX_MEDIA_TYPE_BYTES {
            return Err(ArtifactError::BadName);
        }
        // After a lost chunk, the next one would be in the wrong place.
        if self.lost.is_some() {
            return Err(ArtifactError::Unavailable);
        }
        let known = self.files.iter().position(|file| file.name == name);
        if known.is_none() && self.files.len() as u64 >= self.max_files {
            return Err(ArtifactError::TooMany);
        }
        if self.bytes() + chunk.len() as u64 > self.max_bytes {
            return Err(ArtifactError::TooLarge);
        }
        let index = known.unwrap_or_else(|| {
            self.files.push(LeftFile {
                name,
                media_type,
                bytes: 0,
                content: LeftContent::Memory(Vec::new()),
            });
            self.files.len() - 1
        });
        let may_open =
            self.files.iter().filter(|file| matches!(file.content, LeftContent::File(_))).count()
                < MAX_OPEN;
        let file = &mut self.files[index];
        match append(file, chunk, may_open.then_some(&*self.folder)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ArtifactError::TooMany),
            Err(error) => {
                let folder = shown_path(&self.folder);
                let message = format!("cannot keep artifacts in `{folder}`: {error}");
                let fault = fault_in(&wasmtime::Error::new(error));
                let code = fault.map_or("artifacts", HostFault::as_str);
                let lost = failure(ErrorClass::Internal, code, message);
                self.lost = Some((lost, fault));
                Err(ArtifactError::Unavailable)
            }
        }
    }
}

/// Appends to an artifact. Returns `false` if it needs a file and `folder` is `None`.
pub(crate) fn append(left: &mut LeftFile, chunk: &[u8], folder: Option<&Path>) -> io::Result<bool> {
    if let LeftContent::Memory(kept) = &mut left.content {
        if (kept.len() + chunk.len()) as u64 <= SMALL {
            kept.extend_from_slice(chunk);
        } else if let Some(folder) = folder {
            let mut file = unnamed_file(folder)?;
            file.write_all(kept)?;
            left.content = LeftContent::File(file);
        } else {
            return Ok(false);
        }
    }
    if let LeftContent::File(file) = &mut left.content {
        file.seek(io::SeekFrom::Start(left.bytes))?;
        file.write_all(chunk)?;
        // The worker reads it from its start.
        file.rewind()?;
    }
    left.bytes += chunk.len() as u64;
    Ok(true)
}

/// Removes the bytes from `end` on.
pub(crate) fn shorten(left: &mut LeftFile, end: u64) -> io::Result<()> {
    left.bytes = left.bytes.min(end);
    match &mut left.content {
        LeftContent::Memory(kept) => {
            kept.truncate(usize::try_from(left.bytes).unwrap_or(usize::MAX));
        }
        LeftContent::File(file) => file.set_len(left.bytes)?,
    }
    Ok(())
}

/// Creates a file in a folder and removes its name, so that a worker that dies leaves nothing.
fn unnamed_file(folder: &Path) -> io::Result<File> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("artifact-{number}"));
    let mut options = File::options();
    // `create_new` never follows a link.
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Returns whether an artifact of a guest may have this name. Names never become paths, and those of the runner's own artifacts
/// decide what readers take them for.
pub(crate) fn is_artifact_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name != "."
        && name != ".."
        && !is_host_artifact(name)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, path::Path};

    use runner_model::Limits;

    use super::{Artifacts, MAX_OPEN, SMALL, is_artifact_name};
    use crate::{LeftContent, LeftFile, contract::runner::provider::artifacts::ArtifactError};

    fn append(
        artifacts: &mut Artifacts,
        name: &impl ToString,
        bytes: usize,
    ) -> Result<(), ArtifactError> {
        artifacts.append(name.to_string(), "a/b".to_owned(), &vec![b'x'; bytes])
    }

    fn content(left: &mut LeftFile) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &mut left.content {
            LeftContent::Memory(kept) => bytes.clone_from(kept),
            LeftContent::File(file) => drop(file.read_to_end(&mut bytes).unwrap()),
        }
        bytes
    }

    #[test]
    fn names_of_artifacts_are_neither_paths_nor_the_hosts() {
        for good in
            ["a", "report.html", "..a", "-", "workspace.json", "my.output.json", &"x".repeat(128)]
        {
            assert!(is_artifact_name(good), "{good:?}");
        }
        let hosts = ["output.json", "transcript.json", "workspace.jsonl", "Workspace.CONTENTS"];
        let paths = ["", ".", "..", "a/b", "a\\b", "ä", "a b", "a\0", &"x".repeat(129)];
        for bad in paths.into_iter().chain(hosts) {
            assert!(!is_artifact_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn interleaved_artifacts_are_read_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifacts = Artifacts::new(folder.path(), &Limits::default());
        for turn in 0..10_u8 {
            for name in ["small", "large"] {
                let chunk = vec![turn; if name == "small" { 1 } else { 5_000 }];
                let appended = artifacts.append(name.to_owned(), String::new(), &chunk);
                appended.unwrap();
            }
        }
        assert_eq!(artifacts.bytes(), 50_010);
        let mut left = std::mem::take(&mut artifacts.files);
        assert!(matches!(left[0].content, LeftContent::Memory(_)));
        assert!(matches!(left[1].content, LeftContent::File(_)));
        let expected = |times: usize| (0..10_u8).flat_map(move |turn| vec![turn; times]);
        assert!(content(&mut left[0]).into_iter().eq(expected(1)));
        assert!(content(&mut left[1]).into_iter().eq(expected(5_000)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn artifacts_are_kept_within_their_limits() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { artifacts: 100, artifact_files: 2, ..Limits::default() };
        let mut artifacts = Artifacts::new(folder.path(), &limits);
        append(&mut artifacts, &"a", 60).unwrap();
        assert_eq!(append(&mut artifacts, &"a", 41), Err(ArtifactError::TooLarge));
        append(&mut artifacts, &"b", 40).unwrap();
        assert_eq!(append(&mut artifacts, &"c", 0), Err(ArtifactError::TooMany));
        assert_eq!(append(&mut artifacts, &"../c", 0), Err(ArtifactError::BadName));

        let limits = Limits { artifact_files: 1_000, ..Limits::default() };
        let mut artifacts = Artifacts::new(folder.path(), &limits);
        let large = SMALL as usize + 1;
        (0..MAX_OPEN).for_each(|name| append(&mut artifacts, &name, large).unwrap());
        let more = append(&mut artifacts, &"more", large);
        assert_eq!(more, Err(ArtifactError::TooMany));
        append(&mut artifacts, &"small", large - 1).unwrap();
    }

    #[test]
    fn artifact_that_cannot_be_stored_is_lost() {
        let limits = Limits::default();
        let mut artifacts = Artifacts::new(Path::new("/no such folder"), &limits);
        append(&mut artifacts, &"a", 10).unwrap();
        let large = append(&mut artifacts, &"b", 1 << 20);
        assert_eq!(large, Err(ArtifactError::Unavailable));
        let (lost, fault) = artifacts.lost.clone().unwrap();
        assert_eq!((&*lost.code, fault), ("artifacts", None));
        assert!(lost.message.contains("`/no such folder`: No such file"), "{lost:?}");
        assert_eq!(append(&mut artifacts, &"a", 1), Err(ArtifactError::Unavailable));
    }
}
