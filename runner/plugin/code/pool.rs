//! [`SandboxPool`]: for how many sandboxes slots are reserved, and which plugins fit into them.
//!
//! A sandbox that is mapped and unmapped costs several calls of the kernel, each of which interrupts every other core that
//! runs a thread of this process. Slots are mapped once; between two guests the kernel takes back what the first has touched.
//!
//! Nobody waits for a slot, and no guest can use up those of others: there are as many as all sandboxes that live at a time
//! can take, each at its plugin's most. What a plugin can take is counted from its file before it is compiled.

use super::{file::PluginFile, footprint::Footprint};
use crate::model::Limits;

/// Parts of sandboxes that are given back to the kernel at a time. More at a time would interrupt the other cores less often;
/// but until then nobody counts what is in them, and a guest may have filled all that it may have.
pub(super) const DECOMMIT_BATCH: usize = 1;
/// Memories of a sandbox. Python's component has three.
const MAX_MEMORIES: u32 = 8;
/// Tables of a sandbox.
const MAX_TABLES: u32 = 16;
/// Elements of a table, at 16 bytes of address space each.
const MAX_TABLE_ELEMENTS: u64 = 1_000_000;
/// Memories of all sandboxes together, each of which takes 4 GiB of the process's address space: a quarter of it.
const MAX_ALL_MEMORIES: usize = 8 * 1024;

/// For how many sandboxes an engine reserves slots, and what the largest of them takes.
#[derive(Clone, Debug)]
pub struct SandboxPool {
    sandboxes: usize,
    threads: usize,
    memories: u32,
    tables: u32,
    table_elements: u64,
}

/// What is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Slots {
    pub(super) memories: u32,
    /// Those of one sandbox.
    pub(super) memories_each: u32,
    pub(super) tables: u32,
    /// Those of one sandbox.
    pub(super) tables_each: u32,
    /// Of each table.
    pub(super) table_elements: usize,
    pub(super) stacks: u32,
}

impl SandboxPool {
    /// A pool for `sandboxes` that live at a time, on `threads` threads; it has no plugins yet.
    pub fn new(sandboxes: usize, threads: usize) -> Self {
        Self {
            sandboxes,
            threads,
            memories: 0,
            tables: 0,
            table_elements: 0,
        }
    }

    /// A pool with room for every plugin that can be pooled, for where it is not known yet which it will be.
    pub fn of_any(sandboxes: usize, threads: usize) -> Self {
        Self {
            memories: MAX_MEMORIES,
            tables: MAX_TABLES,
            table_elements: MAX_TABLE_ELEMENTS,
            ..Self::new(sandboxes, threads)
        }
    }

    /// Makes room for a plugin with these limits, if it is one of those that fit.
    pub fn add(&mut self, file: &PluginFile, limits: &Limits) {
        self.include(&file.footprint, limits.table_elements);
    }

    fn include(&mut self, footprint: &Footprint, table_elements: u64) {
        if let Ok((memories, tables)) = wanted(footprint, table_elements) {
            self.memories = self.memories.max(memories);
            self.tables = self.tables.max(tables);
            self.table_elements = self.table_elements.max(table_elements);
        }
    }

    /// What to reserve; `None` if no plugin fits, or it is more than the address space has room for.
    pub(in crate::plugin) fn slots(&self) -> Option<Slots> {
        let of_all = |each: u32| {
            let most = self.sandboxes.checked_mul(each as usize)?;
            // What was used last is given back in batches, one for each thread; until then it is nobody's.
            let waiting = DECOMMIT_BATCH * (self.threads + 1);
            u32::try_from(most.checked_add(waiting)?).ok()
        };
        // One more for the objects of languages that are collected.
        let memories_each = self.memories + 1;
        let slots = Slots {
            memories: of_all(memories_each)?,
            memories_each: self.memories.max(1),
            tables: of_all(self.tables)?,
            tables_each: self.tables.max(1),
            table_elements: usize::try_from(self.table_elements).ok()?,
            stacks: of_all(1)?,
        };
        let has_room = slots.memories as usize <= MAX_ALL_MEMORIES;
        (has_room && self.table_elements > 0).then_some(slots)
    }

    /// Tells whether a plugin fits, and else why not.
    pub(in crate::plugin) fn fits(&self, footprint: &Footprint) -> Result<(), &'static str> {
        let (memories, tables) = wanted(footprint, self.table_elements)?;
        if memories > self.memories || tables > self.tables {
            return Err("no slots were reserved for it");
        }
        Ok(())
    }
}

/// The memories and tables that a plugin takes, or why it gets none.
fn wanted(footprint: &Footprint, table_elements: u64) -> Result<(u32, u32), &'static str> {
    let most = |count: u64, most: u32, why| match u32::try_from(count) {
        Ok(count) if count <= most => Ok(count),
        _ => Err(why),
    };
    if !footprint.is_exact {
        return Err("what it is composed of is known only while it runs");
    }
    if table_elements > MAX_TABLE_ELEMENTS {
        return Err("its limit of table elements is larger than slots are");
    }
    Ok((
        most(footprint.memories, MAX_MEMORIES, "it has too many memories")?,
        most(footprint.tables, MAX_TABLES, "it has too many tables")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::{DECOMMIT_BATCH, Footprint, MAX_ALL_MEMORIES, SandboxPool};

    const ONE: Footprint = Footprint {
        bytes: 0,
        memories: 1,
        tables: 2,
        is_exact: true,
    };

    #[test]
    fn there_are_slots_for_every_sandbox_at_its_most() {
        let mut pool = SandboxPool::new(5, 2);
        pool.include(&ONE, 1_000);
        pool.include(&Footprint { memories: 3, ..ONE }, 100);
        let slots = pool.slots().unwrap();
        assert!(slots.memories >= 5 * 4 + 3 * DECOMMIT_BATCH as u32);
        assert!(slots.tables >= 5 * 2 + 3 * DECOMMIT_BATCH as u32);
        assert!(slots.stacks >= 5 + 3 * DECOMMIT_BATCH as u32);
        assert_eq!(slots.table_elements, 1_000);
    }

    #[test]
    fn what_does_not_fit_makes_no_slot_larger() {
        let mut pool = SandboxPool::new(1, 1);
        pool.include(&ONE, 10);
        let before = pool.slots();
        let large = Footprint { memories: 9, ..ONE };
        let unknown = Footprint {
            is_exact: false,
            ..ONE
        };
        for other in [large, unknown] {
            pool.include(&other, 10);
            assert_eq!(pool.slots(), before);
            assert!(pool.fits(&other).is_err());
        }
        pool.include(&ONE, 2_000_000);
        assert_eq!(pool.slots(), before);
        assert_eq!(pool.fits(&ONE), Ok(()));
    }

    #[test]
    fn a_pool_without_plugins_or_with_too_many_sandboxes_reserves_nothing() {
        assert_eq!(SandboxPool::new(1, 1).slots(), None);
        let mut pool = SandboxPool::new(MAX_ALL_MEMORIES, 1);
        pool.include(&ONE, 10);
        assert_eq!(pool.slots(), None);
    }
}
