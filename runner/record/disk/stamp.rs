//! Whether a run is in a directory, and whether its manifest has changed, without reading it.

use std::{io, time::UNIX_EPOCH};

use super::layout::RunDir;
use crate::record::error::{RecordError, is_missing};

/// What tells one version of a manifest from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct Stamp {
    /// Nanoseconds since 1970.
    pub(in crate::record) modified: i64,
    pub(in crate::record) bytes: i64,
}

impl Stamp {
    /// Looks at a manifest; `None` if there is none.
    pub(in crate::record) fn of(dir: &RunDir) -> io::Result<Option<Self>> {
        let metadata = match std::fs::metadata(dir.manifest()) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Opening a pipe would wait for ever.
        if !metadata.is_file() {
            return Err(io::Error::other("its manifest is not a file"));
        }
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Some(Self {
            modified: modified.as_nanos().try_into().unwrap_or(i64::MAX),
            bytes: metadata.len().try_into().unwrap_or(i64::MAX),
        }))
    }
}

/// Tells whether a directory holds no run, or does so no more.
pub(in crate::record) fn is_gone(dir: &RunDir) -> bool {
    matches!(Stamp::of(dir), Ok(None))
}

impl RecordError {
    /// What a failure to work on a run means where the run itself is missing.
    pub(in crate::record) fn or_gone(self, run: &RunDir) -> Self {
        match self {
            Self::Io { source, .. } if is_missing(&source) && !run.manifest().exists() => {
                Self::Gone {
                    run: run.path().to_owned(),
                }
            }
            other => other,
        }
    }
}
