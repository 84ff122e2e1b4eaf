//! [`Clock`]: the run time of a session.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use runner_model::{RunClock, RunTime};
use rustix::time::{ClockId, clock_gettime};

use crate::signals::lock;

/// Run time of a session, which does not advance while the session is paused or the process is suspended. Clones share one
/// clock.
///
/// A suspension is detected by the gap between two reads, so the clock must be read often. The watchdog reads it every 50 ms.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Arc<Mutex<ClockState>>);

#[derive(Debug)]
struct ClockState {
    clock: RunClock,
    /// Run times of pauses and suspensions, each with the total of suspended time by its end.
    stops: Vec<(RunTime, Duration)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(ClockState::new())))
    }

    /// Resets the run time to 0.
    pub(crate) fn restart(&self) {
        *lock(&self.0) = ClockState::new();
    }

    pub(crate) fn now(&self) -> RunTime {
        lock(&self.0).advance()
    }

    /// Stops or continues the clock.
    pub(crate) fn pause(&self, is_paused: bool) {
        let mut state = lock(&self.0);
        state.advance();
        state.clock.pause(is_paused);
    }

    /// Returns the time of all pauses and suspensions.
    pub(crate) fn suspended(&self) -> Duration {
        self.suspended_since(RunTime::default())
    }

    /// Returns the time of pauses and suspensions at or after `since`.
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
        let now = self.clock.look(read(ClockId::Monotonic), || read(ClockId::ProcessCPUTime));
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

/// Returns the monotonic clock in microseconds. All processes of the machine share it, so workers' slot words can use it.
pub fn monotonic() -> u64 {
    read(ClockId::Monotonic).as_micros() as u64
}
