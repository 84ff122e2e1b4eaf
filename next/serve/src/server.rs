//! [`Server`]: the state that requests share.

use std::path::PathBuf;

use runner_record::{RecordError, ResultsRoot, RunDir};
use tokio::sync::Semaphore;

use crate::api::HttpProblem;

/// Documents that are read at the same time.
const MAX_READERS: usize = 4;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// The results root.
    pub root: PathBuf,
    /// Folders with scenarios that may be started.
    pub scenarios: Vec<PathBuf>,
    /// Refuses every change.
    pub is_read_only: bool,
}

/// A failure to start the server.
#[derive(Debug)]
pub struct ServeError(pub String);

/// The state that requests share.
pub(crate) struct Server {
    pub(crate) root: ResultsRoot,
    pub(crate) settings: ServeSettings,
    pub(crate) readers: Semaphore,
}

impl Server {
    pub(crate) fn new(settings: ServeSettings) -> Result<Self, RecordError> {
        let root = ResultsRoot::existing(&settings.root)?;
        Ok(Self { root, settings, readers: Semaphore::new(MAX_READERS) })
    }

    /// Finds the run with this id, with this unique part of an id, or the newest one as `latest`. Paths are no names here.
    pub(crate) fn run(&self, name: &str) -> Result<RunDir, HttpProblem> {
        if name.contains('/') || name.starts_with('.') {
            let (name, root) = (name.to_owned(), self.settings.root.clone());
            return Err(RecordError::Unknown { name, root }.into());
        }
        Ok(self.root.find(name)?)
    }
}
