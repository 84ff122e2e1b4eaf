//! The baseline of the benchmark: a fresh store, a fresh instance and a call, and nothing else of the runner.

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use runner_model::{Digest, Limits, Micros};
use wasmtime::Store;

use crate::{
    Engines, LoadError, Plugin,
    contract::exports::runner::provider::provider::Test,
    interrupt::{Guard, Interrupt},
    plugin::Linked,
    store::Sandbox,
};

/// Calls of each thread before the clock starts.
const WARM_UP: u64 = 200;

/// Calls a component that answers with its input, on so many threads, and tells how long that took.
///
/// # Errors
///
/// The plugin cannot be loaded.
///
/// # Panics
///
/// It is not in the cache, or does not answer with its input.
pub fn run(cache: &Path, plugin: &Digest, threads: u32, calls: u64) -> Result<Duration, LoadError> {
    let plugin = Engines::new(threads, u64::MAX).load(cache, plugin)?;
    let plugin = &plugin.expect("an entry of the cache");
    let is_warm = &Barrier::new(threads as usize + 1);
    let started = thread::scope(|scope| {
        for first in 0..u64::from(threads) {
            scope.spawn(move || {
                call_each(plugin, 0..WARM_UP);
                is_warm.wait();
                call_each(plugin, (first..calls).step_by(threads as usize));
            });
        }
        is_warm.wait();
        Instant::now()
    });
    Ok(started.elapsed())
}

fn call_each(plugin: &Plugin, numbers: impl Iterator<Item = u64>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let limits = Limits::default();
    let guard = Guard::new(Interrupt::default(), Micros(u64::MAX));
    runtime.block_on(async {
        for number in numbers {
            let input = format!("{{\"text\":\"the text of test number {number}\"}}");
            let output = call(plugin, Sandbox::bare(&limits, guard.clone()), &input).await;
            assert_eq!(output.expect("no trap"), input);
        }
    });
}

async fn call(plugin: &Plugin, sandbox: Sandbox, input: &String) -> wasmtime::Result<String> {
    let Linked::Component(provider) = &plugin.linked else {
        wasmtime::bail!("it is a command");
    };
    let store = &mut Store::new(provider.pre.engine(), sandbox);
    store.epoch_deadline_async_yield_and_update(1);
    let instance = provider.pre.instantiate_async(&mut *store).await?;
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
    let provider = instance.runner_provider_provider();
    let reply = provider.call_run(store, test).await?;
    Ok(reply.map_or_else(|error| error.message, |reply| reply.output))
}
