//! [`Recent`]: a result that is computed again once its inputs have changed, but not all the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runner_record::RecordError;

/// A result of a run that is running is kept for this many times the time that it took.
const TIMES: u32 = 10;

/// The last result of a computation, with its snapshot.
#[derive(Debug)]
pub(super) struct Recent<T>(Option<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    rev: u64,
    until: Instant,
    value: Arc<T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Recent<T> {
    /// Returns the kept result if it is of this snapshot. Also if it is of an earlier one of a run that is running, and recent.
    pub(super) fn get(&self, rev: u64, is_running: bool) -> Option<Arc<T>> {
        let kept = self.0.as_ref()?;
        let is_valid = kept.rev == rev || is_running && Instant::now() < kept.until;
        is_valid.then(|| kept.value.clone())
    }

    /// Keeps the result of `compute`.
    pub(super) fn keep(
        &mut self,
        rev: u64,
        took: Duration,
        value: Result<T, RecordError>,
    ) -> Result<Arc<T>, RecordError> {
        let value = Arc::new(value?);
        let until = Instant::now() + took * TIMES;
        self.0 = Some(Kept { rev, until, value: value.clone() });
        Ok(value)
    }
}
