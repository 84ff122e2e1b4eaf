//! How long a stop may take.

use std::time::Duration;

use crate::plugin::{Interrupt, Moment, clock};

/// How long a stop may take, its grace not counted.
pub(super) const STOP_BOUND: Duration = Duration::from_secs(1);
/// How long a stop without grace may take.
pub(super) const KILL_BOUND: Duration = Duration::from_millis(300);
/// What the watchdog gives on top before it ends a process that did not keep a bound by itself.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// Waits until guests that were interrupted should have ended; one inside a long instruction may not have.
pub(in crate::run) async fn unanswered(interrupt: &Interrupt) {
    interrupt.interrupted().await;
    clock::sleep_until(Moment::now() + STOP_BOUND).await;
}
