//! Prepares everything that workers need: finds plugins and compiles them in child processes, checks the state of their source,
//! and reads content, secrets, granted folders, fingerprints and the machine's limits. The engine calls it before a session, and
//! for a single call of a plugin.
//!
//! Depends on `model`, `files`, `scenario` and `record`. Starts only this program itself, as `__compile`, and never parses plugins.
//! Start reading at [`plugins::find`].

pub mod children;
pub mod compiler;
mod content_source;
pub mod development;
mod fingerprint;
pub mod machine;
pub mod mounts;
pub mod plugins;
mod secrets;
pub mod source;

use runner_record::RecordError;
use thiserror::Error;

pub use self::content_source::{ContentSource, Origin};
pub use self::fingerprint::{Fingerprints, TestParts};
pub use self::secrets::Secrets;

#[derive(Debug, Error)]
pub enum PrepareError {
    /// A plugin, a secret or a file cannot be used.
    #[error("{0}")]
    Refused(String),
    /// The machine lacks something.
    #[error("{0}")]
    Machine(String),
    /// A process that inspects or compiles a plugin was killed or was slow, which may be different the next time. The rest of a
    /// sentence that starts with the plugin.
    #[error("{0}")]
    Interrupted(String),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<String> for PrepareError {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}
