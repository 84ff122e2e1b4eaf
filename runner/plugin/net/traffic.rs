//! [`Traffic`]: what one attempt has sent and received.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::failure::Failure;
use crate::{model::Denied, plugin::denied::keep_denial};

/// What one attempt has sent and received until now, in the background too.
#[derive(Default)]
pub(in crate::plugin) struct Traffic {
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    denied: Mutex<Vec<Denied>>,
}

impl Traffic {
    pub(in crate::plugin) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(in crate::plugin) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(in crate::plugin) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// What was refused.
    pub(in crate::plugin) fn denied(&self) -> Vec<Denied> {
        let denied = self.denied.lock().expect("nobody panics while holding it");
        denied.clone()
    }

    /// Counts a request, unless there were as many as there may be.
    pub(super) fn count_request(&self, limit: u64) -> Result<(), Failure> {
        let count = |count| (count < limit).then_some(count + 1);
        let counted = self
            .requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted.map(drop).map_err(Failure::TooMany)
    }

    pub(super) fn count_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn deny(&self, denial: &Denied) {
        let mut denied = self.denied.lock().expect("nobody panics while holding it");
        keep_denial(&mut denied, denial);
    }
}
