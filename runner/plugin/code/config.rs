//! How wasmtime is set up, the same in this process and in its compiling child.

use std::num::NonZeroUsize;

use wasmtime::Config;

/// Functions that are remembered of a guest that traps, the innermost first: what a message names.
const MAX_FRAMES: usize = 5;
/// Bytes of an image of a memory that is made although most of it may be zeros. Two bytes of data far apart make an image
/// of all between them.
const MAX_SPARSE_IMAGE: u64 = 1024 * 1024;

/// Whether it is counted what guests execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Metering {
    /// It is not.
    Off,
    /// In wasmtime's fuel: about one for an instruction. The counting is compiled into the guest's code.
    Fuel,
}

/// The engine of this process and of its compiling child: what one compiles the other loads.
pub(in crate::plugin) fn new_wasmtime(metering: Metering) -> wasmtime::Result<wasmtime::Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        // Threads are off because the feature is not built in; both escape the sums that a limiter can keep.
        .wasm_memory64(false)
        // Each frame has a copy of its function's name, which may have 100,000 bytes.
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        .memory_guaranteed_dense_image_size(MAX_SPARSE_IMAGE)
        // Else the environment would decide.
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    wasmtime::Engine::new(&config)
}
