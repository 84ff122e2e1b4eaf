//! [`Determinism`]: the clocks and random numbers of a call whose result is a function of its
//! inputs. [`crate::store::poll`] and [`crate::net`] advance the clock, and [`crate::fs`] orders and times files.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng as _};
use runner_model::Time;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use crate::{call::Call, net::Exchanges};

/// Nanoseconds by which each reading advances the clocks, so that a guest that waits in a loop for
/// a time reaches it.
const READING: u64 = 1000;
/// Prefix of the hashed bytes. A change of the recipe needs a new number.
const RECIPE: &[u8] = b"runner-random-1\0";

/// What a deterministic call receives. Clones share the clock.
#[derive(Clone)]
pub(crate) struct Determinism {
    pub(crate) clock: VirtualClock,
    pub(crate) exchanges: Exchanges,
    /// The guest's time by its clocks.
    pub(crate) timeout: Duration,
    /// The hash of the run's seed, trial and attempt.
    seed: [u8; 32],
}

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

impl Determinism {
    /// Creates the sources of a call. `None` if it is not deterministic.
    pub(crate) fn for_call(call: &Call<'_>) -> Option<Self> {
        let recorded = call.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
        let (start, timeout) = match recorded {
            Some(recorded) => (recorded.clock, recorded.timeout),
            None => (call.deterministic?, call.timeout),
        };
        let mut hasher = Sha256::new_with_prefix(RECIPE);
        hasher.update(call.seed.to_le_bytes());
        hasher.update(call.attempt.to_le_bytes());
        hasher.update(call.trial);
        let clock = VirtualClock(Arc::new(ClockState {
            start,
            elapsed: AtomicU64::new(0),
            next_end: AtomicU64::new(u64::MAX),
        }));
        let exchanges = Exchanges::new(call, clock.clone(), start, timeout);
        Some(Self { clock, exchanges, timeout: timeout.into(), seed: hasher.finalize().into() })
    }

    /// Replaces the clocks and generators of a guest.
    pub(crate) fn set(&self, wasi: &mut WasiCtxBuilder) {
        let [secure, insecure] = [0, 1].map(|stream| {
            let mut random = ChaCha20Rng::from_seed(self.seed);
            random.set_stream(stream);
            random
        });
        let (low, _) = self.seed.split_at(size_of::<u128>());
        wasi.wall_clock(self.clock.clone())
            .monotonic_clock(self.clock.clone())
            .secure_random(secure)
            .insecure_random(insecure)
            .insecure_random_seed(low.iter().fold(0, |all, byte| all << 8 | u128::from(*byte)));
    }
}

impl VirtualClock {
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
