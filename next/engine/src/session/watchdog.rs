//! [`Watchdog`]: ends the process if a session does not end within its bounds, such as when a disk does not answer or
//! nobody reads its output.

use std::{
    any::Any,
    io,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use runner_model::{
    Micros, Reason, RunStatus, RunTime, StopSignal, exit::Exit, status::RunVerdict,
};
use runner_record::{End, LiveWriter};

use crate::{clock::Clock, signals::lock};

const CHECK_EVERY: Duration = Duration::from_millis(50);
/// How long a stop may take behind the grace.
const STOP_BOUND: Duration = Duration::from_secs(1);
/// How long a kill may take.
const KILL_BOUND: Duration = Duration::from_millis(300);
/// What a slow machine gets on top.
const SLACK: Duration = Duration::from_secs(1);

/// Watches a session. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watchdog(Arc<Mutex<WatchdogState>>);

struct WatchdogState {
    grace: Duration,
    clock: Clock,
    is_over: bool,
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
    pub(crate) fn start(clock: Clock, grace: Duration) -> io::Result<Self> {
        let watchdog = Self(Arc::new(Mutex::new(WatchdogState {
            grace,
            clock,
            is_over: false,
            bound: None,
            run: None,
        })));
        let watched = Arc::clone(&watchdog.0);
        let thread = thread::Builder::new().name("watchdog".into());
        thread.spawn(move || {
            while !lock(&watched).check() {
                thread::sleep(CHECK_EVERY);
            }
        })?;
        Ok(watchdog)
    }

    /// Bounds the session: its run time starts now.
    pub(crate) fn start_time(&self, timeout: Duration) {
        let grace = lock(&self.0).grace;
        self.expect_end(timeout + grace + STOP_BOUND, Reason::Timeout, None);
    }

    /// Sets the run and the session that last words are about.
    pub(crate) fn watch(&self, run: LiveWriter, session: u32) {
        lock(&self.0).run = Some((run, session));
    }

    /// The session was asked to stop, or to end without grace. A pause ends, whatever the coordinator does.
    pub(crate) fn stopping(&self, kill: bool, reason: Reason, signal: Option<StopSignal>) {
        let within = if kill { KILL_BOUND } else { lock(&self.0).grace + STOP_BOUND };
        lock(&self.0).clock.pause(false);
        self.expect_end(within, reason, signal);
    }

    /// Whether the session has ended.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).is_over
    }

    /// The session has ended.
    pub(crate) fn end(&self) {
        lock(&self.0).is_over = true;
    }

    /// The coordinator has panicked, so no other thread will record how the session ends.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        let mut state = lock(&self.0);
        state.is_over = true;
        let words = format!("a bug of the runner: {}", words.unwrap_or("it panicked"));
        state.last_words(Reason::Internal, None, words);
    }

    /// The earliest bound counts.
    fn expect_end(&self, within: Duration, reason: Reason, signal: Option<StopSignal>) {
        let mut state = lock(&self.0);
        let at = state.clock.now() + Micros::from(within + SLACK);
        if state.bound.is_none_or(|(bound, ..)| at < bound) {
            state.bound = Some((at, reason, signal));
        }
    }
}

impl WatchdogState {
    /// Leaves word of why the session ends, if there is a run.
    fn last_words(&self, reason: Reason, signal: Option<StopSignal>, message: String) {
        if let Some((run, session)) = &self.run {
            let end = End {
                reason: Some(reason),
                signal,
                message: Some(message),
                at: runner_record::now(),
            };
            run.last_words(*session, &end);
        }
    }

    /// Ends the process if a bound has passed; `true` once the session is over.
    fn check(&mut self) -> bool {
        let now = self.clock.now();
        let bound = self.bound.filter(|(bound, ..)| now >= *bound);
        let Some((_, reason, signal)) = bound.filter(|_| !self.is_over) else {
            return self.is_over;
        };
        let message = "the session did not end within its bounds";
        self.last_words(reason, signal, message.to_owned());
        let exit = Exit::of_run(RunStatus::Incomplete, Some(reason), signal, RunVerdict::None);
        #[allow(clippy::exit, reason = "nothing else ends a process that is stuck")]
        std::process::exit(exit.code().into());
    }
}
