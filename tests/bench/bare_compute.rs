//! The computing guest in bare sandboxes.

use std::{
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Config, Engine, Instance, Module, Store, UpdateDeadline};

use super::{bare, compute::Compute};

/// The guest of [`Compute`], compiled: what it shows is how much a second thread of this machine does of just this code.
pub(super) struct BareCompute {
    engine: Engine,
    module: Module,
}

impl BareCompute {
    pub(super) fn load(compute: &Compute) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        bare::tick(&engine);
        let module = Module::from_file(&engine, compute.guest())?;
        Ok(Self { engine, module })
    }

    /// How long so many calls take on each of so many threads.
    pub(super) fn time(&self, calls: u64, threads: u64) -> Duration {
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..calls {
                        self.call().expect("the guest computes");
                    }
                });
            }
        });
        started.elapsed()
    }

    fn call(&self) -> wasmtime::Result<()> {
        let mut store = Store::new(&self.engine, ());
        // As a guest that is never too late.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &self.module, &[])?;
        instance
            .get_typed_func::<(), ()>(&mut store, "_start")?
            .call(&mut store, ())
    }
}
