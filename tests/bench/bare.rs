//! The bare loop: what a careful engineer writes who only wants a component called again and again.
//!
//! Every call has a fresh store, a fresh instance and one call of `run`, and nothing else that the runner does: no
//! limits, no deadline, no captured output, no expectation, no rows. The engine is configured as the runner's is, with a
//! thread that ticks its epoch, because that decides what a call costs.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2};

use self::contract::{
    PluginPre,
    exports::runner::provider::provider::Test,
    runner::provider::{artifacts, control, files, http, log, secrets, types},
};

const TICK: Duration = Duration::from_millis(10);

mod contract {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

    wasmtime::component::bindgen!({
        path: "schemas/provider.wit",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: false },
        exports: { default: async },
    });
}

/// A component that is compiled, linked and ready to be called.
pub(crate) struct Bare {
    component: PluginPre<Data>,
}

/// Where the memories and stacks of a sandbox come from.
#[derive(Clone, Copy)]
pub(crate) enum Sandboxes {
    /// From the kernel, for each.
    OnDemand,
    /// From slots that are used again.
    Pooled,
}

/// The least that a guest of WASI 0.2 can be instantiated with.
struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Bare {
    pub(crate) fn load(plugin: &Path, sandboxes: Sandboxes) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .wasm_memory64(false)
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        if let Sandboxes::Pooled = sandboxes {
            let mut pool = PoolingAllocationConfig::new();
            pool.pagemap_scan(Enabled::No)
                .decommit_batch_size(1)
                // As many as an interpreter has functions.
                .table_elements(1_000_000)
                .total_tables(100);
            config
                .concurrency_support(false)
                .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        let engine = Engine::new(&config)?;
        tick(&engine);

        let mut linker = Linker::new(&engine);
        p2::add_to_linker_async(&mut linker)?;
        contract::Plugin::add_to_linker::<_, HasSelf<Data>>(&mut linker, |data| data)?;
        let component = Component::from_file(&engine, plugin)?;
        let component = PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { component })
    }

    /// Makes `calls` calls on `threads` threads, and says how long that took.
    pub(crate) fn run(&self, calls: u64, threads: u64) -> Duration {
        let started = Instant::now();
        thread::scope(|scope| {
            for first in 0..threads {
                let numbers = (first..calls).step_by(usize::try_from(threads).unwrap_or(1));
                scope.spawn(move || self.call_each(numbers));
            }
        });
        started.elapsed()
    }

    /// Makes a call with each of these inputs, and says how long that took.
    pub(crate) fn run_with(&self, inputs: impl Iterator<Item = String>) -> Duration {
        let started = Instant::now();
        self.call_with(inputs, |_, _| ());
        started.elapsed()
    }

    fn call_each(&self, numbers: impl Iterator<Item = u64>) {
        self.call_with(numbers.map(super::lists::input), |input, output| {
            assert_eq!(output, input);
        });
    }

    /// Lets `look` see each input and what came of it.
    fn call_with(&self, inputs: impl Iterator<Item = String>, look: impl Fn(&str, &str)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a thread can have a runtime");
        runtime.block_on(async {
            for input in inputs {
                let output = self.call(&input).await.expect("the guest answers");
                look(&input, &output);
            }
        });
    }

    async fn call(&self, input: &str) -> wasmtime::Result<String> {
        let data = Data {
            wasi: WasiCtxBuilder::new().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(self.component.engine(), data);
        store.epoch_deadline_async_yield_and_update(1);
        let plugin = self.component.instantiate_async(&mut store).await?;
        let input = input.to_owned();
        let test = Test {
            trial_id: "test@echo#1",
            test_id: "test",
            provider: "echo",
            repeat: 1,
            attempt: 1,
            seed: 0,
            input: &input,
            config: &"{}".to_owned(),
            tags: &[],
            extra: None,
        };
        let provider = plugin.runner_provider_provider();
        let reply = provider.call_run(&mut store, test).await?;
        Ok(reply.expect("it has nothing to fail at").output)
    }
}

/// Ticks as long as there is an engine.
pub(crate) fn tick(engine: &Engine) {
    let engine = engine.weak();
    thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

// The contract's imports must be there; an echo calls none of them, and the templates of other languages only log.

impl types::Host for Data {}

impl log::Host for Data {
    fn log(&mut self, _: log::Level, _: String, _: Vec<(String, String)>) {}
}

impl control::Host for Data {
    fn progress(&mut self, _: Option<f64>, _: String) {}

    fn stop_requested(&mut self) -> bool {
        false
    }

    fn remaining(&mut self) -> u32 {
        0
    }
}

impl files::Host for Data {
    fn names(&mut self) -> Vec<files::File> {
        Vec::new()
    }

    fn read(&mut self, _: String, _: u32, _: u32) -> Result<Vec<u8>, files::FileError> {
        Err(files::FileError::NotFound)
    }
}

impl secrets::Host for Data {
    fn get(&mut self, _: String) -> Result<String, secrets::SecretError> {
        Err(secrets::SecretError::Denied)
    }
}

impl artifacts::Host for Data {
    fn append(&mut self, _: String, _: String, _: Vec<u8>) -> Result<(), artifacts::ArtifactError> {
        Err(artifacts::ArtifactError::Unavailable)
    }
}

impl http::Host for Data {
    fn send(&mut self, _: http::Request) -> Result<http::Response, http::HttpError> {
        Err(http::HttpError::Timeout)
    }
}
