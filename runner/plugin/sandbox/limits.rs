//! [`Limiter`]: memory and tables of one store, summed over all of its instances.

use std::{pin::Pin, sync::Arc};

use thiserror::Error;
use wasmtime::{ResourceLimiter, ResourceLimiterAsync};

use crate::{
    model::Limits,
    plugin::{
        activity::{Activity, HostCall},
        budget::MemoryLease,
        code::footprint::{Footprint, MAX_CORE_INSTANCES},
        interrupt::Guard,
    },
};

/// Tables of all instances together; Python's component has two.
const MAX_TABLES: usize = 200;
/// Memories of all instances together, each of which takes 4 GiB of the process's address space, of which there are
/// 128 TiB. A component has one for each program that it is composed of.
const MAX_MEMORIES: usize = 32;
/// Bytes of an attempt's instances that are not charged to its limit of memory. Those of Python's component come to
/// some 600 KiB, and what its author measures and limits are its memories.
const FREE_INSTANCE_BYTES: u64 = 2 * 1024 * 1024;

/// Counts what a guest's memories and tables hold, and says no.
pub(in crate::plugin) struct Limiter {
    memory: Sum,
    tables: Sum,
    denial: Option<DeniedGrowth>,
    /// What it holds of a memory that it shares with others: its growth may have to wait.
    lease: Option<Arc<MemoryLease>>,
    activity: Activity,
}

/// Something that a guest asked for and did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum DeniedGrowth {
    /// Bytes of memory, all of the guest's memories together.
    Memory { wanted: u64, limit: u64 },
    /// Elements of tables, all of the guest's tables together.
    Table { wanted: u64, limit: u64 },
    /// Bytes of what its instances have for globals, imports and function references, together with its memories.
    Instances { wanted: u64, limit: u64 },
}

/// What is said to wasmtime of a guest whose instances cost more than its limit of memory.
#[derive(Clone, Copy, Debug, Error)]
#[error("its instances cost more memory than it may have")]
pub(in crate::plugin) struct InstancesDenied;

/// Whether something may grow, as soon as it can.
type Answer<'future> = Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + 'future>>;

struct Sum {
    limit: u64,
    held: u64,
    peak: u64,
    /// What was allowed last, to be taken back if the host could not provide it.
    last: u64,
}

impl Limiter {
    pub(in crate::plugin) fn new(limits: &Limits, lease: Option<Arc<MemoryLease>>) -> Self {
        Self {
            lease,
            activity: Activity::default(),
            memory: Sum::new(limits.memory),
            tables: Sum::new(limits.table_elements),
            denial: None,
        }
    }

    /// The same for one attempt.
    pub(in crate::plugin) fn of(limits: &Limits, guard: &Guard) -> Self {
        Self {
            activity: guard.activity.clone(),
            ..Self::new(limits, guard.memory.clone())
        }
    }

    /// The largest sum of memory so far, in bytes.
    pub(in crate::plugin) fn peak_memory(&self) -> u64 {
        self.memory.peak
    }

    /// Starts anew for the next attempt of a guest that goes on: what it holds stays counted.
    pub(in crate::plugin) fn begin_attempt(&mut self) {
        self.denial = None;
        self.memory.peak = self.memory.held;
    }

    /// Takes what the guest's instances cost out of its memory, before there are any.
    pub(in crate::plugin) async fn hold_instances(
        &mut self,
        footprint: Footprint,
    ) -> Result<(), InstancesDenied> {
        self.charge_instances(footprint)?;
        self.wait_for_memory().await;
        Ok(())
    }

    /// Tells whether growth may have to wait for memory.
    pub(in crate::plugin) fn may_wait(&self) -> bool {
        self.lease.is_some()
    }

    /// Waits until what the guest holds is its own.
    async fn wait_for_memory(&self) {
        if let Some(lease) = &self.lease {
            self.activity.call(HostCall::Memory);
            lease.hold(self.memory.held).await;
        }
    }

    fn charge_instances(&mut self, footprint: Footprint) -> Result<(), InstancesDenied> {
        let charged = footprint.bytes.saturating_sub(FREE_INSTANCE_BYTES);
        let charged = usize::try_from(charged).unwrap_or(usize::MAX);
        let limit = self.memory.limit;
        self.memory.grow(0, charged).map_err(|wanted| {
            self.denial = Some(DeniedGrowth::Instances { wanted, limit });
            InstancesDenied
        })
    }

    /// The last thing that was denied.
    pub(in crate::plugin) fn denial(&self) -> Option<DeniedGrowth> {
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
        MAX_CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// The same; what is allowed is waited for.
impl ResourceLimiterAsync for Limiter {
    fn memory_growing<'life, 'future>(
        &'life mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Answer<'future>
    where
        'life: 'future,
    {
        Box::pin(async move {
            let is_allowed = ResourceLimiter::memory_growing(self, current, desired, maximum)?;
            if is_allowed {
                self.wait_for_memory().await;
            }
            Ok(is_allowed)
        })
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        ResourceLimiter::memory_grow_failed(self, error)
    }

    fn table_growing<'life, 'future>(
        &'life mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Answer<'future>
    where
        'life: 'future,
    {
        let answer = ResourceLimiter::table_growing(self, current, desired, maximum);
        Box::pin(std::future::ready(answer))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        ResourceLimiter::table_grow_failed(self, error)
    }

    fn instances(&self) -> usize {
        ResourceLimiter::instances(self)
    }

    fn tables(&self) -> usize {
        ResourceLimiter::tables(self)
    }

    fn memories(&self) -> usize {
        ResourceLimiter::memories(self)
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
    use wasmtime::ResourceLimiter as _;

    use super::{DeniedGrowth, FREE_INSTANCE_BYTES, Limiter};
    use crate::{model::Limits, plugin::code::footprint::Footprint};

    #[test]
    fn memories_are_counted_together() {
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits, None);

        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
        assert_eq!(
            limiter.denial(),
            Some(DeniedGrowth::Memory {
                wanted: 101,
                limit: 100
            })
        );
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert_eq!(limiter.peak_memory(), 100);
    }

    #[test]
    fn what_a_guest_holds_counts_in_its_next_attempt_and_what_it_was_denied_does_not() {
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits, None);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(60, 101, None).unwrap());

        limiter.begin_attempt();
        assert_eq!((limiter.denial(), limiter.peak_memory()), (None, 60));
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
    }

    #[test]
    fn instances_are_charged_to_the_memory_beyond_what_is_free() {
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits, None);
        let beyond = |bytes: u64| Footprint {
            bytes: FREE_INSTANCE_BYTES + bytes,
            ..Footprint::default()
        };
        limiter.charge_instances(beyond(0)).unwrap();
        assert_eq!(limiter.peak_memory(), 0);
        limiter.charge_instances(beyond(60)).unwrap();
        assert_eq!(limiter.peak_memory(), 60);
        assert!(!limiter.memory_growing(0, 41, None).unwrap());
        limiter.charge_instances(beyond(41)).unwrap_err();
        let denial = DeniedGrowth::Instances {
            wanted: 101,
            limit: 100,
        };
        assert_eq!(limiter.denial(), Some(denial));
    }

    #[test]
    fn growth_that_the_host_could_not_provide_is_not_counted() {
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let mut limiter = Limiter::new(&limits, None);

        assert!(limiter.memory_growing(0, 100, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no"))
            .unwrap();
        assert!(limiter.memory_growing(0, 100, None).unwrap());
        assert!(!limiter.memory_growing(100, 200, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no"))
            .unwrap();
        assert!(!limiter.memory_growing(100, 101, None).unwrap());
    }
}
