//! [`RunLikeness`]: what a run has stored that another machine needs to make the same plan, and a directory that is made of it
//! there.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::record::{
    disk::{
        layout::{ContentPaths, Root, RunDir},
        modes::create_directories,
        regular,
    },
    format::inflight::InFlight,
};

/// What a run has stored beside its content store that another machine needs to make the same plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLikeness {
    /// The manifest, as it is.
    pub manifest: Vec<u8>,
    /// The scenario, as it is.
    pub scenario: Vec<u8>,
}

impl RunLikeness {
    /// Takes that of the run in `run_dir`.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub fn of(run_dir: &Path) -> io::Result<Self> {
        let dir = RunDir::new(run_dir);
        Ok(Self {
            manifest: regular::read(&dir.manifest())?,
            scenario: regular::read(&dir.scenario())?,
        })
    }

    /// Makes a directory called `name` below `root` from which the plan can be made, and in which a worker notes what it
    /// executes for `session`. It is nobody's run: it has no row, no status and no lock.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be written, or is there already.
    pub fn make(&self, root: &Path, name: &str, session: u32) -> io::Result<(PathBuf, InFlight)> {
        let path = root.join(name);
        create_directories(root)?;
        fs_err::create_dir(&path)?;
        let dir = RunDir::new(&path);
        fs_err::write(dir.manifest(), &self.manifest)?;
        fs_err::write(dir.scenario(), &self.scenario)?;
        let in_flight = InFlight::create(&dir.inflight(), session)?;
        Ok((path, in_flight))
    }

    /// Removes a directory that was made so.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be removed.
    pub fn remove(path: &Path) -> io::Result<()> {
        fs_err::remove_dir_all(path)
    }

    /// Where the runs that are made below `root` find plugins, tests and attachments.
    pub fn content(root: &Path) -> ContentPaths {
        ContentPaths::new(Root::new(root).content())
    }
}
