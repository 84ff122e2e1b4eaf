//! The two clocks of a session, read together.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::plugin::{Moment, clock};

/// One point in time, by every clock that a session has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// By the clock that bounds and measures.
    pub(super) at: Moment,
    /// By the clock on the wall.
    pub(super) wall: Timestamp,
    /// For how long the process has been stopped so far.
    pub(super) suspended: Duration,
}

impl Now {
    /// Reads all of them.
    pub(super) fn read() -> Self {
        Self {
            at: Moment::now(),
            wall: wall_clock(),
            suspended: clock::suspended(),
        }
    }

    /// What the clock on the wall shows at a later moment, if nobody stops the process until then.
    pub(super) fn wall_of(&self, later: Moment) -> Timestamp {
        let left = SignedDuration::try_from(later.saturating_duration_since(self.at));
        let at = self
            .wall
            .saturating_add(left.unwrap_or(SignedDuration::MAX));
        at.unwrap_or(Timestamp::MAX)
    }
}

/// Reads the wall clock; everything that is measured uses the monotonic one.
pub fn wall_clock() -> Timestamp {
    Timestamp::now()
}
