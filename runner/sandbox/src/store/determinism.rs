//! [`Determinism`]: the clocks and random numbers of a call whose result is a function of its
//! inputs. [`crate::store::poll`] and [`crate::net`] advance the clock, and [`crate::fs`] orders and times files.

use std::{sync::Arc, time::Duration};

use chacha20::{ChaCha20Rng, rand_core::SeedableRng as _};
use runner_model::{Digest, Micros, RunTime, Time, row::Calls};
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::WasiCtxBuilder;

use super::tool_time::{ToolEnd, ToolTime};
use super::virtual_clock::VirtualClock;
use crate::net::{Exchanges, JournalEnd, KeptExchanges};

/// Prefix of the hashed bytes. A change of the recipe needs a new number.
const RECIPE: &[u8] = b"runner-random-1\0";

/// What a deterministic call receives. Clones share the clock.
#[derive(Clone)]
pub(crate) struct Determinism {
    pub(crate) clock: VirtualClock,
    pub(crate) exchanges: Exchanges,
    /// The guest's time by its clocks.
    pub(crate) timeout: Duration,
    seed: [u8; 32],
    /// Number of calls of tools so far.
    tools: u32,
    /// `None` if the guest is not a tool.
    pub(crate) tool: Option<Arc<ToolTime>>,
}

/// Returns the seed of an attempt of a provider, from the seed of the run. Guests know all three.
pub(crate) fn of_attempt(seed: u32, attempt: u32, trial: &str) -> Digest {
    let mut hasher = Sha256::new_with_prefix(RECIPE);
    hasher.update(seed.to_le_bytes());
    hasher.update(attempt.to_le_bytes());
    hasher.update(trial);
    Digest(hasher.finalize().into())
}

impl Determinism {
    /// Creates the sources of a call. `start` is the first time of its clocks, and `seed` decides its random numbers.
    pub(crate) fn new(start: Time, timeout: Micros, seed: Digest, kept: KeptExchanges) -> Self {
        let clock = VirtualClock::new(start);
        let exchanges = Exchanges::new(kept, clock.clone(), start, timeout);
        Self { clock, exchanges, timeout: timeout.into(), seed: seed.0, tools: 0, tool: None }
    }

    /// Creates the sources of the next call of a tool. It has the caller's clock and exchanges, and random numbers of its own.
    pub(crate) fn of_tool(&mut self) -> Self {
        self.tools += 1;
        let mut hasher = Sha256::new_with_prefix(self.seed);
        hasher.update(self.tools.to_le_bytes());
        let tool = Some(Arc::new(ToolTime::new(self.tools, &self.exchanges)));
        Self { seed: hasher.finalize().into(), tools: 0, tool, ..self.clone() }
    }

    /// Sets the tool's own time, by real time and by its clock.
    pub(crate) fn limit_tool(&mut self, tool: &ToolTime, end: RunTime, time: Micros) {
        tool.limit(end);
        let passed = Duration::from_nanos(self.clock.now());
        self.timeout = self.timeout.min(passed.saturating_add(time.into()));
    }

    /// Returns the time at which a sleep until `end` ends a tool instead. `None` if the tool has the time.
    pub(crate) fn last_sleep(&self, end: Option<u64>) -> Option<u64> {
        self.tool.as_ref()?.end()?;
        let last = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        end.filter(|end| *end > last).map(|_| last)
    }

    /// Notes that a tool ends in a sleep.
    pub(crate) fn end_in_sleep(&self) {
        if let Some(tool) = &self.tool {
            tool.set_ended(ToolEnd::Sleep);
        }
    }

    /// Ends the journal of an attempt. Returns its exchanges for the row. `None` without any.
    pub(crate) fn calls(&self) -> Option<Calls> {
        // The caller of a tool keeps running, and so does the journal.
        self.tool.is_none().then(|| self.exchanges.calls())?
    }

    /// Returns why a guest that has returned by itself must end with an error instead.
    pub(crate) fn check_end(&self) -> Option<JournalEnd> {
        if self.tool.is_none() {
            self.exchanges.check_end();
        }
        self.exchanges.end()
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
