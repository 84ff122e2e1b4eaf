//! [`Interrupt`] and [`Guard`]: end guests from outside.

use std::{
    fmt,
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
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
use wasmtime::{AsContext, Trap, UpdateDeadline};
use wasmtime_wasi::{HostMonotonicClock, I32Exit};

use crate::{
    Activity,
    engine::config::STACKS,
    store::{determinism::Determinism, limiter::MemoryBudget, tool_time::ToolTime},
};

// States of an interrupt; 0 before any.
const REQUESTED: u8 = 1;
const NOW: u8 = 2;

/// Stops or pauses all guests of [`Engines`](crate::Engines). Clones share one state.
#[derive(Clone, Default)]
pub struct Interrupt(pub(crate) Arc<InterruptState>);

/// Shared by guests, the ticker thread and interrupts.
#[derive(Default)]
pub(crate) struct InterruptState {
    state: AtomicU8,
    is_paused: AtomicBool,
    /// Time of all calls. The ticker reads it often enough to notice suspensions.
    clock: Mutex<RunClock>,
    /// Notified after each change of the interrupt or of a pause.
    wake: Notify,
    /// Memory of all guests together.
    pub(crate) memory: MemoryBudget,
    /// Engines whose epochs an interrupt increments, without and with fuel. For each size of stacks: for small memories, for
    /// larger ones, and for sandboxes without slots.
    pub(crate) engines: [[[OnceLock<wasmtime::Engine>; 3]; STACKS]; 2],
}

/// The bounds of one call.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) interrupt: Interrupt,
    pub(crate) activity: Activity,
    started: RunTime,
    /// Suspended time of the clock when the call started.
    suspended: Duration,
    deadline: RunTime,
    /// Set once the guest must end because of a limit. Clones of the guard share it.
    used_up: Arc<OnceLock<UsedUp>>,
    /// Whether the guest waits for a tool. Clones of the guard share it.
    has_tool: Arc<AtomicBool>,
    /// `None` if the guest sees real time.
    pub(crate) determinism: Option<Determinism>,
    /// Whether the guest's code counts fuel.
    pub(crate) is_metered: bool,
}

/// Duration of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallTime {
    pub(crate) duration: Duration,
    /// Time that the call was paused or suspended, in addition to `duration`.
    pub(crate) suspended: Duration,
}

/// The reason why the host ended a guest. It passes through wasmtime as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Halt {
    #[error("the deadline has passed")]
    Timeout,
    #[error("it was interrupted")]
    Stopped,
}

/// A guest has ignored that a limit of its attempt is used up.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub(crate) struct UsedUp {
    /// The limit's key.
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// A panic of the host while it served a guest.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct HostPanic(pub(crate) String);

impl Interrupt {
    /// Creates the interrupt of guests that share `memory`.
    pub(crate) fn new(memory: MemoryBudget) -> Self {
        Self(Arc::new(InterruptState { memory, ..InterruptState::default() }))
    }

    /// Interrupts all calls, now and in future. Guests that compute end within milliseconds, except
    /// inside one long instruction.
    pub fn now(&self) {
        self.0.state.store(NOW, Ordering::Release);
        // Guests that compute check the state when the epoch changes.
        self.0.increment_epoch();
        self.0.wake.notify_waiters();
    }

    /// Requests that guests end by themselves: from now on `stop-requested` of the contract is
    /// true.
    pub fn request(&self) {
        self.0.state.fetch_max(REQUESTED, Ordering::Relaxed);
    }

    /// Pauses or resumes guests. Those that compute stop within milliseconds, except inside one
    /// long instruction. Those that wait in the host receive the result after the pause. The time
    /// of calls stands still.
    pub fn pause(&self, is_paused: bool) {
        self.0.clock().pause(is_paused);
        self.0.is_paused.store(is_paused, Ordering::Release);
        self.0.increment_epoch();
        self.0.wake.notify_waiters();
    }

    /// Returns the time that the clock of calls stood still, because of pauses or because the
    /// process was suspended. Only differences are meaningful.
    pub fn suspended(&self) -> Duration {
        self.0.clock().suspended()
    }

    /// Returns the time of calls.
    pub(crate) fn run_time(&self) -> RunTime {
        self.0.clock().run_time()
    }

    /// Waits until the time of calls is `end`, or until guests are interrupted.
    pub(crate) async fn until(&self, end: RunTime) -> Halt {
        loop {
            // Created before the state is read, so that no later change is missed.
            let woken = self.0.wake.notified();
            if self.is_now() {
                return Halt::Stopped;
            }
            if self.is_paused() {
                woken.await;
                continue;
            }
            let remaining: Duration = (end - self.run_time()).into();
            if remaining.is_zero() {
                return Halt::Timeout;
            }
            tokio::select! {
                () = woken => {}
                () = sleep(remaining) => {}
            }
        }
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

/// The monotonic clock of guests is the time of calls: a guest that measures time must not notice a pause.
impl HostMonotonicClock for Interrupt {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.run_time().0.saturating_mul(1000)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Interrupt").field(&self.0.state).finish()
    }
}

impl InterruptState {
    /// Locks the clock, after updating it.
    pub(crate) fn clock(&self) -> MutexGuard<'_, RunClock> {
        let read = |clock| clock_gettime(clock).try_into().unwrap_or_default();
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.look(read(ClockId::Monotonic), || read(ClockId::ProcessCPUTime));
        clock
    }

    pub(crate) fn increment_epoch(&self) {
        for engine in self.engines.iter().flatten().flatten().filter_map(OnceLock::get) {
            engine.increment_epoch();
        }
    }
}

impl Guard {
    /// Starts a call without a status line.
    pub(crate) fn new(interrupt: Interrupt, timeout: Micros) -> Self {
        Self::with_activity(interrupt, timeout, Activity::default())
    }

    /// Starts a call that may take `timeout` and reports to `activity`.
    pub(crate) fn with_activity(interrupt: Interrupt, timeout: Micros, activity: Activity) -> Self {
        const YEAR: Micros = Micros(366 * 24 * 3600 * 1_000_000);
        activity.start();
        let clock = interrupt.0.clock();
        let started = clock.run_time();
        let suspended = clock.suspended();
        drop(clock);
        let deadline = started + timeout.min(YEAR);
        let used_up = Arc::default();
        Self {
            interrupt,
            activity,
            started,
            suspended,
            deadline,
            used_up,
            has_tool: Arc::default(),
            determinism: None,
            is_metered: false,
        }
    }

    /// Ends a tool after `time`, where later guests of the attempt find the place again.
    pub(crate) fn limit_tool(&mut self, tool: &ToolTime, time: Micros) {
        if let Some(determinism) = &mut self.determinism {
            determinism.limit_tool(tool, self.started + time, time);
        }
    }

    /// Returns the time of a tool of a deterministic caller.
    pub(crate) fn tool_time(&self) -> Option<&ToolTime> {
        self.determinism.as_ref()?.tool.as_deref()
    }

    /// Returns the rest of a tool's own time. `None` if only the caller's deadline ends it.
    pub(crate) fn rest_of_tool(&self) -> Option<Duration> {
        let end = self.tool_time()?.end()?;
        Some((end - self.interrupt.run_time()).into())
    }

    /// Returns the time until the deadline.
    pub(crate) fn remaining(&self) -> Duration {
        (self.deadline - self.interrupt.run_time()).into()
    }

    /// Returns the time until the deadline as the guest sees it. It starts at `timeout` of the call,
    /// whatever the host did before.
    pub(crate) fn remaining_for_guest(&self) -> Duration {
        match &self.determinism {
            None => self.remaining(),
            Some(determinism) => {
                let passed = Duration::from_nanos(determinism.clock.read());
                determinism.timeout.saturating_sub(passed)
            }
        }
    }

    /// Returns the duration until now.
    pub(crate) fn elapsed(&self) -> CallTime {
        let clock = self.interrupt.0.clock();
        CallTime {
            duration: (clock.run_time() - self.started).into(),
            suspended: clock.suspended() - self.suspended,
        }
    }

    /// Runs a guest to its end, deadline or interrupt. [`Guard::tick`] ends a guest that computes;
    /// one that waits in the host ends because its future is dropped here. A panic of the host
    /// becomes an error. A guest that waits for a tool ends after it, see [`Guard::wait_for_tool`].
    pub(crate) async fn bound<T>(
        &self,
        // Pinned by the caller: the future of a call has 6 KiB, and moving it takes as long as the
        // rest of this function.
        mut guest: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    ) -> wasmtime::Result<T> {
        let mut halted = pin!(self.halted());
        poll_fn(|context| {
            // Before polling: the guest may be one of many that wait for their turn, and would take
            // it first.
            let is_free = !self.has_tool.load(Ordering::Relaxed);
            if is_free && self.interrupt.is_now() {
                return Poll::Ready(Err(Halt::Stopped.into()));
            }
            if is_free && self.interrupt.is_paused() {
                let halt = halted.as_mut().poll(context);
                // A pause that ends between the two checks wakes nothing.
                if halt.is_ready() || self.interrupt.is_paused() {
                    return halt.map(|halt| Err(halt.into()));
                }
            }
            let polled = catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(context)));
            if matches!(polled, Ok(Poll::Pending)) && self.has_tool.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if let Some(end) = self.determinism.as_ref().and_then(|one| one.exchanges.end()) {
                return Poll::Ready(Err(end.into()));
            }
            if let Some(end) = self.used_up.get() {
                return Poll::Ready(Err(end.clone().into()));
            }
            match polled {
                Ok(Poll::Ready(result)) => {
                    Poll::Ready(result.map_err(|error| self.end_without_fuel(error)))
                }
                Ok(Poll::Pending) => {
                    if let Some(time) = self.tool_time()
                        && time.check(self.interrupt.run_time())
                    {
                        self.interrupt.0.increment_epoch();
                    }
                    // Most guests return without waiting, and then need no timer.
                    halted.as_mut().poll(context).map(|halt| Err(halt.into()))
                }
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied())
                        .unwrap_or("a panic without a message");
                    Poll::Ready(Err(HostPanic(text.to_owned()).into()))
                }
            }
        })
        .await
    }

    /// Waits for a tool, also beyond the end of the guest. The guard of the tool has the same interrupt and almost the same
    /// deadline, so that is short. A dropped tool would leave no trace: no use of resources, no report, no step.
    pub(crate) async fn wait_for_tool<T>(&self, tool: impl Future<Output = T>) -> T {
        self.has_tool.store(true, Ordering::Relaxed);
        let ended = tool.await;
        self.has_tool.store(false, Ordering::Relaxed);
        ended
    }

    /// Returns the reason why a guest has ended that may have used up its fuel.
    fn end_without_fuel(&self, error: wasmtime::Error) -> wasmtime::Error {
        match self.tool_time() {
            Some(time) if error.downcast_ref() == Some(&Trap::OutOfFuel) => {
                time.end_without_fuel();
                error.context(Halt::Timeout)
            }
            _ => error,
        }
    }

    /// Checks a guest that has returned by itself: it must have done all that its journal has.
    pub(crate) fn check_end<T>(&self, result: wasmtime::Result<T>) -> wasmtime::Result<T> {
        let has_returned = result.as_ref().err().is_none_or(wasmtime::Error::is::<I32Exit>);
        let determinism = self.determinism.as_ref().filter(|_| has_returned);
        match determinism.and_then(Determinism::check_end) {
            Some(end) => Err(end.into()),
            None => result,
        }
    }

    /// Ends the guest as soon as it waits for the host, as each request of the contract does, or yields.
    pub(crate) fn end(&self, end: UsedUp) {
        let _ = self.used_up.set(end);
    }

    /// Never resolves if the guest must end.
    pub(crate) async fn halt_if_ended(&self) {
        if self.used_up.get().is_some() {
            pending::<()>().await;
        }
    }

    async fn halted(&self) -> Halt {
        self.interrupt.until(self.deadline).await
    }

    /// Returns whether the responses are those of another run, and sleeps take no time.
    pub(crate) fn is_replay(&self) -> bool {
        self.determinism.as_ref().is_some_and(|one| one.exchanges.is_replay())
    }

    /// Sleeps in call time, which stands still during a pause.
    pub(crate) async fn sleep(&self, time: Duration) {
        if self.is_replay() {
            return;
        }
        self.interrupt.until(self.interrupt.run_time() + Micros::from(time)).await;
    }

    /// Returns an error if the guest must end because of its deadline or an interrupt.
    pub(crate) fn check_halt(&self) -> Result<(), Halt> {
        if self.interrupt.is_now() {
            return Err(Halt::Stopped);
        }
        if self.remaining().is_zero() { Err(Halt::Timeout) } else { Ok(()) }
    }

    /// Ends or resumes the guest of a store. Called whenever the epoch changes.
    pub(crate) fn tick(&self, store: &impl AsContext) -> wasmtime::Result<UpdateDeadline> {
        self.check_halt()?;
        // During a pause `bound` does not poll the guest again after it yields.
        if self.tool_time().is_some_and(|time| time.end_here(store)) {
            return Err(Halt::Timeout.into());
        }
        self.activity.set_ready(true);
        if self.is_metered {
            // It yields by its fuel. Here it would do so at a place that no later guest finds.
            return Ok(UpdateDeadline::Continue(1));
        }
        // With `Yield`, tokio would resume the task before those that wait.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }
}

#[cfg(test)]
#[path = "tests/interrupt.rs"]
mod tests;
