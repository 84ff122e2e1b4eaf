//! [`Attempt`]: the result of one attempt to send a [`Message`] to a receiver. [`Deadline`]: the time for attempts.

use std::hash::{BuildHasher as _, Hasher as _};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};
use std::{collections::hash_map::RandomState, ffi::OsString, io, path::PathBuf, thread};

use runner_prepare::children;

/// Longest pause between the first two attempts. It doubles before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Interval between two checks of [`Deadline::is_over`].
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// A notification and its context.
pub(super) struct Message {
    /// A JSON document.
    pub(super) body: String,
    /// Working folder of commands.
    pub(super) folder: PathBuf,
    /// Environment variables of commands.
    pub(super) variables: Vec<(&'static str, OsString)>,
    /// Environment variables whose values are redacted in messages of commands and receivers.
    pub(super) secrets: Vec<String>,
}

/// The end of a caller's wait.
pub struct Deadline<'a> {
    /// End of the last attempt. `None` for one attempt per receiver, with its whole timeout.
    pub until: Option<Instant>,
    /// Returns whether the caller has stopped waiting.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
}

/// The result of one attempt, with a text for people.
pub(super) enum Attempt {
    Delivered(String),
    /// A further attempt would have the same result.
    Refused(String),
    Failed {
        answer: String,
        /// Time that the receiver asks to wait before the next attempt.
        retry_after: Option<Duration>,
    },
}

impl Attempt {
    pub(super) fn failed(answer: impl Into<String>) -> Self {
        Self::Failed { answer: answer.into(), retry_after: None }
    }
}

impl Deadline<'_> {
    /// Calls `attempt` with its timeout, at most `longest`. Repeats it until it returns `None`, or until the deadline is too early
    /// for another attempt. Otherwise `attempt` returns the shortest pause before the next one.
    pub(super) fn repeat(
        &self,
        longest: Duration,
        mut attempt: impl FnMut(Duration) -> Option<Duration>,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            let timeout = longest.min(self.left());
            if timeout.is_zero() {
                return;
            }
            let Some(least) = attempt(timeout).filter(|_| self.until.is_some()) else { return };
            // Between half of the pause and all of it, so that processes that failed together retry at different times.
            let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
            if !self.sleep(pause.mul_f64(0.5 + random / 2.0).max(least)) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn left(&self) -> Duration {
        match self.until {
            _ if (self.is_over)() => Duration::ZERO,
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    /// Returns `false` if there is no time for a further attempt.
    fn sleep(&self, time: Duration) -> bool {
        if time >= self.left() {
            return false;
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.left().is_zero() {
                return false;
            }
            thread::sleep(CHECK_EVERY);
        }
        true
    }

    /// Waits for a child to exit. Kills its process group after `timeout` or at the deadline, and returns `None`.
    pub(super) fn wait_for(
        &self,
        child: &mut Child,
        timeout: Duration,
    ) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = children::wait_for(child, CHECK_EVERY)? {
                return Ok(Some(status));
            }
            if Instant::now() >= end || (self.is_over)() {
                children::kill(child);
                child.wait()?;
                return Ok(None);
            }
        }
    }
}
