//! [`KnownScenarios`]: what the scenarios of a server come to, as long as their files stay as they are.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{error::Error, session::Validated};

/// What the scenarios of a server come to. One that is not valid is read each time: what it lacks may be anywhere.
#[derive(Default)]
pub(super) struct KnownScenarios(Mutex<HashMap<PathBuf, Arc<Validated>>>);

impl KnownScenarios {
    /// What a scenario comes to; it is validated unless nothing has changed since.
    pub(super) fn get(
        &self,
        path: &Path,
        validate: impl FnOnce() -> Result<Validated, Error>,
    ) -> Result<Arc<Validated>, Error> {
        let known = self.lock().get(path).cloned();
        if let Some(known) = known.filter(|known| known.is_fresh()) {
            return Ok(known);
        }
        let validated = Arc::new(validate()?);
        self.lock().insert(path.to_owned(), Arc::clone(&validated));
        Ok(validated)
    }

    /// Forgets what is not there any more.
    pub(super) fn keep(&self, paths: &[PathBuf]) {
        self.lock().retain(|path, _| paths.contains(path));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Validated>>> {
        // What is changed under the lock is changed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
