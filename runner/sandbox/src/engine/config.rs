//! The configuration of wasmtime. Compilers and workers must use the same.

use std::num::NonZeroUsize;

use runner_model::cache::{CodeForm, Trailer};
use runner_model::{MAX_STACK, MIN_STACK};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, WasmBacktraceDetails,
};

/// Memories of a sandbox. Python's component has three.
pub(crate) const MEMORIES: u32 = 8;
/// Tables of a sandbox.
pub(crate) const TABLES: u32 = 16;
/// Memories of a sandbox without a slot, at 4 GiB of address space each.
pub(crate) const MEMORIES_ON_DEMAND: u32 = 32;
pub(crate) const TABLES_ON_DEMAND: u32 = 200;
/// Core instances of a sandbox. Python's component has 14. With `MAX_INSTANCE` it bounds their
/// memory on the host.
pub(crate) const MAX_INSTANCES: usize = 32;
/// Bytes of a core instance without its memories and tables: some 32 for each function in a table
/// or export.
const MAX_INSTANCE: usize = 2 * 1024 * 1024;
/// Bytes of a component instance.
const MAX_COMPONENT_INSTANCE: usize = 2 * 1024 * 1024;
/// Elements of one table, at 16 bytes of address space each.
pub(crate) const TABLE_ELEMENTS: u32 = 1_000_000;
/// Innermost functions of a backtrace. A panic of Rust has up to 11 of its own.
const MAX_FRAMES: usize = 16;
/// Bytes of a memory's image even if most of it is zeros. Two bytes of data far apart make an image
/// of all between them.
const MAX_SPARSE_IMAGE: u64 = 1024 * 1024;
/// Bytes of a stack or table that are cleared by writing zeros. The kernel takes back the pages
/// after them.
const RESIDENT: usize = 16 * 1024;
/// Bytes of a memory in the pool for small ones that are cleared by writing zeros: most of the
/// initial memory of a guest with a stack of 128 KiB. For larger guests it would be a cost for
/// stack that they do not use.
const RESIDENT_MEMORY: usize = SMALL as usize;
/// Bytes of all memories of a pool that are cleared by writing zeros. Clearing touches them all: a
/// thousand guests that wait for servers would hold 250 MiB afterwards.
const RESIDENT_MEMORIES: usize = 16 * 1024 * 1024;
/// Factor for the stacks of code that was compiled without optimization. A function's frame takes up
/// to 13 times as much as with it.
const QUICK_STACK: usize = 13;
/// Number of sizes of stacks, which are powers of two.
pub(crate) const STACKS: usize = (MAX_STACK / MIN_STACK).ilog2() as usize + 1;
/// Bytes of stack for functions of the host that a guest calls, as by default.
const HOST_STACK: usize = 3 * 512 * 1024;
/// Bytes of all initial memories of a plugin in the pool for small ones.
pub(crate) const SMALL: u64 = 256 * 1024;

/// Source of the memories, tables and stacks of a sandbox. The machine code depends on it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// Slots, reserved once and reused.
    Pooled,
    /// The kernel, for each new sandbox: for components with tasks of their own, and for plugins
    /// that do not fit a slot.
    OnDemand,
}

/// The stack of a guest: `MIN_STACK << self.0` bytes. The machine code does not depend on it, but
/// wasmtime sets it for a whole engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stack(pub(crate) usize);

impl Stack {
    pub(crate) fn of(bytes: u64) -> Self {
        let bytes = bytes.clamp(MIN_STACK, MAX_STACK).next_power_of_two();
        Self((bytes / MIN_STACK).ilog2() as usize)
    }
}

impl Allocation {
    pub(super) fn from_trailer(trailer: &Trailer) -> Self {
        if trailer.pooled { Self::Pooled } else { Self::OnDemand }
    }
}

/// Creates an engine that compiles a file of `bytes` bytes, or loads compiled code. It runs
/// nothing.
///
/// Images have up to `bytes` bytes, because without one all data of a plugin is copied into each
/// sandbox. The heap of a pre-initialized interpreter has holes and some megabytes of data, in a
/// file that is larger than both.
pub(crate) fn compiler(
    allocation: Allocation,
    bytes: usize,
    form: CodeForm,
) -> wasmtime::Result<Engine> {
    let mut config = config(allocation, form, Stack(0));
    config.memory_guaranteed_dense_image_size(MAX_SPARSE_IMAGE.max(bytes as u64));
    Engine::new(&config)
}

/// Creates an engine that runs `sandboxes` guests at once, in slots with a fixed number of memories
/// and tables.
pub(crate) fn pooled(
    sandboxes: u32,
    is_small: bool,
    form: CodeForm,
    stack: Stack,
) -> wasmtime::Result<Engine> {
    let of_all = |each: u32| sandboxes.saturating_mul(each).saturating_add(2);
    let resident = RESIDENT_MEMORY.min(RESIDENT_MEMORIES / sandboxes.max(1) as usize);
    let mut pool = PoolingAllocationConfig::new();
    pool
        // Memory in a batch is not counted, and may be as large as a guest's limit.
        .decommit_batch_size(1)
        // The scan asks the kernel which pages are present. It misses pages that are being moved or
        // swapped out, and the next guest of the slot could read them.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(if is_small { resident } else { 0 })
        .async_stack_keep_resident(RESIDENT)
        .table_keep_resident(RESIDENT)
        // One more, because wasmtime counts a garbage-collected heap as a memory.
        .total_memories(of_all(MEMORIES + 1))
        .total_tables(of_all(TABLES))
        .total_stacks(of_all(1))
        .total_gc_heaps(of_all(1))
        .table_elements(TABLE_ELEMENTS as usize)
        // These reserve nothing. Each store has its own bound.
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_core_instance_size(MAX_INSTANCE)
        .max_component_instance_size(MAX_COMPONENT_INSTANCE)
        // A plugin with more is refused when it is loaded, not when it needs a slot.
        .max_memories_per_module(MEMORIES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_module(TABLES)
        .max_tables_per_component(TABLES);
    let mut config = config(Allocation::Pooled, form, stack);
    config
        // A reused stack must be as clean as a new one.
        .async_stack_zeroing(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Creates an engine that runs guests without slots.
pub(crate) fn unpooled(
    allocation: Allocation,
    form: CodeForm,
    stack: Stack,
) -> wasmtime::Result<Engine> {
    Engine::new(&config(allocation, form, stack))
}

/// Without optimization, an interpreter is compiled in half of the time, runs slower and takes more
/// stack.
fn config(allocation: Allocation, form: CodeForm, stack: Stack) -> Config {
    let is_quick = form == CodeForm::Quick;
    let stack = (MIN_STACK as usize) << stack.0;
    let stack = if is_quick { stack * QUICK_STACK } else { stack };
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(form == CodeForm::Metered)
        // Each task of a component takes a stack, so one guest could take the stacks of all slots.
        .concurrency_support(allocation == Allocation::OnDemand)
        // Memories with 64-bit addresses would escape the limiter's sums, as would shared ones, but
        // threads are not compiled in.
        .wasm_memory64(false)
        // Each frame copies its function's name, which may have 100,000 bytes.
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        // The default reads an environment variable, so results would depend on the machine.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .max_wasm_stack(stack)
        .async_stack_size(stack + HOST_STACK);
    if is_quick {
        config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    }
    config
}
