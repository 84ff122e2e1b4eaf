//! [`Limiter`]: bounds the memory and tables of one store, summed over all of its instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runner_model::Limits;
use thiserror::Error;
use wasmtime::ResourceLimiter;

use crate::engine::config::{
    MAX_INSTANCES, MEMORIES, MEMORIES_ON_DEMAND, TABLES, TABLES_ON_DEMAND,
};

/// Bytes of memory that are left for all guests of a worker.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget(Arc<AtomicU64>);

/// The guest is within its own limit, but other guests hold the memory.
#[derive(Clone, Copy, Debug, Error)]
#[error("other attempts hold all of the memory that `memory` in `[run]` allows")]
pub(crate) struct MemoryBudgetFull;

/// Counts a guest's memories and tables, and denies their growth beyond the limits.
pub(crate) struct Limiter {
    memory: Sum,
    budget: MemoryBudget,
    tables: Sum,
    denial: Option<DeniedGrowth>,
    max_memories: u32,
    max_tables: u32,
}

/// A growth that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeniedGrowth {
    /// Bytes of all of the guest's memories together.
    Memory { requested: u64, limit: u64 },
    /// Elements of all of the guest's tables together.
    Table { requested: u64, limit: u64 },
}

struct Sum {
    limit: u64,
    held: u64,
    peak: u64,
    /// The last growth, which is undone if the host could not provide it.
    last: u64,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, budget: MemoryBudget) -> Self {
        Self {
            memory: Sum::new(limits.memory),
            budget,
            tables: Sum::new(limits.table_elements),
            denial: None,
            max_memories: MEMORIES,
            max_tables: TABLES,
        }
    }

    /// Raises the number of memories and tables, for guests without a slot.
    pub(crate) fn allow_on_demand(&mut self) {
        self.max_memories = MEMORIES_ON_DEMAND;
        self.max_tables = TABLES_ON_DEMAND;
    }

    /// Prepares for the next call of a kept instance. Its memory stays counted.
    pub(crate) fn start_call(&mut self) {
        self.denial = None;
        self.memory.peak = self.memory.held;
    }

    /// Returns the largest sum of memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory.peak
    }

    /// Returns the last denied growth.
    pub(crate) fn denial(&self) -> Option<DeniedGrowth> {
        self.denial
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.memory.limit;
        if let Err(requested) = self.memory.grow(current, desired) {
            self.denial = Some(DeniedGrowth::Memory { requested, limit });
            return Ok(false);
        }
        if !self.budget.take(self.memory.last) {
            self.memory.undo();
            return Err(MemoryBudgetFull.into());
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.budget.give(self.memory.last);
        self.memory.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.tables.limit;
        let grown = self.tables.grow(current, desired);
        if let Err(requested) = grown {
            self.denial = Some(DeniedGrowth::Table { requested, limit });
        }
        Ok(grown.is_ok())
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        self.max_tables as usize
    }

    fn memories(&self) -> usize {
        self.max_memories as usize
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give(self.memory.held);
    }
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(bytes.into()))
    }

    /// Takes `bytes`, if they are left.
    fn take(&self, bytes: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    fn give(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Default for MemoryBudget {
    /// Unlimited.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Sum {
    fn new(limit: u64) -> Self {
        Self { limit, held: 0, peak: 0, last: 0 }
    }

    /// Adds a growth. Fails with the requested sum if it exceeds the limit.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), u64> {
        let more = desired.saturating_sub(current) as u64;
        let requested = self.held.saturating_add(more);
        // wasmtime reports a failed growth after a denial, too. Then there is nothing to undo.
        self.last = 0;
        if requested > self.limit {
            return Err(requested);
        }
        self.last = more;
        self.held = requested;
        self.peak = self.peak.max(requested);
        Ok(())
    }

    fn undo(&mut self) {
        self.held -= self.last;
        self.last = 0;
    }
}

#[cfg(test)]
mod tests {
    use runner_model::Limits;
    use wasmtime::ResourceLimiter as _;

    use super::{DeniedGrowth, Limiter, MemoryBudget, MemoryBudgetFull};

    fn limiter() -> Limiter {
        limiter_of(MemoryBudget::default())
    }

    fn limiter_of(budget: MemoryBudget) -> Limiter {
        let limits = Limits { memory: 100, ..Limits::default() };
        Limiter::new(&limits, budget)
    }

    #[test]
    fn held_memory_is_denied_to_other_guests() {
        let budget = MemoryBudget::new(150);
        let (mut one, mut other) = (limiter_of(budget.clone()), limiter_of(budget));
        assert!(one.memory_growing(0, 100, None).unwrap());
        let full = other.memory_growing(0, 60, None).unwrap_err();
        assert!(full.is::<MemoryBudgetFull>());
        assert_eq!((other.denial(), other.peak_memory()), (None, 60));
        assert!(other.memory_growing(0, 50, None).unwrap());
        drop(one);
        assert!(other.memory_growing(50, 100, None).unwrap());
        other.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(other.memory_growing(50, 100, None).unwrap());
    }

    #[test]
    fn all_memories_are_counted_together() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
        let denial = DeniedGrowth::Memory { requested: 101, limit: 100 };
        assert_eq!(limiter.denial(), Some(denial));
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert_eq!(limiter.peak_memory(), 100);
    }

    #[test]
    fn held_memory_counts_in_the_next_attempt() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(60, 101, None).unwrap());
        limiter.start_call();
        assert_eq!((limiter.denial(), limiter.peak_memory()), (None, 60));
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
    }

    #[test]
    fn failed_growth_is_not_counted() {
        let mut limiter = limiter();
        let failed = || wasmtime::Error::msg("no");
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter.memory_grow_failed(failed()).unwrap();
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, 200, None).unwrap());
        limiter.memory_grow_failed(failed()).unwrap();
        assert!(!limiter.memory_growing(100, 101, None).unwrap());
    }
}
