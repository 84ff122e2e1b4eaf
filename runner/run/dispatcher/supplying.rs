//! How much is assigned before anybody is free for it.

use std::time::Duration;

use super::{Dispatcher, MAX_UNWRITTEN_ROWS};

/// Bytes of guests' products that may wait for the disk before assignment pauses.
const MAX_UNWRITTEN_BYTES: u64 = 8 << 20;
/// How much work lies ready for the executors, so that they never wait for the dispatcher.
const AHEAD: Duration = Duration::from_millis(4);
/// The most attempts that lie ready.
const MAX_AHEAD: usize = 512;

impl Dispatcher<'_> {
    /// What may still be promised to attempts. One that lies ready uses none, so it matters only where memory is scarce.
    pub(super) fn memory_left(&self) -> u64 {
        if self.is_memory_scarce {
            return self.rules.memory.saturating_sub(self.memory_in_use);
        }
        u64::MAX
    }

    /// Tells whether more may be assigned: executors are idle or soon will be, and the disk keeps up.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < self.most_in_flight()
            && self.unwritten.rows < MAX_UNWRITTEN_ROWS
            && self.unwritten.bytes < MAX_UNWRITTEN_BYTES
    }

    /// How many attempts may be assigned and not answered.
    ///
    /// If all of them end badly, the run gives up before any is begun that nobody waits for, but for those that executors
    /// would otherwise be idle for.
    fn most_in_flight(&self) -> usize {
        let most = self.pool.size() + self.ahead();
        let Some(bad) = self.rules.fail_fast else {
            return most;
        };
        let left = usize::try_from(bad.saturating_sub(self.bad)).unwrap_or(usize::MAX);
        most.min(left.max(self.pool.size()))
    }

    /// How many attempts may lie ready; none while attempts are long, so that a stop has little to take back.
    fn ahead(&self) -> usize {
        let Some(pace) = self.pace else { return 0 };
        let nanos = pace.as_nanos().max(1);
        let each = usize::try_from(AHEAD.as_nanos() / nanos).unwrap_or(MAX_AHEAD);
        (each * self.pool.size()).min(MAX_AHEAD)
    }

    pub(super) fn pool_is_busy(&self) -> bool {
        self.stop.is_none() && self.in_flight.len() > self.pool.size() + self.ahead() / 2
    }
}
