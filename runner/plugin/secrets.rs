//! [`Secrets`]: values that a guest may have and that nothing may write down.

use std::{collections::BTreeMap, fmt};

use super::redact::Redactor;

/// Secrets by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    redactor: Option<Redactor>,
}

impl Secrets {
    /// A shorter value is not redacted, in bytes: it is part of too much that is no secret.
    pub const MIN_REDACTED: usize = 4;
    /// The longest value, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes the values of the secrets that a provider is granted; none is longer than [`Self::MAX_BYTES`].
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let redactor = Redactor::new(&values);
        Self { values, redactor }
    }

    /// The value of a secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Takes the values out of what a guest has said; `None` where there is nothing to look for.
    pub(super) fn redactor(&self) -> Option<&Redactor> {
        self.redactor.as_ref()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}
