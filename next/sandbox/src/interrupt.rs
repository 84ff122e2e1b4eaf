//! [`Interrupt`] and [`Guard`]: what ends a guest from outside.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use runner_model::{Micros, RunClock, RunTime};
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;
use tokio::{sync::Notify, time::sleep};
use wasmtime::UpdateDeadline;

use crate::{Activity, store::limiter::Share};

// Zero is the state of an interrupt that was not used.
const REQUESTED: u8 = 1;
const NOW: u8 = 2;

/// Stops all guests of [`Engines`](crate::Engines), or lets them wait. Cheap to clone; also ends a call that waits.
#[derive(Clone, Default)]
pub struct Interrupt(pub(crate) Arc<InterruptState>);

/// What guests, the thread that ticks, and interrupts share.
#[derive(Default)]
pub(crate) struct InterruptState {
    state: AtomicU8,
    is_paused: AtomicBool,
    /// The time of all calls. The thread that ticks looks at it often enough.
    clock: Mutex<RunClock>,
    /// Told when the interrupt or a pause has changed.
    wake: Notify,
    /// What guests may have together.
    pub(crate) memory: Share,
    /// The engine for small memories, the one for others, and the one that makes sandboxes on demand.
    pub(crate) engines: [OnceLock<wasmtime::Engine>; 3],
}

/// What bounds one call.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) interrupt: Interrupt,
    pub(crate) activity: Activity,
    began: RunTime,
    /// What had not counted of the clock when it began.
    suspended: Duration,
    deadline: RunTime,
}

/// How long a call took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallTime {
    pub(crate) duration: Duration,
    /// For how long it was paused or suspended, beside that.
    pub(crate) suspended: Duration,
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
    /// Of guests that may have so much memory together.
    pub(crate) fn new(memory: Share) -> Self {
        let shared = InterruptState { memory, ..InterruptState::default() };
        Self(Arc::new(shared))
    }

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

    /// Lets guests wait where they are, or go on. Those that compute wait within a few milliseconds, except inside one long
    /// instruction; those that wait in the host go on to wait, and get what they waited for after the pause. No time of
    /// their calls passes meanwhile.
    pub fn pause(&self, is_paused: bool) {
        self.0.clock().pause(is_paused);
        self.0.is_paused.store(is_paused, Ordering::Release);
        self.0.increment_epoch();
        self.0.wake.notify_waiters();
    }

    /// For how long the clock of all calls did not go on, because of pauses and because the process was suspended. Only
    /// differences mean something.
    pub fn suspended(&self) -> Duration {
        self.0.clock().suspended()
    }

    fn is_paused(&self) -> bool {
        self.0.is_paused.load(Ordering::Acquire)
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) >= REQUESTED
    }

    pub(crate) fn is_now(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == NOW
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Interrupt").field(&self.0.state).finish()
    }
}

impl InterruptState {
    /// The clock, after a look at it.
    pub(crate) fn clock(&self) -> MutexGuard<'_, RunClock> {
        let read = |clock| clock_gettime(clock).try_into().unwrap_or_default();
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.look(read(ClockId::Monotonic), || read(ClockId::ProcessCPUTime));
        clock
    }

    pub(crate) fn increment_epoch(&self) {
        for engine in self.engines.iter().filter_map(OnceLock::get) {
            engine.increment_epoch();
        }
    }
}

impl Guard {
    /// For a call that begins now, may take `timeout`, and tells nobody what it does.
    pub(crate) fn new(interrupt: Interrupt, timeout: Micros) -> Self {
        Self::watched(interrupt, timeout, Activity::default())
    }

    /// For a call that begins now, may take `timeout`, and tells what it does.
    pub(crate) fn watched(interrupt: Interrupt, timeout: Micros, activity: Activity) -> Self {
        const YEAR: Micros = Micros(366 * 24 * 3600 * 1_000_000);
        activity.begin();
        let clock = interrupt.0.clock();
        let (began, suspended) = (clock.run_time(), clock.suspended());
        drop(clock);
        Self { interrupt, activity, began, suspended, deadline: began + timeout.min(YEAR) }
    }

    /// Time until the deadline.
    pub(crate) fn remaining(&self) -> Duration {
        let now = self.interrupt.0.clock().run_time();
        (self.deadline - now).into()
    }

    /// How long the call has taken until now.
    pub(crate) fn took(&self) -> CallTime {
        let clock = self.interrupt.0.clock();
        CallTime {
            duration: (clock.run_time() - self.began).into(),
            suspended: clock.suspended() - self.suspended,
        }
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
            if self.interrupt.is_paused() {
                let halt = halted.as_mut().poll(context);
                // A pause that ends only now wakes nothing.
                if halt.is_ready() || self.interrupt.is_paused() {
                    return halt.map(|halt| Err(halt.into()));
                }
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
        self.until(self.deadline).await
    }

    /// Waits so long, in time of the call: a pause is none.
    pub(crate) async fn sleep(&self, time: Duration) {
        let now = self.interrupt.0.clock().run_time();
        self.until(now + Micros::from(time)).await;
    }

    async fn until(&self, end: RunTime) -> Halt {
        loop {
            // Made before the state is read: a waiter learns of every change that comes after it was made.
            let woken = self.interrupt.0.wake.notified();
            if self.interrupt.is_now() {
                return Halt::Stopped;
            }
            if self.interrupt.is_paused() {
                woken.await;
                continue;
            }
            let now = self.interrupt.0.clock().run_time();
            let remaining: Duration = (end - now).into();
            if remaining.is_zero() {
                return Halt::Timeout;
            }
            tokio::select! {
                () = woken => {}
                () = sleep(remaining) => {}
            }
        }
    }

    /// What a store asks whenever the epoch changes.
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.interrupt.is_now() {
            return Err(Halt::Stopped.into());
        }
        // In a pause it waits, by `bound`, because it yields.
        if self.remaining().is_zero() {
            return Err(Halt::Timeout.into());
        }
        // Not `Yield`: tokio would put the task in front of those that wait.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }
}

#[cfg(test)]
#[path = "tests/interrupt.rs"]
mod tests;
