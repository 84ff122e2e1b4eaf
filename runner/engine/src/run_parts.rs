//! [`RunParts`]: the content and the manifest of a new run.

use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs::File};

use runner_model::Digest;
use runner_prepare::ContentSource;
use runner_record::{NewRun, NewSession, Owned, RecordError, ResultsRoot, new_id, now};

use crate::error::{EngineError, machine_error};
use crate::plan::{Plan, manifest_providers, metadata};

/// The content and the manifest of a new run.
pub(crate) struct RunParts {
    pub(crate) root: ResultsRoot,
    pub(crate) suite: File,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    /// The known failures, as JSON.
    pub(crate) known: Option<String>,
    pub(crate) new: NewRun,
}

impl RunParts {
    /// Stores the content, then creates the run.
    pub(crate) fn create(self) -> Result<Owned, RecordError> {
        let suite = &self.new.metadata.suite;
        keep(&self.root, self.suite, suite, &self.plugins, &self.blobs)?;
        if let Some(known) = &self.known {
            self.root.keep_bytes(known.as_bytes())?;
        }
        self.root.create(self.new)
    }
}

/// Stores the suite, plugins and blobs of a plan in a results root.
pub(crate) fn keep(
    root: &ResultsRoot,
    suite: File,
    digest: &Digest,
    plugins: &ContentSource,
    blobs: &ContentSource,
) -> Result<(), RecordError> {
    keep_suite(root, suite, digest)?;
    plugins.keep(root)?;
    blobs.keep(root)?;
    if let Some(list) = blobs.list() {
        root.keep_bytes(list.as_bytes())?;
    }
    Ok(())
}

/// Stores a suite in a results root.
pub(crate) fn keep_suite(
    root: &ResultsRoot,
    mut suite: File,
    digest: &Digest,
) -> Result<(), RecordError> {
    let mut draft = root.draft()?;
    suite.rewind().and_then(|()| io::copy(&mut suite, &mut draft)).map_err(|source| {
        RecordError::Io { what: "store the tests in", path: root.path().to_owned(), source }
    })?;
    root.keep(draft, digest)
}

/// Returns the absolute path of a scenario's file, which is the same for every way to name its folder. It connects the runs of the
/// file.
///
/// # Errors
///
/// The folder cannot be found.
pub fn scenario_path(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => Ok(path),
    }
}

pub(crate) fn new_run(
    plan: &Plan,
    path: &Path,
    session: NewSession,
) -> Result<NewRun, EngineError> {
    let scenario = &plan.scenario;
    let path = scenario_path(path).map_err(machine_error)?;
    Ok(NewRun {
        id: new_id(&scenario.name, now()),
        scenario: scenario.name.clone(),
        scenario_path: path.to_string_lossy().into_owned(),
        text: scenario.text.clone(),
        labels: BTreeMap::new(),
        group: None,
        metadata: metadata(plan),
        providers: manifest_providers(plan),
        session,
    })
}
