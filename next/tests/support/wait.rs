//! Waiting for a condition. A test never takes the passing of time for a proof that something has happened.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes that a test waits for, also on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks again and again until there is a value.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LONG, "waited in vain until {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again until the condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
