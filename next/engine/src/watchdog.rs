//! [`Watchdog`]: ends the process if a session does not end within its bounds, such as when a disk does not answer or
//! nobody reads its output.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use runner_model::{
    Micros, Reason, RunStatus, RunTime, StopSignal, exit::Exit, status::RunVerdict,
};
use runner_record::{End, LiveWriter};

use crate::{clock::Clock, signals::lock};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a stop may take behind the grace.
const STOP_BOUND: Duration = Duration::from_secs(1);
/// How long a kill may take.
const KILL_BOUND: Duration = Duration::from_millis(300);
/// What a slow machine gets on top.
const SLACK: Duration = Duration::from_secs(1);

/// Watches a session until it is dropped. Cheap to clone; the clones only tell it of stops.
pub(crate) struct Watchdog(Teller);

/// Tells a watchdog that a session is to end.
#[derive(Clone)]
pub(crate) struct Teller(Arc<Shared>);

struct Shared {
    grace: Duration,
    is_over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    clock: Clock,
    /// When the session must have ended, and why it is to end.
    bound: Option<(RunTime, Reason, Option<StopSignal>)>,
    /// Writes the last words, once there is a run.
    run: Option<(LiveWriter, u32)>,
}

impl Watchdog {
    /// Starts to watch a session that may take so long.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub(crate) fn start(timeout: Duration, grace: Duration) -> io::Result<Self> {
        let teller = Teller(Arc::new(Shared {
            grace,
            is_over: AtomicBool::new(false),
            state: Mutex::new(State {
                clock: Clock::start(),
                bound: None,
                run: None,
            }),
        }));
        teller.expect_end(timeout + grace + STOP_BOUND, Reason::Timeout, None);
        let watched = Arc::clone(&teller.0);
        let thread = thread::Builder::new().name("watchdog".into());
        thread.spawn(move || {
            while !watched.is_over.load(Ordering::Acquire) {
                watched.look();
                thread::park_timeout(LOOK_EVERY);
            }
        })?;
        Ok(Self(teller))
    }

    /// Says where last words belong: the run and its session.
    pub(crate) fn born(&self, run: LiveWriter, session: u32) {
        lock(&self.0.0.state).run = Some((run, session));
    }

    /// A handle for other threads.
    pub(crate) fn teller(&self) -> Teller {
        self.0.clone()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.0.is_over.store(true, Ordering::Release);
    }
}

impl Teller {
    /// The session was asked to stop.
    pub(crate) fn stopping(&self, reason: Reason, signal: Option<StopSignal>) {
        self.expect_end(self.0.grace + STOP_BOUND, reason, signal);
    }

    /// The session was asked to end without grace.
    pub(crate) fn killing(&self, reason: Reason, signal: Option<StopSignal>) {
        self.expect_end(KILL_BOUND, reason, signal);
    }

    /// The earliest bound counts.
    fn expect_end(&self, within: Duration, reason: Reason, signal: Option<StopSignal>) {
        let mut state = lock(&self.0.state);
        let at = state.clock.now() + Micros::from(within + SLACK);
        if state.bound.is_none_or(|(bound, ..)| at < bound) {
            state.bound = Some((at, reason, signal));
        }
    }
}

impl Shared {
    fn look(&self) {
        let mut state = lock(&self.state);
        let now = state.clock.now();
        let Some((_, reason, signal)) = state.bound.filter(|(bound, ..)| now >= *bound) else {
            return;
        };
        if let Some((run, session)) = &state.run {
            run.last_words(
                *session,
                &End {
                    reason: Some(reason),
                    signal,
                    message: Some("the session did not end within its bounds".into()),
                    at: SystemTime::now().into(),
                },
            );
        }
        if self.is_over.load(Ordering::Acquire) {
            return;
        }
        let exit = Exit::of_run(
            RunStatus::Incomplete,
            Some(reason),
            signal,
            RunVerdict::None,
        );
        #[allow(clippy::exit, reason = "nothing else ends a process that is stuck")]
        std::process::exit(exit.code().into());
    }
}
