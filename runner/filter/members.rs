//! [`Members`]: tests on providers, as another run has them.

use std::{collections::HashSet, sync::Arc};

/// Tests on providers.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<HashSet<String>>);

impl Members {
    /// Tells whether a test on a provider is among them.
    pub fn has(&self, test: &str, provider: &str) -> bool {
        self.0.contains(&format!("{test}@{provider}"))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Members {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let names = pairs.map(|(test, provider)| format!("{test}@{provider}"));
        Self(Arc::new(names.collect()))
    }
}
