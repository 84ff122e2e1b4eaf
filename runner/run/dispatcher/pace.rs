//! [`AttemptPace`]: how long attempts take, and so how much is assigned before anybody is free for it.

use std::time::Duration;

/// How much work lies ready for the executors, so that they never wait for the dispatcher: messages of other processes gather
/// on both sides, for two milliseconds each.
const AHEAD: Duration = Duration::from_millis(8);
/// The most attempts that lie ready with one executor.
pub(super) const MAX_AHEAD: usize = 512;

/// How long attempts take, smoothed; nobody knows before the first.
#[derive(Clone, Copy, Default)]
pub(super) struct AttemptPace(Option<Duration>);

impl AttemptPace {
    pub(super) fn measure(&mut self, duration: Duration) {
        self.0 = Some(match self.0 {
            None => duration,
            Some(pace) => (pace * 7 + duration) / 8,
        });
    }

    /// How many attempts may lie ready for each slot; none while attempts are long, so that a stop has little to take back.
    pub(super) fn each_ahead(self) -> usize {
        let Some(pace) = self.0 else { return 0 };
        let nanos = pace.as_nanos().max(1);
        usize::try_from(AHEAD.as_nanos() / nanos).unwrap_or(MAX_AHEAD)
    }
}
