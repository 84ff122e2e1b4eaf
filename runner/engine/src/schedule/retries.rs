//! Decides whether and when an attempt is retried.

use runner_model::test::{ExpectedError, Retries};
use runner_model::{Micros, Outcome, RowRef};

/// Largest doubled backoff, in microseconds. A first backoff above it stays constant.
const MAX_BACKOFF: u64 = 60_000_000;

/// The end of an attempt without a verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    kind: ExpectedError,
    /// Minimum wait that the provider requested.
    retry_after: Micros,
}

impl Ending {
    /// The end of an attempt whose guest was stuck past its deadline.
    pub(super) const STUCK: Self = Self { kind: ExpectedError::Timeout, retry_after: Micros(0) };

    /// Returns `None` if the attempt has a verdict. Those are never retried.
    pub(super) fn from_row(row: &RowRef<'_>) -> Option<Self> {
        let error = row.error.as_ref();
        let kind = match row.outcome {
            Outcome::Timeout => ExpectedError::Timeout,
            Outcome::Error => ExpectedError::Class(error?.class?),
            _ => return None,
        };
        let millis = error.and_then(|error| error.retry_after_ms).unwrap_or_default();
        Some(Self { kind, retry_after: Micros(u64::from(millis) * 1_000) })
    }
}

/// Returns the wait before the next retry, after `tries` attempts in this session. `None` if there is no retry.
pub(super) fn backoff(retries: &Retries, tries: u32, ending: Ending) -> Option<Micros> {
    if tries > retries.max || !retries.on.contains(&ending.kind) {
        return None;
    }
    let first = retries.backoff.0;
    // 2^26 µs exceeds the largest backoff.
    let doublings = tries.saturating_sub(1).min(26);
    let doubled = first.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(first));
    Some(Micros(doubled.max(ending.retry_after.0)))
}
