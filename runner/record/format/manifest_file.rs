//! Reading and replacing manifests. Those of a newer runner are read where possible, and never written.

use std::path::Path;

use serde::Deserialize;

use super::manifest::Manifest;
use crate::{
    model::escape_json,
    record::{
        disk::{durable, layout::RunDir, regular},
        error::RecordError,
    },
};

/// The newest format, which is that of a run whose judgements may stand apart from its attempts: whoever does not know such lines must not write it.
pub(in crate::record) const JUDGED_APART: u32 = 2;

impl Manifest {
    /// Tells whether judgements may stand apart from their attempts.
    pub(in crate::record) fn is_judged_apart(&self) -> bool {
        self.format >= JUDGED_APART
    }

    /// Lets judgements stand apart from their attempts from now on.
    pub(in crate::record) fn judge_apart(&mut self) {
        self.format = self.format.max(JUDGED_APART);
    }

    /// Reads a manifest; one of a newer runner as far as it has what this one needs.
    pub(in crate::record) fn read(path: &Path) -> Result<Self, RecordError> {
        let dir = RunDir::new(path.parent().unwrap_or(path));
        let bytes = regular::read(path).map_err(RecordError::io("read a manifest"));
        let bytes = bytes.map_err(|error| error.or_gone(&dir))?;
        serde_json::from_slice(&bytes).map_err(|source| match newer_format(&bytes) {
            Some(found) => newer(path, found),
            None => RecordError::Manifest {
                path: path.to_owned(),
                source: source.into(),
            },
        })
    }

    /// Reads a manifest that is to be replaced later: one of a newer runner is refused.
    pub(in crate::record) fn read_to_write(path: &Path) -> Result<Self, RecordError> {
        let manifest = Self::read(path)?;
        manifest.check_format(path)?;
        Ok(manifest)
    }

    /// Replaces the manifest on disk; `step` says on what occasion.
    pub(in crate::record) fn write(&self, path: &Path, step: &str) -> Result<(), RecordError> {
        let bytes = self.encode(path)?;
        durable::replace(path, &bytes, step).map_err(RecordError::io("write a manifest"))
    }

    /// The same; `meanwhile` is called as soon as readers find it, while the disk makes sure of its name.
    pub(in crate::record) fn write_and(
        &self,
        path: &Path,
        step: &str,
        meanwhile: impl FnOnce(),
    ) -> Result<(), RecordError> {
        let bytes = self.encode(path)?;
        durable::replace_and(path, &bytes, step, meanwhile)
            .map_err(RecordError::io("write a manifest"))
    }

    /// The bytes of its file, which is at `path`.
    pub(in crate::record) fn encode(&self, path: &Path) -> Result<Vec<u8>, RecordError> {
        self.check_format(path)?;
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest can be written as JSON");
        escape_json(&mut bytes, 0);
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn check_format(&self, path: &Path) -> Result<(), RecordError> {
        match self.is_newer() {
            true => Err(newer(path, self.format)),
            false => Ok(()),
        }
    }

    /// Tells whether a newer runner has written it; then nobody here knows all that it says.
    pub(in crate::record) fn is_newer(&self) -> bool {
        self.format > JUDGED_APART
    }
}

fn newer(path: &Path, found: u32) -> RecordError {
    RecordError::Newer {
        path: path.to_owned(),
        found,
        known: JUDGED_APART,
    }
}

/// The format of a manifest that this version cannot read, if that is newer.
fn newer_format(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let read: Format = serde_json::from_slice(bytes).ok()?;
    (read.format > JUDGED_APART).then_some(read.format)
}
