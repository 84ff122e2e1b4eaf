//! Whether an attempt is made again, and when.

use std::{
    cmp::{Ordering, Reverse},
    time::Duration,
};

use super::lane::Trial;
use crate::{
    model::{Attempt, Outcome},
    plugin::Moment,
    scenario::{ExpectedError, Retries},
};

/// A backoff doubles with every attempt up to this, unless it begins above it.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A trial that is begun again, but not before its time.
pub(super) struct Later {
    pub(super) at: Moment,
    pub(super) lane: usize,
    pub(super) trial: Trial,
}

/// Finds out when the trial of `attempt`, which has ended `now`, is made again, and with which deadline of its own; `None`
/// makes the attempt final. `run_ends` is the run's deadline.
///
/// A stop changes nothing of it: the retry is not begun, and the trial stays to be done.
pub(super) fn next(
    trial: &Trial,
    attempt: &Attempt,
    now: Moment,
    run_ends: Moment,
) -> Option<(Moment, Trial)> {
    let at = now + backoff(&trial.test.retries, attempt, trial.tries)?;
    let begun = now.checked_sub(attempt.duration).unwrap_or(now);
    let whole = trial.test.trial_timeout;
    let ends = trial.ends.or_else(|| whole.map(|whole| begun + whole));
    // A backoff that would cross its parent's deadline is not slept.
    let parent = ends.map_or(run_ends, |ends| ends.min(run_ends));
    let again = || Trial {
        ends,
        ..trial.clone()
    };
    (at < parent).then(|| (at, again()))
}

/// How long to wait before `attempt` is made again, if it is.
///
/// `tries` counts the trial's attempts of this session: one that was stopped in an earlier one uses no retry up.
fn backoff(retries: &Retries, attempt: &Attempt, tries: u32) -> Option<Duration> {
    if tries > retries.max || !retries.on.iter().any(|on| matches(*on, attempt)) {
        return None;
    }
    let most = MAX_BACKOFF.max(retries.backoff);
    let doublings = (tries - 1).min(16);
    let backoff = retries.backoff.saturating_mul(1 << doublings).min(most);
    let asked = attempt.error.as_ref().and_then(|error| error.retry_after);
    Some(backoff.max(asked.unwrap_or_default()))
}

fn matches(on: ExpectedError, attempt: &Attempt) -> bool {
    match on {
        ExpectedError::Timeout => attempt.outcome == Outcome::Timeout,
        ExpectedError::Class(class) => {
            attempt.outcome == Outcome::Error
                && attempt.error.as_ref().and_then(|error| error.class) == Some(class)
        }
    }
}

impl Later {
    /// The order of a heap whose greatest element is the one that is due first.
    fn key(&self) -> Reverse<(Moment, u64)> {
        Reverse((self.at, self.trial.ordinal))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Later {}
