//! Times of the next attempts: [`Pacer`] spaces starts evenly, by a rate, and [`backoff`] delays retries.

use runner_model::protocol::INTERRUPTED_CALL;
use runner_model::test::{ExpectedError, Retries};
use runner_model::{Micros, Outcome, RowRef, RunTime, provider::Rate};

/// Longest delay that later starts make up for. Timers and messages cause such delays, which would otherwise slow down
/// rates of thousands per second. A longer delay is not made up for, because a rate must prevent bursts.
const MAX_CATCH_UP: Micros = Micros(10_000);
/// Largest doubled backoff, in microseconds. A first backoff above it stays constant.
const MAX_BACKOFF: u64 = 60_000_000;

/// The starts of a provider's attempts, by its rate.
#[derive(Debug)]
pub(super) struct Pacer {
    gap: Micros,
    /// Time of the next start. `None` before the first start, which may be at any time.
    next: Option<RunTime>,
}

impl Pacer {
    pub(super) fn new(rate: Rate) -> Self {
        Self { gap: rate.gap(), next: None }
    }

    /// Returns the time of the earliest next start.
    pub(super) fn opens(&self) -> RunTime {
        self.next.unwrap_or_default()
    }

    /// Counts a start.
    pub(super) fn start(&mut self, now: RunTime) {
        let planned = self.next.filter(|next| *next + MAX_CATCH_UP >= now);
        self.next = Some(planned.unwrap_or(now) + self.gap);
    }
}

/// The end of an attempt without a verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    kind: ExpectedError,
    /// Minimum wait that the provider requested.
    retry_after: Micros,
    /// Whether another attempt would send a request again that must not be sent twice.
    is_last: bool,
}

impl Ending {
    /// The end of an attempt whose guest was stuck past its deadline.
    pub(super) const STUCK: Self =
        Self { kind: ExpectedError::Timeout, retry_after: Micros(0), is_last: false };

    /// Returns `None` if the attempt has a verdict. Those are never retried.
    pub(super) fn from_row(row: &RowRef<'_>) -> Option<Self> {
        let error = row.error.as_ref();
        let kind = match row.outcome {
            Outcome::Timeout => ExpectedError::Timeout,
            Outcome::Error => ExpectedError::Class(error?.class?),
            _ => return None,
        };
        let millis = error.and_then(|error| error.retry_after_ms).unwrap_or_default();
        let is_last = error.is_some_and(|error| *error.code == *INTERRUPTED_CALL);
        Some(Self { kind, retry_after: Micros(u64::from(millis) * 1_000), is_last })
    }
}

/// Returns the wait before the next retry, after `tries` attempts. `None` if there is no retry.
pub(super) fn backoff(retries: &Retries, tries: u32, ending: Ending) -> Option<Micros> {
    if ending.is_last || tries > retries.max || !retries.on.contains(&ending.kind) {
        return None;
    }
    let first = retries.backoff.0;
    // 2^26 µs exceeds the largest backoff.
    let doublings = tries.saturating_sub(1).min(26);
    let doubled = first.saturating_mul(1 << doublings).min(MAX_BACKOFF.max(first));
    Some(Micros(doubled.max(ending.retry_after.0)))
}

#[cfg(test)]
mod tests {
    use runner_model::provider::Rate;
    use runner_model::{Micros, RunTime};

    use super::Pacer;

    fn pacer(rate: &str) -> Pacer {
        Pacer::new(Rate::parse(rate).unwrap())
    }

    #[test]
    fn only_short_delays_are_caught_up() {
        let mut pacer = pacer("50/s");
        assert_eq!(pacer.opens(), RunTime(0));
        for (start, opens) in [
            (7_000, 27_000),
            (27_000, 47_000),
            (57_000, 67_000),
            (77_001, 97_001),
            (1_000_000, 1_020_000),
        ] {
            pacer.start(RunTime(start));
            assert_eq!(pacer.opens(), RunTime(opens));
        }
    }

    #[test]
    fn high_rates_are_reached() {
        let mut pacer = pacer("10000/s");
        let (mut now, mut starts) = (RunTime(0), 0);
        while now < RunTime(1_000_000) {
            while pacer.opens() <= now {
                pacer.start(now);
                starts += 1;
            }
            now = now + Micros(1_000);
        }
        assert!((9_900..=10_000).contains(&starts), "{starts}");
    }
}
