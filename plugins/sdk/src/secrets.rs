//! Values that the scenario names and never holds.

use crate::host;

/// Why a secret was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The scenario does not grant it.
    #[error("the secret is not granted")]
    Denied,
    /// It is granted, and nobody has set it.
    #[error("the secret is not set")]
    NotFound,
}

/// Gets a secret. What goes into a header is better written `{{secret.NAME}}` there, and the host fills it in.
pub fn get(name: &str) -> Result<String, SecretError> {
    host::secret(name)
}
