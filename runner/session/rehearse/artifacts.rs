//! [`ArtifactFolder`]: where the artifacts of a rehearsal go.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use miette::miette;
use rustix::fs::{Mode, OFlags, openat};

use crate::{
    error::Error,
    model::{Artifact, Grants},
    record, run,
};

/// A folder that is open, for artifacts.
pub(super) struct ArtifactFolder {
    folder: OwnedFd,
    path: PathBuf,
    /// Of the files that are made there: as in a run's directory.
    mode: u32,
}

impl ArtifactFolder {
    /// Makes the folder where it is missing.
    pub(super) fn open(path: &Path, grants: &Grants) -> io::Result<Self> {
        record::create_directories(path)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty());
        let folder = folder.map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("cannot open `{}`: {error}", path.display()),
            )
        })?;
        let mode = match run::secret_names(grants).is_empty() {
            true => record::file_mode(path),
            false => 0o600,
        };
        Ok(Self {
            folder,
            path: path.to_owned(),
            mode,
        })
    }

    /// Writes artifacts, whose names are no paths: the host has seen to that. What has such a name already is somebody
    /// else's.
    pub(super) fn write(&self, artifacts: &[Artifact]) -> Result<(), Error> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for artifact in artifacts {
            let mode = Mode::from_raw_mode(self.mode);
            let file = openat(&self.folder, artifact.name.as_str(), flags, mode);
            let written = file
                .map_err(io::Error::from)
                .and_then(|file| artifact.content.write_to(&mut std::fs::File::from(file)));
            written.map_err(|error| {
                let path = self.path.join(&artifact.name);
                Error::storage(miette!(
                    "cannot write the artifacts: failed to create file `{}`: {error}",
                    path.display()
                ))
            })?;
        }
        Ok(())
    }
}
