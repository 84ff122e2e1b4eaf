//! [`VirtualClock`]: the time of a deterministic call.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use runner_model::Time;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// Nanoseconds by which each reading advances the clocks, so that a guest that waits in a loop for
/// a time reaches it.
const READING: u64 = 1000;

/// The time of a deterministic call, in nanoseconds since its start. It stands still except for
/// readings and sleeps.
#[derive(Clone)]
pub(crate) struct VirtualClock(Arc<ClockState>);

struct ClockState {
    start: Time,
    elapsed: AtomicU64,
    /// The first end of the sleeps that were asked since [`VirtualClock::forget_ends`].
    /// `u64::MAX` if there is none.
    next_end: AtomicU64,
}

impl VirtualClock {
    pub(crate) fn new(start: Time) -> Self {
        let (elapsed, next_end) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self(Arc::new(ClockState { start, elapsed, next_end }))
    }

    /// Returns the time when the call started, for the attributes of files.
    pub(crate) fn start(&self) -> Duration {
        Duration::from_millis(self.0.start.as_millis().unsigned_abs())
    }

    /// Returns the time, which every reading advances.
    pub(crate) fn read(&self) -> u64 {
        self.0.elapsed.fetch_add(READING, Relaxed) + READING
    }

    /// Returns the time without advancing it.
    pub(crate) fn now(&self) -> u64 {
        self.0.elapsed.load(Relaxed)
    }

    /// Returns the wall clock's time, without advancing it.
    pub(crate) fn wall(&self) -> Time {
        let ms = i64::try_from(self.now() / 1_000_000).unwrap_or(i64::MAX);
        Time::from_millis(self.0.start.as_millis().saturating_add(ms))
    }

    pub(crate) fn advance_to(&self, time: u64) {
        self.0.elapsed.fetch_max(time, Relaxed);
    }

    /// Returns the time since the start of a point in real time, in nanoseconds since 1970.
    pub(crate) fn since_start(&self, real: u64) -> u64 {
        real.saturating_sub(u64::try_from(self.start().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Records the end of a sleep.
    pub(super) fn ask(&self, end: u64) {
        self.0.next_end.fetch_min(end, Relaxed);
    }

    pub(super) fn forget_ends(&self) {
        self.0.next_end.store(u64::MAX, Relaxed);
    }

    pub(super) fn next_end(&self) -> Option<u64> {
        Some(self.0.next_end.load(Relaxed)).filter(|end| *end < u64::MAX)
    }
}

impl HostMonotonicClock for VirtualClock {
    fn resolution(&self) -> u64 {
        READING
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

impl HostWallClock for VirtualClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(READING)
    }

    fn now(&self) -> Duration {
        self.start() + Duration::from_nanos(self.read())
    }
}
