//! Everything that is settled before a worker gets a task: plugins found, read and compiled in child processes, the state of
//! their source, content by digest, secrets, granted folders, fingerprints, and the machine's limits.
//!
//! Knows `model`, `scenario` and `record`. Starts only this program itself, as `__compile`; no plugin is parsed here.
//! Start reading at [`plugins::find`].

pub mod children;
pub mod compiler;
mod content_source;
mod fingerprint;
pub mod grants;
pub mod machine;
pub mod mounts;
pub mod plugins;
mod secrets;
pub mod source;

use runner_record::RecordError;
use thiserror::Error;

pub use self::{
    content_source::{ContentSource, Origin},
    fingerprint::{Fingerprints, TestParts, judgement},
    secrets::Secrets,
};

/// Why something cannot be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// A plugin, a secret or a file cannot be used as it is.
    #[error("{0}")]
    Refused(String),
    /// The disk, or a damaged file.
    #[error(transparent)]
    Record(#[from] RecordError),
}
