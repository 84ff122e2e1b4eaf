//! [`Interrupt`] and [`Guard`]: what ends a guest from outside.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::Notify;
use wasmtime::UpdateDeadline;

use super::{
    activity::Activity,
    budget::MemoryLease,
    clock::{self, Moment},
};

// Zero is the state of an interrupt that nobody has used.
const REQUESTED: u8 = 1;
const NOW: u8 = 2;

/// A request to stop, as data; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<InterruptState>);

#[derive(Default)]
struct InterruptState {
    state: AtomicU8,
    wake: Notify,
    tick: OnceLock<Tick>,
}

/// Lets guests that compute come to their next tick now.
type Tick = Box<dyn Fn() + Send + Sync>;

/// What bounds one attempt.
#[derive(Clone, Debug)]
pub struct Guard {
    /// When the attempt times out.
    pub deadline: Moment,
    /// Stops it earlier.
    pub interrupt: Interrupt,
    /// What it holds of a memory that it shares with others; the time for which it waits for more is not the attempt's.
    pub memory: Option<Arc<MemoryLease>>,
    /// Tells what its guest is doing.
    pub activity: Activity,
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
        if let Some(tick) = self.0.tick.get() {
            tick();
        }
        self.0.wake.notify_waiters();
    }

    /// Calls `tick` when guests are to be ended, so that those that compute need not wait for the next tick of their engine.
    /// The first that is given counts.
    pub(super) fn tick_by(&self, tick: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.tick.set(Box::new(tick));
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

impl fmt::Debug for InterruptState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("InterruptState")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Time until the deadline.
    pub(super) fn remaining(&self) -> Duration {
        self.ends().saturating_duration_since(Moment::now())
    }

    /// How long the attempt has waited for memory that others have.
    pub(super) fn waited(&self) -> Duration {
        let memory = self.memory.as_ref();
        memory.map_or(Duration::ZERO, |memory| memory.waited())
    }

    /// When the attempt times out, if it does not have to wait for memory from now on.
    fn ends(&self) -> Moment {
        self.deadline + self.waited()
    }

    async fn timed_out(&self) {
        while Moment::now() < self.ends() {
            clock::sleep_until(self.ends()).await;
        }
    }

    /// Runs a guest that may compute, which the epoch callback ends, or wait in the host, whose future is dropped here.
    pub(super) async fn bound<T>(
        &self,
        guest: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let (mut guest, mut halted) = (pin!(guest), pin!(self.halted()));
        let mut is_waiting = false;
        let mut paused = None;
        poll_fn(|context| {
            // Before the guest is resumed: it may be one of many that wait for their turn, and would take it first.
            if self.interrupt.is_now() {
                return Poll::Ready(Err(Halt::Stopped.into()));
            }
            // Nor is it told of what has come while it is paused.
            if paused.is_some() || clock::is_paused() {
                let pause = paused.get_or_insert_with(|| Box::pin(clock::while_paused()));
                if pause.as_mut().poll(context).is_pending() {
                    return halted.as_mut().poll(context).map(|halt| Err(halt.into()));
                }
                paused = None;
            }
            if is_waiting {
                self.activity.goes_on();
            }
            // Most guests end before they ever wait; then neither timer nor waiter is made.
            match guest.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => {
                    is_waiting = self.activity.pends();
                    halted.as_mut().poll(context).map(|halt| Err(halt.into()))
                }
            }
        })
        .await
    }

    /// Waits until the attempt is not to go on.
    pub(super) async fn halted(&self) -> Halt {
        tokio::select! {
            biased;
            () = self.interrupt.interrupted() => Halt::Stopped,
            () = self.timed_out() => Halt::Timeout,
        }
    }

    /// Tells whether the attempt is to go on.
    pub(super) fn check(&self) -> Result<(), Halt> {
        if self.interrupt.is_now() {
            return Err(Halt::Stopped);
        }
        if Moment::now() >= self.ends() {
            return Err(Halt::Timeout);
        }
        Ok(())
    }

    /// What the store asks at every tick of the epoch.
    pub(super) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        self.check()?;
        let activity = self.activity.clone();
        activity.yields(true);
        let turn = Box::pin(async move {
            // Not `Yield`: tokio would put the task straight back in front of those that wait.
            tokio::task::yield_now().await;
            clock::while_paused().await;
            activity.yields(false);
        });
        Ok(UpdateDeadline::YieldCustom(1, turn))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::{Future, poll_fn},
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use super::{Guard, Halt, Interrupt};
    use crate::plugin::{activity::Activity, clock::Moment};

    #[tokio::test]
    async fn a_guest_whose_turn_comes_after_the_interrupt_is_not_resumed() {
        let interrupt = Interrupt::default();
        let guard = Guard {
            deadline: Moment::now() + Duration::from_secs(3600),
            interrupt: interrupt.clone(),
            memory: None,
            activity: Activity::default(),
        };
        let turns = Cell::new(0);
        let mut bound = pin!(guard.bound(poll_fn(|context| {
            turns.set(turns.get() + 1);
            // It is always ready for another turn.
            context.waker().wake_by_ref();
            Poll::<wasmtime::Result<()>>::Pending
        })));
        let mut context = Context::from_waker(Waker::noop());
        assert!(bound.as_mut().poll(&mut context).is_pending());
        interrupt.now();
        let Poll::Ready(Err(error)) = bound.as_mut().poll(&mut context) else {
            panic!("it goes on");
        };
        assert_eq!(error.downcast_ref(), Some(&Halt::Stopped));
        assert_eq!(turns.get(), 1);
    }

    #[test]
    fn guests_that_compute_come_to_their_next_tick_when_they_are_to_end() {
        let interrupt = Interrupt::default();
        let has_ticked = Arc::new(AtomicBool::new(false));
        let (ticked, seen) = (Arc::clone(&has_ticked), interrupt.clone());
        // At that tick they look.
        interrupt.tick_by(move || ticked.store(seen.is_now(), Ordering::Relaxed));
        interrupt.request();
        assert!(!has_ticked.load(Ordering::Relaxed));
        interrupt.now();
        assert!(has_ticked.load(Ordering::Relaxed));
    }
}
