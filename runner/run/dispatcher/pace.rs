//! [`AttemptPace`]: how long attempts take, and so how much is assigned before anybody is free for it.

use std::time::Duration;

/// How much work lies ready for the executors, so that they never wait for the dispatcher: messages of other processes gather
/// on both sides, for two milliseconds each.
pub(in crate::run) const AHEAD: Duration = Duration::from_millis(8);
/// The same where executors are on other machines: on the way to those, messages gather for longer, in both directions.
pub(in crate::run) const AHEAD_ELSEWHERE: Duration = Duration::from_millis(40);
/// The most attempts that lie ready with one executor.
pub(super) const MAX_AHEAD: usize = 512;

/// How long attempts take, and how much work is to lie ready.
#[derive(Clone, Copy)]
pub(super) struct AttemptPace {
    ahead: Duration,
    /// Smoothed; nobody knows before the first.
    each: Option<Duration>,
}

impl AttemptPace {
    /// Nothing is known yet; so much work is to lie ready.
    pub(super) fn new(ahead: Duration) -> Self {
        Self { ahead, each: None }
    }

    pub(super) fn measure(&mut self, duration: Duration) {
        self.each = Some(match self.each {
            None => duration,
            Some(pace) => (pace * 7 + duration) / 8,
        });
    }

    /// How many attempts may lie ready for each slot; none while attempts are long, so that a stop has little to take back.
    pub(super) fn each_ahead(self) -> usize {
        let Some(pace) = self.each else { return 0 };
        let nanos = pace.as_nanos().max(1);
        usize::try_from(self.ahead.as_nanos() / nanos).unwrap_or(MAX_AHEAD)
    }
}
