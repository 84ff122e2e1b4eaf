//! Secrets. A scenario grants them by name, and their values come from the environment of the runner.

use crate::host;

/// Reason for a missing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The scenario does not grant the secret.
    #[error("the secret is not granted")]
    Denied,
    /// The secret is granted, but the runner has no value for it.
    #[error("the secret is not set")]
    NotFound,
}

/// Returns the value of a secret. For a header of a request, prefer the placeholder `{{secret.NAME}}`: the host inserts the
/// value, so the plugin never has it.
pub fn get(name: &str) -> Result<String, SecretError> {
    host::secret(name)
}
