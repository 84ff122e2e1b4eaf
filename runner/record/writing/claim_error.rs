//! Why a run could not be claimed or cancelled.

use thiserror::Error;

use crate::record::{
    disk::layout::{RunDir, RunId},
    error::{self, IllegalTransition, RecordError, Taken},
    reading::run_entry::RunEntry,
};

/// Why a run could not be claimed.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// A session is alone in its root.
    #[error(transparent)]
    Taken(Taken),
    /// A live process owns it.
    #[error("run `{run}` is being worked on{}", error::owner(text))]
    Held {
        /// The run.
        run: RunId,
        /// Who: pid, host and since when, on a line each; may be empty.
        text: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl ClaimError {
    pub(in crate::record) fn of(run: &RunEntry, error: RecordError) -> Self {
        match error {
            RecordError::Held { text, .. } => Self::Held {
                run: run.id.clone(),
                text,
            },
            RecordError::Taken(taken) => Self::Taken(taken),
            error => Self::Record(error.or_gone(&RunDir::new(&run.dir))),
        }
    }
}

/// Why a run could not be cancelled.
#[derive(Debug, Error)]
pub enum CancelError {
    /// It has ended in a way that leaves nothing to drop.
    #[error(transparent)]
    Refused(#[from] IllegalTransition),
    /// It could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}
