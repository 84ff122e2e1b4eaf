//! [`AttemptPace`]: how long attempts take, and so how much is assigned before anybody is free for it.

use std::time::Duration;

/// How much work lies ready for executors.
#[derive(Clone, Copy)]
pub(in crate::run) struct Ahead {
    /// As much as this at most.
    most: Duration,
    /// With less than this an executor is assigned more.
    least: Duration,
}

/// Executors never wait for the dispatcher: messages of other processes gather on both sides, for two milliseconds each.
pub(in crate::run) const AHEAD: Ahead = Ahead {
    most: Duration::from_millis(8),
    least: Duration::from_millis(8),
};
/// The same where executors are on other machines: on the way to those, messages gather for longer, in both directions. Each
/// costs the engine and both ends as much as a short attempt, so some attempts are assigned in one and not each by itself.
pub(in crate::run) const AHEAD_ELSEWHERE: Ahead = Ahead {
    most: Duration::from_millis(80),
    least: Duration::from_millis(40),
};
/// The most attempts that lie ready with one executor.
pub(super) const MAX_AHEAD: usize = 512;

/// How long attempts take, and how much work is to lie ready.
#[derive(Clone, Copy)]
pub(super) struct AttemptPace {
    ahead: Ahead,
    /// Smoothed; nobody knows before the first.
    each: Option<Duration>,
}

impl AttemptPace {
    /// Nothing is known yet; so much work is to lie ready.
    pub(super) fn new(ahead: Ahead) -> Self {
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
        self.fitting(self.ahead.most)
    }

    /// With how many of them for each slot an executor has enough.
    pub(super) fn least_ahead(self) -> usize {
        self.fitting(self.ahead.least)
    }

    fn fitting(self, time: Duration) -> usize {
        let Some(pace) = self.each else { return 0 };
        let nanos = pace.as_nanos().max(1);
        usize::try_from(time.as_nanos() / nanos).unwrap_or(MAX_AHEAD)
    }
}
