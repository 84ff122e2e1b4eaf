//! Waiting for a condition. No test assumes that something has happened because time has passed, and no wait is endless.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::progress::{self, Work};

/// Longer than any condition takes, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(300);
/// Bound of something that takes 0.1 s. The rest is for a debug build next to other tests on two cores.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Bound of a stop, which takes 0.1 s and is given up by the watchdog after 2 s. The rest is for a slow machine.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Shortest and longest pause between two looks at a condition. The pause grows with the time that has passed.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(10)];
/// Longest pause after a look that itself takes long, such as one that starts a program.
const REST: Duration = Duration::from_millis(50);
/// Interval at which the work of programs is compared.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Comparisons without any work after which a wait ends: 30 s. They are counted because a machine may be suspended.
const IDLE: u32 = 15;

/// Bound of a wait: [`LONG`], or 30 s in which no program of the test has used CPU time or written anything.
pub(crate) struct Patience {
    started: Instant,
    compared: Instant,
    work: Option<Work>,
    idle: u32,
}

impl Patience {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { started: now, compared: now, work: None, idle: 0 }
    }

    /// Fails with the output of the test's programs if the wait has lasted too long.
    #[track_caller]
    pub(crate) fn check(&mut self, what: &str) {
        let waited = self.started.elapsed();
        let shown = progress::outputs;
        assert!(waited < LONG, "timed out waiting until {what}:\n{}", shown());
        if self.compared.elapsed() < COMPARE_EVERY {
            return;
        }
        let work = progress::work();
        self.idle = if work.is_some() && work == self.work { self.idle + 1 } else { 0 };
        (self.work, self.compared) = (work, Instant::now());
        assert!(
            self.idle < IDLE,
            "after {waited:?}, nothing works any more while this waits until {what}:\n{}",
            shown()
        );
    }
}

/// Polls until there is a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::new();
    loop {
        let looked = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        let rest = looked.elapsed().min(REST);
        patience.check(what);
        let [least, most] = LOOK_EVERY;
        thread::sleep((patience.started.elapsed() / 20).clamp(least, most).max(rest));
    }
}

/// Polls until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
