//! The clock of a session.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use runner_model::{RunClock, RunTime};
use rustix::time::{ClockId, clock_gettime};

use crate::signals::lock;

/// Time since a session began, without the time in which it was paused or the process suspended. All that goes by it share
/// it, and the watchdog looks at it often enough.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    clock: RunClock,
    /// When it did not go on, and for how long in all by the end of that.
    stops: Vec<(RunTime, Duration)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(ClockState::new())))
    }

    /// Starts again at 0.
    pub(crate) fn restart(&self) {
        *lock(&self.0) = ClockState::new();
    }

    /// Looks at the clock.
    pub(crate) fn now(&self) -> RunTime {
        lock(&self.0).advance()
    }

    /// Lets no time pass, or lets it go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        let mut state = lock(&self.0);
        state.advance();
        state.clock.pause(is_paused);
    }

    /// For how long it did not go on.
    pub(crate) fn suspended(&self) -> Duration {
        self.suspended_since(RunTime::default())
    }

    /// For how long it did not go on since then.
    pub(crate) fn suspended_since(&self, since: RunTime) -> Duration {
        let mut state = lock(&self.0);
        state.advance();
        let before = state.stops.partition_point(|(at, _)| *at < since);
        let before = before.checked_sub(1).map_or(Duration::ZERO, |last| state.stops[last].1);
        state.clock.suspended().saturating_sub(before)
    }
}

impl ClockState {
    fn new() -> Self {
        Self { clock: RunClock::new(read(ClockId::Monotonic)), stops: Vec::new() }
    }

    fn advance(&mut self) -> RunTime {
        let cpu = || read(ClockId::ProcessCPUTime);
        let now = self.clock.look(read(ClockId::Monotonic), cpu);
        let suspended = self.clock.suspended();
        match self.stops.last_mut() {
            Some((at, all)) if *at == now => *all = suspended,
            Some((_, all)) if *all == suspended => {}
            None if suspended.is_zero() => {}
            _ => self.stops.push((now, suspended)),
        }
        now
    }
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// The monotonic clock in microseconds, which all processes of the machine share.
pub(crate) fn monotonic() -> u64 {
    read(ClockId::Monotonic).as_micros() as u64
}
