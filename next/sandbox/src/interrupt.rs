//! [`Interrupt`] and [`Guard`]: what ends a guest from outside.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use runner_model::Micros;
use thiserror::Error;
use tokio::{sync::Notify, time::sleep_until};
use wasmtime::UpdateDeadline;

// Zero is the state of an interrupt that was not used.
const REQUESTED: u8 = 1;
const NOW: u8 = 2;

/// Stops all guests of [`Engines`](crate::Engines). Cheap to clone; also ends a call that waits.
#[derive(Clone, Default)]
pub struct Interrupt(pub(crate) Arc<Shared>);

/// What guests, the thread that ticks, and interrupts share.
#[derive(Default)]
pub(crate) struct Shared {
    state: AtomicU8,
    wake: Notify,
    /// The engine for small memories and the one for others.
    pub(crate) engines: [OnceLock<wasmtime::Engine>; 2],
}

/// What bounds one call.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) deadline: Instant,
    pub(crate) interrupt: Interrupt,
}

/// Why the host ended a guest. It travels through wasmtime as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Halt {
    #[error("the deadline has passed")]
    Timeout,
    #[error("it was interrupted")]
    Stopped,
}

/// A panic of the host while it served a guest.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct HostPanic(pub(crate) String);

impl Interrupt {
    /// Interrupts now, and for good. Guests that compute end within a few milliseconds, except inside one long instruction.
    pub fn now(&self) {
        self.0.state.store(NOW, Ordering::Release);
        // Guests that compute look at the state when the epoch changes.
        self.0.increment_epoch();
        self.0.wake.notify_waiters();
    }

    /// Asks guests to end by themselves: `stop-requested` of the contract is true from now on.
    pub fn request(&self) {
        self.0.state.fetch_max(REQUESTED, Ordering::Relaxed);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) >= REQUESTED
    }

    pub(crate) fn is_now(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == NOW
    }

    /// Waits for [`Interrupt::now`].
    async fn interrupted(&self) {
        loop {
            // Made before the state is read: a waiter learns of every call that comes after it was made.
            let woken = self.0.wake.notified();
            if self.is_now() {
                return;
            }
            woken.await;
        }
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Interrupt")
            .field(&self.0.state)
            .finish()
    }
}

impl Shared {
    pub(crate) fn increment_epoch(&self) {
        for engine in self.engines.iter().filter_map(OnceLock::get) {
            engine.increment_epoch();
        }
    }
}

impl Guard {
    /// For a call that begins now and may take `timeout`.
    pub(crate) fn new(interrupt: Interrupt, timeout: Micros) -> Self {
        const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
        Self {
            deadline: Instant::now() + Duration::from(timeout).min(YEAR),
            interrupt,
        }
    }

    /// Time until the deadline.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Runs a guest that may compute, which [`Guard::tick`] ends, or wait in the host; then its future is dropped here. A
    /// panic of the host is an error.
    pub(crate) async fn bound<T>(
        &self,
        guest: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let (mut guest, mut halted) = (pin!(guest), pin!(self.halted()));
        poll_fn(|context| {
            // Before the guest is resumed: it may be one of many that wait for their turn, and would take it first.
            if self.interrupt.is_now() {
                return Poll::Ready(Err(Halt::Stopped.into()));
            }
            match catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(context))) {
                Ok(Poll::Ready(result)) => Poll::Ready(result),
                // Most guests end before they ever wait; then neither timer nor waiter is made.
                Ok(Poll::Pending) => halted.as_mut().poll(context).map(|halt| Err(halt.into())),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                    let text = text.unwrap_or("it panicked without a message");
                    Poll::Ready(Err(HostPanic(text.to_owned()).into()))
                }
            }
        })
        .await
    }

    async fn halted(&self) -> Halt {
        tokio::select! {
            biased;
            () = self.interrupt.interrupted() => Halt::Stopped,
            () = sleep_until(self.deadline.into()) => Halt::Timeout,
        }
    }

    /// What a store asks whenever the epoch changes.
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.interrupt.is_now() {
            return Err(Halt::Stopped.into());
        }
        if Instant::now() >= self.deadline {
            return Err(Halt::Timeout.into());
        }
        // Not `Yield`: tokio would put the task in front of those that wait.
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }
}

#[cfg(test)]
#[path = "tests/interrupt.rs"]
mod tests;
