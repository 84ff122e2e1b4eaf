//! How wasmtime is set up, the same where plugins are compiled and where they run.

use std::num::NonZeroUsize;

use runner_model::cache::Trailer;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// Memories of a sandbox. Python's component has three.
pub(crate) const MEMORIES: u32 = 8;
/// Tables of a sandbox.
pub(crate) const TABLES: u32 = 16;
/// The same of a sandbox that is made on demand. A memory takes 4 GiB of address space.
pub(crate) const MEMORIES_ON_DEMAND: u32 = 32;
pub(crate) const TABLES_ON_DEMAND: u32 = 200;
/// Core instances of a sandbox; Python's component has 14. With `MAX_INSTANCE` it bounds what they take of the host.
pub(crate) const MAX_INSTANCES: usize = 32;
/// Bytes of a core instance outside of its memories and tables: some 32 for each function that a table or an export has.
const MAX_INSTANCE: usize = 2 * 1024 * 1024;
/// Bytes of a component instance.
const MAX_COMPONENT_INSTANCE: usize = 2 * 1024 * 1024;
/// Elements of one table, at 16 bytes of address space each.
pub(crate) const TABLE_ELEMENTS: u32 = 1_000_000;
/// Functions that are remembered of a guest that traps, the innermost first: what a message names.
const MAX_FRAMES: usize = 5;
/// Bytes of an image of a memory that is made although most of it may be zeros, unless the file itself has more. Two bytes
/// of data far apart make an image of all between them.
const MAX_SPARSE_IMAGE: u64 = 1024 * 1024;
/// Bytes of a stack or a table that are cleared by writing zeros; the kernel takes back what was used beyond them.
const RESIDENT: usize = 16 * 1024;
/// The same of a memory, in the pool for small ones: the initial memory of a guest with a stack of 128 KiB is mostly that.
/// In larger ones it would be a cost for stack that nothing uses.
const RESIDENT_MEMORY: usize = SMALL as usize;
/// The same of all memories of a pool together: clearing makes each as large as that, also where a guest used little of it,
/// and a thousand that wait for servers would have 250 MiB when they are done.
const RESIDENT_MEMORIES: usize = 16 * 1024 * 1024;
/// Bytes of all initial memories of a plugin that runs in the pool for small ones.
pub(crate) const SMALL: u64 = 256 * 1024;

/// Where the memories, tables and stacks of sandboxes come from. The machine code differs, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// From slots that are reserved once and used again.
    Pooled,
    /// From the kernel, for each sandbox: for components with tasks of their own, and for what does not fit a slot.
    OnDemand,
}

impl Allocation {
    pub(super) fn from_trailer(trailer: &Trailer) -> Self {
        if trailer.pooled { Self::Pooled } else { Self::OnDemand }
    }
}

/// An engine without a pool that compiles a file of so many bytes, or loads what was compiled. It runs nothing.
///
/// Without an image of its memory, all data of a plugin is copied for each sandbox. An interpreter whose heap was made
/// ahead of time has holes in it, and some megabytes of data in a file that is larger than heap and holes.
pub(crate) fn compiler(allocation: Allocation, bytes: usize) -> wasmtime::Result<Engine> {
    let mut config = config(allocation);
    config.memory_guaranteed_dense_image_size(MAX_SPARSE_IMAGE.max(bytes as u64));
    Engine::new(&config)
}

/// An engine that runs what was compiled, with slots for so many sandboxes at once, each with a fixed number of memories
/// and tables.
pub(crate) fn pooled(sandboxes: u32, is_small: bool) -> wasmtime::Result<Engine> {
    let of_all = |each: u32| sandboxes.saturating_mul(each).saturating_add(2);
    let resident = RESIDENT_MEMORY.min(RESIDENT_MEMORIES / sandboxes.max(1) as usize);
    let mut pool = PoolingAllocationConfig::new();
    pool
        // What waits in a batch is counted nowhere, and may be all that a guest may have.
        .decommit_batch_size(1)
        // The scan asks the kernel which pages are present. One that is being moved or is swapped out is not, is passed
        // over, and the next guest of the slot reads what is in it.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(if is_small { resident } else { 0 })
        .async_stack_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT)
        // One more for the objects of languages that are collected.
        .total_memories(of_all(MEMORIES + 1))
        .total_tables(of_all(TABLES))
        .total_stacks(of_all(1))
        .total_gc_heaps(of_all(1))
        .table_elements(TABLE_ELEMENTS as usize)
        // These reserve nothing; a store bounds its own.
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_core_instance_size(MAX_INSTANCE)
        .max_component_instance_size(MAX_COMPONENT_INSTANCE)
        // So that a plugin that takes more is not loaded, instead of finding no slot later.
        .max_memories_per_module(MEMORIES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_module(TABLES)
        .max_tables_per_component(TABLES);
    let mut config = config(Allocation::Pooled);
    config
        // A stack that is used again must be zero, like one that the kernel makes.
        .async_stack_zeroing(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// An engine that runs what was compiled, without slots.
pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(&config(Allocation::OnDemand))
}

fn config(allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Each task of a component takes a stack, and one guest could take those of all slots.
        .concurrency_support(allocation == Allocation::OnDemand)
        // Threads are not built in. Both escape the sums that a limiter keeps.
        .wasm_memory64(false)
        // Each frame has a copy of its function's name, which may have 100,000 bytes.
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        // Else the environment would decide.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}
