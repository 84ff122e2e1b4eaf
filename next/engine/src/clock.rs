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
pub(crate) struct Clock(Arc<Mutex<RunClock>>);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(RunClock::new(read(
            ClockId::Monotonic,
        )))))
    }

    /// Looks at the clock.
    pub(crate) fn now(&self) -> RunTime {
        look(&mut lock(&self.0))
    }

    /// Lets no time pass, or lets it go on.
    pub(crate) fn pause(&self, is_paused: bool) {
        let mut clock = lock(&self.0);
        look(&mut clock);
        clock.pause(is_paused);
    }

    /// For how long it did not go on.
    pub(crate) fn suspended(&self) -> Duration {
        let mut clock = lock(&self.0);
        look(&mut clock);
        clock.suspended()
    }
}

fn look(clock: &mut RunClock) -> RunTime {
    let cpu = || read(ClockId::ProcessCPUTime);
    clock.look(read(ClockId::Monotonic), cpu)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// The monotonic clock in microseconds, which all processes of the machine share.
pub(crate) fn monotonic() -> u64 {
    read(ClockId::Monotonic).as_micros() as u64
}
