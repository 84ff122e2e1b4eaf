//! How a stop reaches a run, and what ends the process when nothing else does.
//!
//! Signals (in `signals.rs`) and requests become [`StopRequest`]s, which go to the dispatcher. Beside it, a [`Watchdog`] on an OS thread of
//! its own looks for requests and ends the process where a wedged runtime does not keep the bounds of a stop.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    model::{Actor, Reason, StopMode, StopSignal},
    plugin::{Interrupt, Moment, clock},
    record::{
        By, LastWords, last_words,
        request::{self, Holding},
    },
};

/// How often the watchdog looks for requests and bounds.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a stop may take, its grace not counted.
const STOP_BOUND: Duration = Duration::from_secs(1);
/// How long a stop without grace may take.
const KILL_BOUND: Duration = Duration::from_millis(300);
/// What the watchdog gives on top before it ends a process that did not keep a bound by itself.
const SLACK: Duration = Duration::from_secs(1);

/// A request to stop, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRequest {
    /// How hard.
    pub mode: StopMode,
    /// The signal that it came by, if it did.
    pub signal: Option<StopSignal>,
    /// Who asked for it from another process, as far as they said so.
    pub actor: Option<Arc<Actor>>,
}

impl StopRequest {
    /// Tells whether guests are asked to end.
    pub fn interrupts(&self) -> bool {
        self.mode > StopMode::Drain
    }

    /// The reason of a run that ends by this request.
    pub(super) fn reason(&self) -> Reason {
        match (self.signal, self.mode) {
            (Some(_), _) => Reason::Interrupted,
            (None, StopMode::Cancel) => Reason::Cancelled,
            (None, StopMode::Drain | StopMode::Stop | StopMode::Kill) => Reason::Stopped,
        }
    }

    /// The cause of a run's end by this request.
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.reason(),
            signal: self.signal,
            actor: self.actor.clone(),
        }
    }
}

/// Why a session ends before its work is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The reason that its run gets.
    pub reason: Reason,
    /// The signal, if that was the reason.
    pub signal: Option<StopSignal>,
    /// Who asked for it from another process.
    pub actor: Option<Arc<Actor>>,
}

impl Cause {
    /// A cause that nobody asked for.
    pub fn of(reason: Reason) -> Self {
        Self {
            reason,
            signal: None,
            actor: None,
        }
    }

    /// Says it: `stopped by anna@host: disk needed`, where `verb` is the first word. `limit` is what sets the run's time.
    pub fn text(&self, verb: &str, limit: &str) -> String {
        match (self.reason, self.signal, &self.actor) {
            (Reason::Timeout, ..) => format!("the run's time is up: {limit}"),
            (Reason::FailFast, ..) => "enough trials ended badly".into(),
            (Reason::Storage, ..) => "a row could not be stored".into(),
            (_, Some(signal), _) => format!("{verb} by {}", signal.as_str()),
            (_, _, Some(actor)) => format!("{verb} by {actor}"),
            (Reason::Cancelled, ..) => format!("{verb} by `runner cancel`"),
            _ => format!("{verb} by `runner stop`"),
        }
    }
}

/// Waits until guests that were interrupted should have ended; one inside a long instruction may not have.
pub(super) async fn unanswered(interrupt: &Interrupt) {
    interrupt.interrupted().await;
    clock::sleep_until(Moment::now() + STOP_BOUND).await;
}

/// Ends the process when a stop's bound has passed and the session is still there.
pub struct Watchdog {
    shared: Arc<Watched>,
}

struct Watched {
    grace: Duration,
    /// Set when the session has ended by itself.
    is_over: AtomicBool,
    bound: Mutex<Option<Bound>>,
}

/// When a session must have ended, and what is said of it if it has not.
#[derive(Clone)]
struct Bound {
    at: Moment,
    cause: Cause,
}

/// What a watchdog needs to know of its session.
pub struct Watch {
    /// The run's directory.
    pub run_dir: PathBuf,
    /// What requests must name.
    pub holding: Holding,
    /// How long the session may take; absent while it waits for others, until [`Watchdog::bound`].
    pub timeout: Option<Duration>,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Duration,
    /// What the process exits with when the watchdog ends it.
    pub exit_code: fn(Reason, Option<StopSignal>) -> i32,
}

impl Watchdog {
    /// Starts to watch; requests that it finds go to `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
    pub fn start(
        watch: Watch,
        mut listener: impl FnMut(StopRequest) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Watched {
            grace: watch.grace,
            is_over: AtomicBool::new(false),
            bound: Mutex::new(None),
        });
        if let Some(timeout) = watch.timeout {
            shared.expect_timeout(timeout);
        }
        let watched = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                let mut seen = None;
                while !watched.is_over.load(Ordering::Acquire) {
                    watched.enforce(&watch);
                    let pending = request::pending(&watch.run_dir, &watch.holding);
                    if let Some(pending) = pending.filter(|pending| Some(pending.mode) > seen) {
                        seen = Some(pending.mode);
                        let request = StopRequest {
                            mode: pending.mode,
                            signal: None,
                            actor: pending.actor.map(Arc::new),
                        };
                        watched.expect_end_of(&request);
                        listener(request);
                    }
                    std::thread::park_timeout(LOOK_EVERY);
                }
            })?;
        Ok(Self { shared })
    }

    /// Says how long the session may take from now on.
    pub fn bound(&self, timeout: Duration) {
        self.shared.expect_timeout(timeout);
    }

    /// Makes a handle that tells the watchdog of a stop that somebody else asked for.
    pub fn told(&self) -> impl Fn(&StopRequest) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |request| shared.expect_end_of(request)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
    }
}

impl Watched {
    fn expect_end_of(&self, request: &StopRequest) {
        let after = match request.mode {
            // Bounded by the run's own deadline.
            StopMode::Drain => return,
            StopMode::Stop | StopMode::Cancel => self.grace + STOP_BOUND,
            StopMode::Kill => KILL_BOUND,
        };
        self.expect_end(Bound {
            at: Moment::now() + after + SLACK,
            cause: request.cause(),
        });
    }

    fn expect_timeout(&self, timeout: Duration) {
        self.expect_end(Bound {
            at: Moment::now() + timeout + self.grace + STOP_BOUND + SLACK,
            cause: Cause::of(Reason::Timeout),
        });
    }

    /// The earliest bound counts.
    fn expect_end(&self, new: Bound) {
        let mut bound = lock(&self.bound);
        if bound.as_ref().is_none_or(|old| new.at < old.at) {
            *bound = Some(new);
        }
    }

    /// Ends the process once a bound has passed: the runtime is wedged, and nobody else would.
    fn enforce(&self, watch: &Watch) {
        let bound = lock(&self.bound).clone();
        let Some(bound) = bound.filter(|bound| Moment::now() >= bound.at) else {
            return;
        };
        // Without them the next sweep takes the run for crashed, which it is.
        let Cause {
            reason,
            signal,
            actor,
        } = bound.cause;
        let words = LastWords {
            session: watch.holding.session,
            reason,
            signal,
            by: actor.as_deref().map(By::from),
        };
        drop(last_words::write(&watch.run_dir, &words));
        std::process::exit((watch.exit_code)(reason, signal));
    }
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
