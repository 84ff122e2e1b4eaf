//! [`Secrets`]: values that a guest may have and that nothing may write down.

use std::{collections::BTreeMap, fmt};

use runner_model::grants::BoundSecret;

/// Secrets by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    _unseen: BTreeMap<String, Vec<BoundSecret>>,
}

impl Secrets {
    /// Takes the values of the secrets that a provider is granted. The guest never knows those in `unseen`: each is put into
    /// headers of requests to its places, or without any into each header of each request that is granted.
    pub fn new(
        values: BTreeMap<String, String>,
        unseen: BTreeMap<String, Vec<BoundSecret>>,
    ) -> Self {
        Self {
            values,
            _unseen: unseen,
        }
    }
}

/// Shows names, and never a value.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}
