//! The baseline: a pool of wasmtime, and for each call a fresh store and instance. No limits, files,
//! requests or other parts of the runner.

use std::{
    fs,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use runner_model::{
    Digest,
    cache::{CodeForm, Trailer},
};
use runner_sandbox::Engines;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    WasmBacktraceDetails,
    component::{Component, Linker},
};
use wasmtime_wasi::{WasiCtxBuilder, p1::WasiP1Ctx, p2};

use self::contract::{PluginPre, exports::runner::provider::provider::Test};
use crate::Done;

/// Calls of each thread before the clock starts.
const WARM_UP: u64 = 200;
/// Interval of epochs, as in the sandbox.
const TICK: Duration = Duration::from_millis(10);

mod contract {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

    wasmtime::component::bindgen!({
        path: "../../plugins/sdk/wit/provider.wit",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        exports: { default: async },
    });
}

/// Calls a cached component that replies with its input, `calls` times on `threads` threads. Returns the time without
/// loading and warm-up.
pub fn run(cache: &Path, plugin: &Digest, threads: u32, calls: u64) -> Done<Duration> {
    let plugin = &load(cache, plugin, threads)?;
    let warm = &Barrier::new(threads as usize + 1);
    let started = thread::scope(|scope| {
        for first in 0..u64::from(threads) {
            scope.spawn(move || {
                call_each(plugin, 0..WARM_UP);
                warm.wait();
                call_each(plugin, (first..calls).step_by(threads as usize));
            });
        }
        warm.wait();
        Instant::now()
    });
    Ok(started.elapsed())
}

/// Loads an entry of the runner's cache, so that both run the same machine code.
#[expect(unsafe_code, reason = "the entry was written by the runner of this benchmark")]
fn load(cache: &Path, plugin: &Digest, threads: u32) -> Done<PluginPre<WasiP1Ctx>> {
    let entry =
        fs::read(cache.join(CodeForm::Optimized.entry_name(plugin, &Engines::compile_key())))?;
    let (code, trailer) = Trailer::split(&entry).ok_or("a damaged entry")?;
    let engine = engine(threads, trailer.initial_memory)?;
    // SAFETY: the runner of this benchmark has compiled it into a cache that nothing else uses.
    let component = unsafe { Component::deserialize(&engine, code)? };
    let mut linker = Linker::new(&engine);
    p2::add_to_linker_async(&mut linker)?;
    // The baseline calls nothing of the contract itself.
    linker.define_unknown_imports_as_traps(&component)?;
    let plugin = PluginPre::new(linker.instantiate_pre(&component)?)?;
    thread::spawn(move || {
        loop {
            engine.increment_epoch();
            thread::sleep(TICK);
        }
    });
    Ok(plugin)
}

/// Creates the engine of `sandbox/src/engine/config.rs`. Settings that change the machine code must
/// be equal, or the entry does not load. Settings that clear slots must be equal for a fair
/// comparison.
fn engine(threads: u32, initial_memory: u64) -> Done<Engine> {
    const SMALL: usize = 256 * 1024;
    let is_small = initial_memory <= SMALL as u64;
    let total = |each: u32| threads.saturating_mul(each).saturating_add(2);
    let mut pool = PoolingAllocationConfig::new();
    pool.decommit_batch_size(1)
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(if is_small { SMALL } else { 0 })
        .async_stack_keep_resident(16 * 1024)
        .table_keep_resident(16 * 1024)
        .total_memories(total(9))
        .total_tables(total(16))
        .total_stacks(total(1))
        .total_gc_heaps(total(1))
        .table_elements(1_000_000)
        .total_core_instances(u32::MAX)
        .total_component_instances(u32::MAX)
        .max_core_instance_size(2 * 1024 * 1024)
        .max_component_instance_size(2 * 1024 * 1024)
        .max_memories_per_component(8)
        .max_tables_per_component(16);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .async_stack_zeroing(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

fn call_each(plugin: &PluginPre<WasiP1Ctx>, numbers: impl Iterator<Item = u64>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for number in numbers {
            let input = format!("{{\"text\":\"the text of test number {number}\"}}");
            let output = call(plugin, &input).await;
            assert_eq!(output.expect("no trap"), input);
        }
    });
}

async fn call(plugin: &PluginPre<WasiP1Ctx>, input: &String) -> wasmtime::Result<String> {
    let mut store = Store::new(plugin.engine(), WasiCtxBuilder::new().build_p1());
    store.epoch_deadline_async_yield_and_update(1);
    let plugin = plugin.instantiate_async(&mut store).await?;
    let test = Test {
        trial_id: "test@echo#1",
        test_id: "test",
        provider: "echo",
        repeat: 1,
        attempt: 1,
        seed: 0,
        input,
        config: &"{}".to_owned(),
        tags: &[],
        extra: None,
    };
    let reply = plugin.runner_provider_provider().call_run(store, test).await?;
    Ok(reply.map_or_else(|error| error.message, |reply| reply.output))
}
