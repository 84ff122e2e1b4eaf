//! [`FilesError`]: why an attempt has no files.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{folder::ATTACHMENTS, refused::shown};
use crate::{
    model::{ErrorClass, HostFault},
    plugin::{
        call::ended::Ending,
        failure::failure,
        host_fault::{fault_error, fault_of},
        interrupt::Halt,
    },
};

/// Why an attempt has no files, and so does not begin.
#[derive(Debug, Error)]
pub(in crate::plugin) enum FilesError {
    #[error("cannot mount the folder `{}` at `{guest}`: {reason}", host.display())]
    Mount {
        host: PathBuf,
        guest: String,
        reason: Unmounted,
    },
    #[error("cannot make a folder in `{}`: {source}", root.display())]
    Make { root: PathBuf, source: io::Error },
    #[error("cannot make a folder: {0}")]
    Fill(#[source] io::Error),
    #[error("cannot hand over the attachment `{}`: that names no file in `{ATTACHMENTS}`", shown(.0))]
    Name(String),
    #[error("cannot hand over the attachment `{name}`: {source}")]
    Attachment { name: String, source: io::Error },
    #[error(transparent)]
    Halted(#[from] Halt),
}

/// Why a folder is not mounted.
#[derive(Debug, Error)]
#[error("{text}")]
pub(in crate::plugin) struct Unmounted {
    pub(super) text: String,
    pub(super) fault: Option<HostFault>,
}

impl FilesError {
    /// What the machine lacked, if that is why.
    fn fault(&self) -> Option<HostFault> {
        match self {
            Self::Mount { reason, .. } => reason.fault,
            Self::Make { source, .. } | Self::Fill(source) | Self::Attachment { source, .. } => {
                fault_of(source)
            }
            Self::Name(_) | Self::Halted(_) => None,
        }
    }
}

impl From<FilesError> for Ending {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Halted(halt) => halt.into(),
            error => Self::Error(match error.fault() {
                Some(fault) => fault_error(fault, &error.to_string()),
                None => failure(ErrorClass::Internal, "files", error.to_string()),
            }),
        }
    }
}
