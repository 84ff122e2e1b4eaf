//! [`Limiter`]: memory and tables of one store, summed over all of its instances.

use runner_model::Limits;
use wasmtime::ResourceLimiter;

use crate::engine::config::{MAX_INSTANCES, MEMORIES, TABLES};

/// Counts what a guest's memories and tables hold, and says no.
pub(crate) struct Limiter {
    memory: Sum,
    tables: Sum,
    denial: Option<DeniedGrowth>,
}

/// Something that a guest asked for and did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeniedGrowth {
    /// Bytes of memory, all of the guest's memories together.
    Memory { wanted: u64, limit: u64 },
    /// Elements of tables, all of the guest's tables together.
    Table { wanted: u64, limit: u64 },
}

struct Sum {
    limit: u64,
    held: u64,
    peak: u64,
    /// What was allowed last, to be taken back if the host could not provide it.
    last: u64,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: Sum::new(limits.memory),
            tables: Sum::new(limits.table_elements),
            denial: None,
        }
    }

    /// The largest sum of memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory.peak
    }

    /// The last growth that was denied.
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
        let grown = self.memory.grow(current, desired);
        if let Err(wanted) = grown {
            self.denial = Some(DeniedGrowth::Memory { wanted, limit });
        }
        Ok(grown.is_ok())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
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
        if let Err(wanted) = grown {
            self.denial = Some(DeniedGrowth::Table { wanted, limit });
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
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

impl Sum {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            held: 0,
            peak: 0,
            last: 0,
        }
    }

    /// Fails with the sum that was asked for.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), u64> {
        let more = desired.saturating_sub(current) as u64;
        let wanted = self.held.saturating_add(more);
        // A failed growth is reported after a denial too; there is nothing to take back then.
        self.last = 0;
        if wanted > self.limit {
            return Err(wanted);
        }
        self.last = more;
        self.held = wanted;
        self.peak = self.peak.max(wanted);
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

    use super::{DeniedGrowth, Limiter};

    fn limiter() -> Limiter {
        Limiter::new(&Limits {
            memory: 100,
            ..Limits::default()
        })
    }

    #[test]
    fn memories_are_counted_together() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
        let denial = DeniedGrowth::Memory {
            wanted: 101,
            limit: 100,
        };
        assert_eq!(limiter.denial(), Some(denial));
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert_eq!(limiter.peak_memory(), 100);
    }

    #[test]
    fn growth_that_the_host_could_not_provide_is_not_counted() {
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
