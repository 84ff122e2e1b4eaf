//! How wasmtime is set up, the same in this process and in its compiling child.

use std::num::NonZeroUsize;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::pool::{DECOMMIT_BATCH, Slots};

/// Functions that are remembered of a guest that traps, the innermost first: what a message names.
const MAX_FRAMES: usize = 5;
/// Bytes of an image of a memory that is made although most of it may be zeros, unless the file itself has more. Two bytes
/// of data far apart make an image of all between them.
const MAX_SPARSE_IMAGE: u64 = 1024 * 1024;
/// Bytes of an instance, twice as many as `footprint.rs` lets all of an attempt's have by its own, rougher measure.
const MAX_INSTANCE: usize = 64 * 1024 * 1024;
/// Bytes of a stack that are cleared by writing zeros; what a guest has used beyond them the kernel takes back. Few guests
/// use more.
const RESIDENT_STACK: usize = 16 * 1024;
/// The same of a table: a small one is cleared for a hundredth of what the kernel takes for it, and for the page fault of the
/// next guest.
const RESIDENT_TABLE: usize = 16 * 1024;

/// Whether it is counted what guests execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Metering {
    /// It is not.
    Off,
    /// In wasmtime's fuel: about one for an instruction. The counting is compiled into the guest's code.
    Fuel,
}

/// Where the memories, tables and stacks of a sandbox come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Allocation {
    /// From slots that are reserved once and used again. No component has tasks of its own then: each task has a stack, and
    /// one guest could take the stacks of all.
    Pooled,
    /// From the kernel, for each sandbox.
    OnDemand,
}

/// What decides the machine code that plugins are compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct EngineConfig {
    pub(in crate::plugin) metering: Metering,
    pub(in crate::plugin) allocation: Allocation,
}

impl EngineConfig {
    const ALL: [Self; 4] = [
        Self::new(Metering::Off, Allocation::Pooled),
        Self::new(Metering::Off, Allocation::OnDemand),
        Self::new(Metering::Fuel, Allocation::Pooled),
        Self::new(Metering::Fuel, Allocation::OnDemand),
    ];

    pub(in crate::plugin) const fn new(metering: Metering, allocation: Allocation) -> Self {
        Self {
            metering,
            allocation,
        }
    }

    /// As the argument of a child process.
    pub(super) fn as_argument(self) -> &'static str {
        match (self.metering, self.allocation) {
            (Metering::Off, Allocation::Pooled) => "pooled",
            (Metering::Off, Allocation::OnDemand) => "on-demand",
            (Metering::Fuel, Allocation::Pooled) => "pooled-with-fuel",
            (Metering::Fuel, Allocation::OnDemand) => "on-demand-with-fuel",
        }
    }

    /// Reads [`EngineConfig::as_argument`] back.
    pub(super) fn of_argument(argument: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|config| config.as_argument() == argument)
    }

    /// An engine that compiles a file of so many bytes.
    ///
    /// Without an image of its memory, all data of a plugin is copied for each sandbox. An interpreter whose heap was made
    /// ahead has holes in it, and some megabytes of data in a file that is larger than heap and holes.
    pub(super) fn compiler(self, bytes: usize) -> wasmtime::Result<wasmtime::Engine> {
        let mut config = self.config();
        config.memory_guaranteed_dense_image_size(MAX_SPARSE_IMAGE.max(bytes as u64));
        wasmtime::Engine::new(&config)
    }

    /// An engine that loads what was compiled; without `slots` it runs nothing pooled.
    pub(in crate::plugin) fn engine(
        self,
        slots: Option<&Slots>,
    ) -> wasmtime::Result<wasmtime::Engine> {
        let mut config = self.config();
        if let Some(slots) = slots {
            // A stack that the kernel makes is zero; one that is used again must be too.
            config.async_stack_zeroing(true);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(slots)));
        }
        wasmtime::Engine::new(&config)
    }

    fn config(self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .consume_fuel(self.metering == Metering::Fuel)
            .concurrency_support(self.allocation == Allocation::OnDemand)
            // Threads are off because the feature is not built in; both escape the sums that a limiter can keep.
            .wasm_memory64(false)
            // Each frame has a copy of its function's name, which may have 100,000 bytes.
            .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
            // Else the environment would decide.
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        config
    }
}

fn pooling(slots: &Slots) -> PoolingAllocationConfig {
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .decommit_batch_size(DECOMMIT_BATCH)
        .async_stack_keep_resident(RESIDENT_STACK)
        .table_keep_resident(RESIDENT_TABLE)
        // The scan asks the kernel which pages are present. One that is being moved or is swapped out is not, is passed
        // over, and the next guest of the slot reads what is in it.
        .pagemap_scan(Enabled::No)
        .total_memories(slots.memories)
        .total_tables(slots.tables)
        .total_stacks(slots.stacks)
        .total_gc_heaps(slots.stacks)
        .table_elements(slots.table_elements)
        // Bounded for each attempt by its limiter and before anything is compiled; these reserve nothing.
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_core_instance_size(MAX_INSTANCE)
        .max_component_instance_size(MAX_INSTANCE)
        // So that one which takes more than was counted does not load, instead of finding no slot later.
        .max_memories_per_module(slots.memories_each)
        .max_memories_per_component(slots.memories_each)
        .max_tables_per_module(slots.tables_each)
        .max_tables_per_component(slots.tables_each);
    pooling
}

#[cfg(test)]
mod tests {
    use super::EngineConfig;

    #[test]
    fn a_child_reads_the_configuration_that_it_was_given() {
        for config in EngineConfig::ALL {
            assert_eq!(
                EngineConfig::of_argument(config.as_argument()),
                Some(config)
            );
        }
    }
}
