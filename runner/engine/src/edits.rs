//! [`Edits`]: changes of a scenario's files that the results of a run ask for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runner_record::{Manifest, Replacement, ResultsRoot, RunDir, UserFolder};
use runner_scenario::{FileEdit, Filter};

use crate::{EngineError, SessionRequest, trust::find_named};

/// Bytes of a file with expectations or known failures.
const MAX_FILE: u64 = 16 << 20;

/// Arguments of [`accept`](crate::accept) and [`update_known`](crate::update_known).
#[derive(Debug)]
pub struct EditRequest {
    /// Name of the run. `None` takes the newest of this user.
    pub run: Option<String>,
    /// The trials whose tests change files. `None` selects all.
    pub filter: Option<Filter>,
    /// Path of the results root.
    pub results: PathBuf,
}

/// Changes of files below the scenario's folder, which are not written yet.
#[derive(Debug)]
pub struct Edits<T> {
    /// The run's id.
    pub run: String,
    /// The files that change, by their path relative to the folder.
    pub files: BTreeMap<String, FileEdit>,
    /// The reasons for the changes, and what cannot change.
    pub report: T,
    /// The command that judges the run by the new files.
    pub next: String,
    /// Messages for the user.
    pub notices: Vec<String>,
    folder: UserFolder,
}

/// Files of a user's folder, as edits read them.
pub(crate) fn reader(
    folder: &UserFolder,
) -> impl FnMut(&str) -> Result<Option<Vec<u8>>, String> + '_ {
    |path| folder.read(path, MAX_FILE).map_err(|error| error.to_string())
}

impl<T> Edits<T> {
    pub(crate) fn new(
        dir: &RunDir,
        folder: UserFolder,
        files: BTreeMap<String, FileEdit>,
        report: T,
    ) -> Self {
        let next = dir.command("rescore", &[]);
        Self { run: dir.id().to_owned(), files, report, next, notices: Vec::new(), folder }
    }

    /// Finds the changes by the run of a request, which does not change meanwhile.
    pub(crate) fn find(
        request: &EditRequest,
        find: impl Fn(&ResultsRoot, &RunDir, &Manifest) -> Result<Self, EngineError>,
    ) -> Result<Self, EngineError> {
        let session = SessionRequest::new(&request.results);
        let (_, root, dir, notices) = find_named(&session, request.run.as_deref())?;
        let mut edits = dir.snapshot(|| find(&root, &dir, &dir.truth()?))?;
        edits.notices.splice(0..0, notices);
        Ok(edits)
    }

    /// Replaces all files, or leaves all as they are.
    ///
    /// # Errors
    ///
    /// A file has changed since it was read, or cannot be written.
    pub fn write(&self) -> Result<(), EngineError> {
        let files = self.files.iter().map(|(path, edit)| Replacement {
            path,
            old: edit.old.as_deref(),
            new: edit.new.as_bytes(),
        });
        Ok(self.folder.replace(&files.collect::<Vec<_>>())?)
    }
}
