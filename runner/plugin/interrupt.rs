//! [`Interrupt`] and [`Guard`]: what ends a guest from outside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::sync::Notify;
use wasmtime::UpdateDeadline;

use super::clock::{self, Moment};

// Zero is the state of an interrupt that nobody has used.
const REQUESTED: u8 = 1;
const NOW: u8 = 2;

/// A request to stop, as data; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<InterruptState>);

#[derive(Debug, Default)]
struct InterruptState {
    state: AtomicU8,
    wake: Notify,
}

/// What bounds one attempt.
#[derive(Clone, Debug)]
pub struct Guard {
    /// When the attempt times out.
    pub deadline: Moment,
    /// Stops it earlier.
    pub interrupt: Interrupt,
}

/// Why the host ended a guest; travels through wasmtime as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Halt {
    #[error("the deadline has passed")]
    Timeout,
    #[error("it was interrupted")]
    Stopped,
}

impl Interrupt {
    /// Asks guests to end by themselves: from now on `stop-requested` is true.
    pub fn request(&self) {
        self.0.state.fetch_max(REQUESTED, Ordering::Relaxed);
    }

    /// Ends guests wherever they are.
    pub fn now(&self) {
        self.0.state.store(NOW, Ordering::Release);
        self.0.wake.notify_waiters();
    }

    /// Tells whether guests are asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) >= REQUESTED
    }

    /// Tells whether guests are ended.
    pub fn is_now(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == NOW
    }

    /// Waits for [`Interrupt::now`].
    pub async fn interrupted(&self) {
        loop {
            // Before the look at the state: a waiter is told of every call that comes after it was made.
            let woken = self.0.wake.notified();
            if self.is_now() {
                return;
            }
            woken.await;
        }
    }
}

impl Guard {
    /// Time until the deadline.
    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Moment::now())
    }

    /// Runs a guest that may compute, which the epoch callback ends, or wait in the host, whose future is dropped here.
    pub(super) async fn bound<T>(
        &self,
        guest: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        tokio::select! {
            // Most guests end before they ever wait; then neither timer nor waiter is made.
            biased;
            result = guest => result,
            halt = self.halted() => Err(halt.into()),
        }
    }

    /// Waits until the attempt is not to go on.
    pub(super) async fn halted(&self) -> Halt {
        tokio::select! {
            biased;
            () = self.interrupt.interrupted() => Halt::Stopped,
            () = clock::sleep_until(self.deadline) => Halt::Timeout,
        }
    }

    /// Tells whether the attempt is to go on.
    pub(super) fn check(&self) -> Result<(), Halt> {
        if self.interrupt.is_now() {
            return Err(Halt::Stopped);
        }
        if Moment::now() >= self.deadline {
            return Err(Halt::Timeout);
        }
        Ok(())
    }

    /// What the store asks at every tick of the epoch.
    pub(super) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        self.check()?;
        let turn = Box::pin(async {
            // Not `Yield`: tokio would put the task straight back in front of those that wait.
            tokio::task::yield_now().await;
            clock::while_paused().await;
        });
        Ok(UpdateDeadline::YieldCustom(1, turn))
    }
}
