//! [`Phases`]: what the attempts of a pool are doing, written down for whoever looks on.
//!
//! An attempt changes what it is doing as often as it likes, and most are over before anybody could look. So its executor
//! writes nothing: whatever is the case from time to time is written by a task of the pool, and nothing is where attempts
//! are quick.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    plugin::{Activity, Doing, Moment, clock},
    record::{AttemptKey, InFlight},
    run::clock::wall_clock,
};

/// How often it is looked at, and how long an attempt has run before it is looked at first.
const EVERY: Duration = Duration::from_millis(100);

/// What the attempts of a pool's executors are doing.
pub(super) struct Phases {
    in_flight: InFlight,
    watched: Mutex<Vec<Arc<WatchedSlot>>>,
}

/// What the attempts of one executor are doing, one after another.
pub(super) struct WatchedSlot {
    slot: usize,
    pub(super) activity: Activity,
    attempt: Mutex<Option<WatchedAttempt>>,
}

struct WatchedAttempt {
    key: AttemptKey,
    begun: Moment,
    /// When it must have ended, as soon as that is known.
    ends: Option<Moment>,
    /// What was written of it last.
    written: Option<Doing>,
}

impl Phases {
    pub(super) fn new(in_flight: InFlight) -> Self {
        Self {
            in_flight,
            watched: Mutex::default(),
        }
    }

    /// Begins to watch one more executor.
    pub(super) fn open(&self, slot: usize) -> Arc<WatchedSlot> {
        let watched = Arc::new(WatchedSlot {
            slot,
            activity: Activity::watched(),
            attempt: Mutex::default(),
        });
        lock(&self.watched).push(Arc::clone(&watched));
        watched
    }

    /// Forgets an executor that leaves.
    pub(super) fn close(&self, watched: &Arc<WatchedSlot>) {
        lock(&self.watched).retain(|other| !Arc::ptr_eq(other, watched));
    }

    /// An attempt that has gone on for so long behind its deadline.
    pub(super) fn overdue(&self, by: Duration) -> Option<AttemptKey> {
        let watched = lock(&self.watched);
        watched.iter().find_map(|watched| watched.overdue(by))
    }

    /// Writes what has changed, for ever. Needs the runtime of the session around it, because guests may keep theirs busy.
    pub(super) async fn write(self: Arc<Self>) {
        loop {
            clock::sleep_until(Moment::now() + EVERY).await;
            for watched in &*lock(&self.watched) {
                watched.write(&self.in_flight);
            }
        }
    }
}

impl WatchedSlot {
    /// From now on this attempt is executed.
    pub(super) fn begin(&self, key: AttemptKey) {
        *lock(&self.attempt) = Some(WatchedAttempt {
            key,
            begun: Moment::now(),
            ends: None,
            written: None,
        });
    }

    /// It must have ended by then.
    pub(super) fn ends_by(&self, deadline: Moment) {
        if let Some(attempt) = lock(&self.attempt).as_mut() {
            attempt.ends = Some(deadline);
        }
    }

    /// The attempt, if it has gone on for so long behind its deadline.
    fn overdue(&self, by: Duration) -> Option<AttemptKey> {
        let attempt = lock(&self.attempt);
        let attempt = attempt.as_ref()?;
        (attempt.ends?.elapsed() > by).then_some(attempt.key)
    }

    /// It is over.
    pub(super) fn end(&self) {
        *lock(&self.attempt) = None;
    }

    fn write(&self, in_flight: &InFlight) {
        let mut attempt = lock(&self.attempt);
        let Some(attempt) = attempt.as_mut() else {
            return;
        };
        if attempt.begun.elapsed() < EVERY {
            return;
        }
        let Some(doing) = self.activity.doing() else {
            return;
        };
        // That it computes since it began need not be said.
        let has_changed = match &attempt.written {
            Some(written) => *written != doing,
            None => doing.waits_for.is_some(),
        };
        if has_changed {
            let since = wall_of(doing.since);
            in_flight.note_phase(self.slot, attempt.key, doing.waits_for.as_deref(), since);
            attempt.written = Some(doing);
        }
    }
}

fn wall_of(moment: Moment) -> Timestamp {
    let elapsed = SignedDuration::try_from(moment.elapsed()).unwrap_or(SignedDuration::MAX);
    wall_clock()
        .saturating_sub(elapsed)
        .unwrap_or(Timestamp::MIN)
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use super::WatchedSlot;
    use crate::{
        plugin::{Activity, Moment},
        record::AttemptKey,
    };

    #[test]
    fn an_attempt_is_overdue_from_some_time_behind_its_deadline_until_it_is_over() {
        let watched = WatchedSlot {
            slot: 0,
            activity: Activity::default(),
            attempt: Mutex::default(),
        };
        let key = AttemptKey {
            ordinal: 7,
            number: 2,
        };
        assert_eq!(watched.overdue(Duration::ZERO), None);
        watched.begin(key);
        // It has yet to get the memory that it needs.
        assert_eq!(watched.overdue(Duration::ZERO), None);
        watched.ends_by(Moment::now());
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(watched.overdue(Duration::from_secs(3600)), None);
        assert_eq!(watched.overdue(Duration::ZERO), Some(key));
        watched.end();
        assert_eq!(watched.overdue(Duration::ZERO), None);
    }
}
