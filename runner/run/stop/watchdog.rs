//! [`Watchdog`]: sees that a session ends within the bounds of a stop, whatever its runtime does.
//!
//! It is an OS thread of its own, for a runtime that is wedged looks after nothing any more. It also looks for the requests
//! that other processes leave.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    bounds::{KILL_BOUND, SLACK, STOP_BOUND},
    pauses::Pauses,
    request::{Cause, StopRequest},
};
use crate::{
    model::{Reason, StopMode, StopSignal},
    plugin::Moment,
    record::{
        By, LastWords, last_words,
        request::{self, Holding},
    },
};

/// How often the watchdog looks for requests and bounds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks after a session until it is dropped.
pub struct Watchdog {
    shared: Arc<Watched>,
}

/// A session that did not end within the bounds of a stop. It has left its last words, so that the next sweep finds why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The run's directory.
    pub run_dir: PathBuf,
    /// The reason that the run gets when its process is gone.
    pub reason: Reason,
    /// The signal, if that was the reason.
    pub signal: Option<StopSignal>,
    /// What a process exits with that ends for it.
    pub exit_code: i32,
}

/// What is done about a session that is [`Overdue`].
#[derive(Clone, Default)]
pub enum OverdueAction {
    /// The process ends, as it should where it does nothing else: nothing but that ends a runtime that is wedged, and until
    /// then the run is locked.
    #[default]
    EndProcess,
    /// The same, after this was called, which returns at once.
    EndProcessAfter(Arc<dyn Fn() + Send + Sync>),
    /// This is called, once and on a thread of the watchdog. The session is left alone: if it still comes to its end, that is
    /// written down as ever, and until then the call that runs it blocks and its run is locked.
    Call(Arc<dyn Fn(&Overdue) + Send + Sync>),
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
pub struct WatchdogSettings {
    /// The run's directory.
    pub run_dir: PathBuf,
    /// What requests must name.
    pub holding: Holding,
    /// How long the session may take; absent while it waits for others, until [`Watchdog::bound`].
    pub timeout: Option<Duration>,
    /// How long guests are asked to stop before they are interrupted.
    pub grace: Duration,
    /// What a process exits with that ends because its session is overdue.
    pub exit_code: fn(Reason, Option<StopSignal>) -> i32,
    /// What is done then.
    pub overdue: OverdueAction,
    /// Whether the session is paused: those who ask for it leave requests, too.
    pub pauses: Pauses,
}

impl Watchdog {
    /// Starts to watch; requests that it finds go to `listener`.
    ///
    /// # Errors
    ///
    /// Fails if the thread cannot be started.
    pub fn start(
        settings: WatchdogSettings,
        mut listener: impl FnMut(StopRequest) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Watched {
            grace: settings.grace,
            is_over: AtomicBool::new(false),
            bound: Mutex::new(None),
        });
        if let Some(timeout) = settings.timeout {
            shared.expect_timeout(timeout);
        }
        let watched = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                let (mut seen, mut is_overdue) = (None, false);
                let mut pause_seen = None;
                while !watched.is_over.load(Ordering::Acquire) {
                    is_overdue = is_overdue || watched.enforce(&settings);
                    let pending = request::pending(&settings.run_dir, &settings.holding);
                    if let Some(pending) = pending.filter(|pending| Some(pending.mode) > seen) {
                        seen = Some(pending.mode);
                        let request = StopRequest {
                            mode: pending.mode,
                            signal: None,
                            actor: pending.actor.map(Arc::new),
                        };
                        // No time passes in a pause, and so none of these bounds would.
                        settings.pauses.end();
                        watched.expect_end_of(&request);
                        listener(request);
                    }
                    let pause = request::pending_pause(&settings.run_dir, &settings.holding);
                    if pause != pause_seen {
                        if let Some(asked) = &pause {
                            settings
                                .pauses
                                .ask(asked.is_paused, Some(asked.actor.clone()));
                        }
                        pause_seen = pause;
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
    pub fn notifier(&self) -> impl Fn(&StopRequest) + Send + 'static {
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

    /// Does what is to be done once a bound has passed, and tells whether one has: the runtime is wedged, and nobody else
    /// would.
    fn enforce(&self, settings: &WatchdogSettings) -> bool {
        let bound = lock(&self.bound).clone();
        let Some(bound) = bound.filter(|bound| Moment::now() >= bound.at) else {
            return false;
        };
        // Without them the next sweep takes the run for crashed, which it is.
        let Cause {
            reason,
            signal,
            actor,
            budget: _,
        } = bound.cause;
        let words = LastWords {
            session: settings.holding.session,
            reason,
            signal,
            by: actor.as_deref().map(By::from),
        };
        drop(last_words::write(&settings.run_dir, &words));
        let exit_code = (settings.exit_code)(reason, signal);
        match &settings.overdue {
            OverdueAction::EndProcess => std::process::exit(exit_code),
            OverdueAction::EndProcessAfter(before) => {
                before();
                std::process::exit(exit_code)
            }
            OverdueAction::Call(call) => call(&Overdue {
                run_dir: settings.run_dir.clone(),
                reason,
                signal,
                exit_code,
            }),
        }
        true
    }
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };

    use super::{Overdue, OverdueAction, Pauses, StopRequest, Watchdog, WatchdogSettings};
    use crate::{
        model::{Reason, StopMode, StopSignal},
        record::{last_words, request::Holding},
    };

    #[test]
    fn a_program_that_embeds_the_runner_decides_what_becomes_of_an_overdue_session() {
        let directory = tempfile::tempdir().unwrap();
        let (sender, called) = mpsc::channel();
        let sender = Mutex::new(sender);
        let call = move |overdue: &Overdue| {
            drop(sender.lock().unwrap().send(overdue.clone()));
        };
        let settings = WatchdogSettings {
            run_dir: directory.path().into(),
            holding: Holding {
                session: 3,
                token: None,
            },
            timeout: Some(Duration::from_secs(3600)),
            grace: Duration::ZERO,
            exit_code: |_, _| 143,
            overdue: OverdueAction::Call(Arc::new(call)),
            pauses: Pauses::new(directory.path().into(), 3),
        };
        let watchdog = Watchdog::start(settings, |_| {}).unwrap();
        let told = watchdog.notifier();
        let kill = StopRequest {
            mode: StopMode::Kill,
            signal: Some(StopSignal::Terminate),
            actor: None,
        };
        told(&kill);
        let overdue = called.recv_timeout(Duration::from_secs(60)).unwrap();
        let expected = Overdue {
            run_dir: directory.path().into(),
            reason: Reason::Interrupted,
            signal: Some(StopSignal::Terminate),
            exit_code: 143,
        };
        assert_eq!(overdue, expected);
        let words = last_words::read(directory.path()).unwrap();
        assert_eq!((words.session, words.reason), (3, Reason::Interrupted));
        // Once is enough, whatever else is asked for.
        told(&kill);
        let again = called.recv_timeout(Duration::from_millis(300));
        assert_eq!(again, Err(mpsc::RecvTimeoutError::Timeout));
        drop(watchdog);
    }
}
