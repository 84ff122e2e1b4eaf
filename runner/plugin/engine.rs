//! [`Engine`]: wasmtime, set up once per process.

use std::{io, path::PathBuf, thread, time::Duration};

use thiserror::Error;
use wasmtime::{
    EngineWeak,
    component::{self, HasSelf},
};
use wasmtime_wasi::{p1, p2};

use super::{
    child::Helper,
    clock::Pulse,
    code::{
        cache::Cache,
        compile::Compiler,
        config::{Metering, new_wasmtime},
    },
    contract, fs, net,
    sandbox::{host::AttemptHost, io_error, store::Sandbox},
};

/// What plugins run in, with its version, which it does not tell itself.
pub const ENGINE: &str = "wasmtime 48.0.8";

/// How long a guest that only computes may go on after its time is over.
const TICK: Duration = Duration::from_millis(10);

/// What an engine needs from its process.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The runner's own program; called as `runner __compile`.
    pub compiler: PathBuf,
    /// Where compiled plugins are kept.
    pub cache: PathBuf,
    /// How long compiling one plugin may take.
    pub compile_timeout: Duration,
}

/// Compiles, links and runs plugins; one per process.
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) components: component::Linker<Sandbox>,
    pub(super) modules: wasmtime::Linker<Sandbox>,
    pub(super) cache: Cache,
    pub(super) compiler: Compiler,
}

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// This machine cannot run compiled WASM.
    #[error("cannot set up wasmtime: {0}")]
    Wasmtime(String),
    /// The thread that interrupts guests could not be started.
    #[error("cannot start the thread that interrupts guests")]
    Ticker(#[source] io::Error),
}

impl Engine {
    /// Sets wasmtime up, and starts the thread that interrupts guests.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        Self::set_up(options, Metering::Off)
    }

    /// The same, and counts the fuel that guests burn, which makes them slower; they never run out of it.
    pub fn with_fuel(options: EngineOptions) -> Result<Self, EngineError> {
        Self::set_up(options, Metering::Fuel)
    }

    /// The program that does for this engine what needs a process of its own.
    pub fn helper(&self) -> &Helper {
        &self.compiler.helper
    }

    fn set_up(options: EngineOptions, metering: Metering) -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError::Wasmtime(format!("{error:#}"));
        let wasmtime = new_wasmtime(metering).map_err(failed)?;
        start_ticker(wasmtime.weak()).map_err(EngineError::Ticker)?;
        Ok(Self {
            components: link_components(&wasmtime).map_err(failed)?,
            modules: link_modules(&wasmtime).map_err(failed)?,
            cache: Cache::new(options.cache, &wasmtime),
            compiler: Compiler {
                helper: Helper {
                    program: options.compiler,
                },
                timeout: options.compile_timeout,
                metering,
            },
            wasmtime,
        })
    }
}

/// An OS thread, because a guest may keep every thread of the async runtime busy; ends with the engine. It is the clock's
/// pulse as well.
fn start_ticker(engine: EngineWeak) -> io::Result<()> {
    let tick = move || {
        let pulse = Pulse::begin();
        while let Some(engine) = engine.upgrade() {
            pulse.beat();
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new()
        .name("epoch-ticker".to_owned())
        .spawn(tick)?;
    Ok(())
}

/// The contract's imports, requests of `wasi:http` and the whole of WASI 0.2: guests of other languages import all of it, whatever they use.
fn link_components(engine: &wasmtime::Engine) -> wasmtime::Result<component::Linker<Sandbox>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    net::unsent::shadow(&mut linker)?;
    io_error::shadow(&mut linker)?;
    fs::counted::shadow(&mut linker)?;
    contract::Plugin::add_to_linker::<_, HasSelf<AttemptHost>>(
        &mut linker,
        |sandbox: &mut Sandbox| &mut sandbox.host,
    )?;
    Ok(linker)
}

/// Preview 1 for modules, directly: its adapter breaks modules of older C toolchains.
fn link_modules(engine: &wasmtime::Engine) -> wasmtime::Result<wasmtime::Linker<Sandbox>> {
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |sandbox: &mut Sandbox| &mut sandbox.wasi)?;
    fs::preview1::shadow(&mut linker)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_wasmtime_is_the_one_that_is_built_in() {
        let lock = include_str!("../../Cargo.lock");
        let version = super::ENGINE.trim_start_matches("wasmtime ");
        let wanted = format!("name = \"wasmtime\"\nversion = \"{version}\"");
        assert!(lock.contains(&wanted), "`ENGINE` is of another version");
    }
}
