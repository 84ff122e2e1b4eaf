//! The baseline of the benchmark: a fresh store, a fresh instance and a call, and nothing else of the runner.

use std::{
    io,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use runner_model::{Digest, Limits, Micros};
use wasmtime::Store;

use crate::{
    Engines, LoadError, Plugin,
    call::component::Provider,
    contract::exports::runner::provider::provider::Test,
    interrupt::{Guard, Interrupt},
    plugin::Linked,
    store::Sandbox,
};

/// Calls of each thread before the clock starts.
const WARM_UP: u64 = 200;

/// Calls a plugin that answers with its input, on so many threads, and tells how long that took.
///
/// # Errors
///
/// The plugin cannot be loaded, or a call of it failed.
pub fn run(cache: &Path, plugin: &Digest, threads: u32, calls: u64) -> Result<Duration, LoadError> {
    let plugin = Engines::new(threads).load(cache, plugin)?;
    let ready = Barrier::new(threads as usize + 1);
    let call = |first: u64, most: u64| {
        let numbers = || (first..most).step_by(threads as usize);
        let warm = call_each(&plugin, (0..WARM_UP).step_by(1));
        ready.wait();
        warm.and_then(|()| call_each(&plugin, numbers()))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..u64::from(threads))
            .map(|first| scope.spawn(move || call(first, calls)))
            .collect();
        ready.wait();
        let started = Instant::now();
        for thread in threads {
            let called = thread.join().unwrap_or_else(|_| Err(failed("panic")));
            called?;
        }
        Ok(started.elapsed())
    })
}

fn call_each(plugin: &Plugin, numbers: impl Iterator<Item = u64>) -> Result<(), LoadError> {
    let Linked::Component(provider) = &plugin.linked else {
        return Err(failed("it is a command"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error: io::Error| failed(&error.to_string()))?;
    let limits = Limits::default();
    let guard = Guard::new(Interrupt::default(), Micros(u64::MAX));
    runtime.block_on(async {
        for number in numbers {
            let input = format!("{{\"text\":\"the text of test number {number}\"}}");
            let mut store = Store::new(&plugin.engine, Sandbox::bare(&limits, guard.clone()));
            store.epoch_deadline_async_yield_and_update(1);
            let output = call(provider, &mut store, &input).await;
            match output {
                Ok(output) if output == input => {}
                Ok(output) => return Err(failed(&output)),
                Err(error) => return Err(failed(&format!("{error:#}"))),
            }
        }
        Ok(())
    })
}

async fn call(
    provider: &Provider,
    store: &mut Store<Sandbox>,
    input: &String,
) -> wasmtime::Result<String> {
    let plugin = provider.pre.instantiate_async(&mut *store).await?;
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
    let provider = plugin.runner_provider_provider();
    let reply = provider.call_run(store, test).await?;
    Ok(match reply {
        Ok(reply) => reply.output,
        Err(error) => error.message,
    })
}

fn failed(why: &str) -> LoadError {
    LoadError::Refused {
        code: "bare",
        message: format!("did not answer with its input: {why}"),
    }
}
