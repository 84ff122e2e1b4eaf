//! [`Traffic`]: counts of the requests of one attempt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::retry_after::RetryAfter;
use crate::denials::Denials;

/// Counts of one attempt's requests, including those in the background. Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct Traffic(Arc<Mutex<Counts>>);

#[derive(Clone, Default)]
pub(crate) struct Counts {
    /// Requests over `wasi:http`, admitted or not.
    pub(crate) calls: u64,
    /// Requests that were admitted.
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Not redacted yet: a guest can put a secret into a host's name.
    pub(crate) denied: Denials,
    /// The wait that the last response requested.
    pub(crate) retry_after: Option<RetryAfter>,
}

impl Traffic {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
