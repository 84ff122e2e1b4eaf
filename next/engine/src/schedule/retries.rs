//! Whether an attempt is made again, and when.

use runner_model::{
    Micros, Outcome, RowRef,
    test::{ExpectedError, Retries},
};

/// A backoff doubles with each retry up to this, unless it begins above it.
const MAX_BACKOFF: u64 = 60_000_000;

/// How an attempt ended that came to no verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    kind: ExpectedError,
    /// For how long the provider asked to be left alone.
    retry_after: Micros,
}

impl Ending {
    /// A guest that was stuck past its deadline.
    pub(super) const STUCK: Self = Self { kind: ExpectedError::Timeout, retry_after: Micros(0) };

    /// None of an attempt with a verdict: such a one is never made again.
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

/// How long to wait before the retry that follows `tries` attempts of this session; none if there is no retry.
pub(super) fn backoff(retries: &Retries, tries: u32, ending: Ending) -> Option<Micros> {
    if tries > retries.max || !retries.on.contains(&ending.kind) {
        return None;
    }
    let first = retries.backoff.0;
    let doublings = tries.saturating_sub(1).min(26);
    let doubled = first.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(first));
    Some(Micros(doubled.max(ending.retry_after.0)))
}
