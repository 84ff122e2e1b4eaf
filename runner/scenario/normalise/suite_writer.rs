//! [`SuiteWriter`]: a suite as its lines are made.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use crate::{
    model::Digest,
    scenario::{ScenarioError, Suite, expect::Schema, suite::SuiteParts},
};

/// Writes the lines of a suite into a temporary file, and learns from them what there is to know.
pub(super) struct SuiteWriter {
    file: BufWriter<File>,
    hasher: Sha256,
    parts: SuiteParts,
    failure: Option<io::Error>,
}

impl SuiteWriter {
    /// For a suite of which somebody will ask which files its tests name, or not.
    pub(super) fn new(names_files: bool) -> io::Result<Self> {
        Ok(Self {
            // Without a name: nothing is left of it, however the process ends.
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            hasher: Sha256::new(),
            parts: SuiteParts::new(names_files),
            failure: None,
        })
    }

    /// Takes a file that a test names.
    pub(super) fn name(&mut self, what: &'static str, path: &Path) {
        self.parts.name(what, path);
    }

    /// Takes the line of a test that makes `trials`.
    pub(super) fn add(&mut self, trials: u64, line: &[u8]) {
        self.write(line);
        self.parts.add(trials, line);
    }

    /// Takes the line that defines `schema`.
    pub(super) fn define(&mut self, digest: Digest, schema: Arc<Schema>, line: &[u8]) {
        self.write(line);
        self.parts.define(digest, schema, line);
    }

    /// How many trials the tests make so far.
    pub(super) fn trials(&self) -> u64 {
        self.parts.trials()
    }

    /// Fails if something could not be written.
    pub(super) fn finish(
        self,
        attachments: BTreeMap<Digest, PathBuf>,
    ) -> Result<Suite, ScenarioError> {
        if let Some(error) = self.failure {
            return Err(ScenarioError::Store(error));
        }
        let stored = self.file.into_inner();
        let stored = stored.map_err(io::IntoInnerError::into_error);
        let file = stored.map_err(ScenarioError::Store)?;
        let digest = Digest::finish(self.hasher);
        Ok(self.parts.finish(file, digest, true, attachments))
    }

    /// Writes a line. After a failure nothing more is written, and `finish` reports it.
    fn write(&mut self, line: &[u8]) {
        self.hasher.update(line);
        if self.failure.is_none() {
            self.failure = self.file.write_all(line).err();
        }
    }
}
