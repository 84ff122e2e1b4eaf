//! Waiting for a condition. No test assumes that something has happened because time has passed.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than any condition takes, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(300);
/// Bound of something that takes 0.1 s. The rest is for a debug build next to other tests on two cores.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Bound of a stop, which takes 0.1 s and is given up by the watchdog after 2 s. The rest is for a slow machine.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Polls until there is a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "timed out waiting until {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Polls until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
