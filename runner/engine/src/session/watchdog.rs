//! [`Watchdog`]: exits the process if a session exceeds its bounds, for example because a disk hangs or the output is not read.

use std::sync::{Arc, Mutex, mpsc};
use std::{any::Any, io, thread, time::Duration};

use runner_model::{
    Micros, Reason, RunStatus, RunTime, StopSignal, exit::Exit, status::RunVerdict,
};
use runner_record::{End, LiveWriter};

use crate::{
    clock::Clock,
    signals::{self, lock},
};

const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Time for a stop after the grace.
const STOP_BOUND: Duration = Duration::from_secs(1);
/// Time for a kill.
const KILL_BOUND: Duration = Duration::from_millis(300);
/// Time for writing the last words, which a disk that hangs never ends.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);
/// Added to all bounds, for slow machines.
const SLACK: Duration = Duration::from_secs(1);

/// Watches a session. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watchdog(Arc<Mutex<WatchdogState>>);

struct WatchdogState {
    grace: Duration,
    clock: Clock,
    is_over: bool,
    /// Deadline of the session's end, and the reason to record if it passes.
    bound: Option<(RunTime, Reason, Option<StopSignal>)>,
    /// Exit code of a session whose end is in the manifest.
    settled: Option<Exit>,
    /// Writer of the last words, and the session's number. `None` before the run is created.
    run: Option<(LiveWriter, u32)>,
}

impl Watchdog {
    /// Starts the watchdog's thread. Bounds are set later.
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
            settled: None,
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

    /// Bounds the session by its timeout, from now on.
    pub(crate) fn start_time(&self, timeout: Duration) {
        let grace = lock(&self.0).grace;
        self.expect_end(timeout + grace + STOP_BOUND, Reason::Timeout, None);
    }

    /// Sets the run and the session for the last words.
    pub(crate) fn watch(&self, run: LiveWriter, session: u32) {
        lock(&self.0).run = Some((run, session));
    }

    /// Bounds a requested stop. Ends a pause of the clock, which a stuck coordinator would not do.
    pub(crate) fn stopping(&self, kill: bool, reason: Reason, signal: Option<StopSignal>) {
        let within = if kill { KILL_BOUND } else { lock(&self.0).grace + STOP_BOUND };
        lock(&self.0).clock.pause(false);
        self.expect_end(within, reason, signal);
    }

    /// Sets the exit code that the process has if it does not end within its bounds from now on: that of the manifest.
    pub(crate) fn settle(&self, exit: Exit) {
        let mut state = lock(&self.0);
        (state.settled, state.run) = (Some(exit), None);
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).is_over
    }

    /// Ends the watchdog's thread.
    pub(crate) fn end(&self) {
        lock(&self.0).is_over = true;
    }

    /// Records the end of a session whose coordinator panicked, because no other thread will.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let mut state = lock(&self.0);
        state.is_over = true;
        let message = format!("a bug of the runner: {}", text.unwrap_or("it panicked"));
        state.last_words(Reason::Internal, None, message);
    }

    /// Sets the deadline, unless an earlier one is set.
    fn expect_end(&self, within: Duration, reason: Reason, signal: Option<StopSignal>) {
        let mut state = lock(&self.0);
        let at = state.clock.now() + Micros::from(within + SLACK);
        if state.bound.is_none_or(|(bound, ..)| at < bound) {
            state.bound = Some((at, reason, signal));
        }
    }
}

impl WatchdogState {
    /// Writes `last-words.json`, from which the next claim of the run records the end of the session.
    fn last_words(&mut self, reason: Reason, signal: Option<StopSignal>, message: String) {
        if let Some((run, session)) = self.run.take() {
            let end = End {
                reason: Some(reason),
                signal,
                message: Some(message),
                at: runner_record::now(),
                ..End::default()
            };
            let (written, is_written) = mpsc::sync_channel(1);
            let write = move || {
                run.last_words(session, &end);
                let _ = written.send(());
            };
            if thread::Builder::new().name("last words".into()).spawn(write).is_ok() {
                let _ = is_written.recv_timeout(LAST_WORDS_WITHIN);
            }
        }
    }

    /// Exits the process if the deadline has passed. Returns whether the session is over.
    fn check(&mut self) -> bool {
        let now = self.clock.now();
        let bound = self.bound.filter(|(bound, ..)| now >= *bound);
        let Some((_, reason, signal)) = bound.filter(|_| !self.is_over) else {
            return self.is_over;
        };
        let message = "the session did not end within its bounds";
        self.last_words(reason, signal, message.to_owned());
        let exit = self.settled.unwrap_or_else(|| {
            Exit::of_run(RunStatus::Incomplete, Some(reason), signal, RunVerdict::None, false)
        });
        signals::restore_terminal();
        #[allow(clippy::exit, reason = "nothing else ends a process that is stuck")]
        std::process::exit(exit.code().into());
    }
}
