//! [`Engine`]: wasmtime, set up once per process.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
    thread,
    time::Duration,
};

use thiserror::Error;
use wasmtime::component::{self, HasSelf};
use wasmtime_wasi::{p1, p2};

use super::{
    child::Helper,
    clock::Pulse,
    code::{
        cache::Cache,
        compile::Compiler,
        config::{Allocation, EngineConfig, Metering},
        pool::{SandboxPool, Slots},
    },
    contract, fs,
    interrupt::Interrupt,
    linked::LinkedAhead,
    net,
    sandbox::{clocks, host::AttemptHost, io_error, store::Sandbox},
};
use crate::model::Digest;

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
    /// For which sandboxes to reserve slots; `None` makes all of them on demand.
    pub pool: Option<SandboxPool>,
}

/// Compiles, links and runs plugins; one per process.
pub struct Engine {
    pub(super) rooms: Arc<Rooms>,
    pub(super) compiler: Compiler,
    cache: PathBuf,
    metering: Metering,
    /// Why there is no room for a pool that was asked for.
    no_pool: Option<String>,
    /// What was linked before anybody asks for it, by the digests of plugins.
    pub(super) ahead: Mutex<HashMap<Digest, LinkedAhead>>,
}

/// The engines of wasmtime that one process has.
#[derive(Default)]
pub(super) struct Rooms {
    /// Whose sandboxes are pooled, and for which plugins.
    pub(super) pooled: Option<(Room, SandboxPool)>,
    /// Made for the first plugin that does not fit the other.
    on_demand: OnceLock<Room>,
}

/// One engine of wasmtime, with what its guests can import.
pub(super) struct Room {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) components: component::Linker<Sandbox>,
    pub(super) modules: wasmtime::Linker<Sandbox>,
    pub(super) cache: Cache,
    pub(super) config: EngineConfig,
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

    /// Lets an interrupt end guests that compute at once, instead of at the next tick.
    pub fn heed(&self, interrupt: &Interrupt) {
        let rooms = Arc::downgrade(&self.rooms);
        interrupt.tick_by(move || {
            if let Some(rooms) = rooms.upgrade() {
                rooms.increment_epoch();
            }
        });
    }

    /// Tells the session's log if there is no room for a pool of sandboxes. An engine may be set up before there is a log.
    pub fn tell(&self) {
        if let Some(why) = &self.no_pool {
            tracing::info!(
                "sandboxes are made on demand, there is no room for a pool of them: {why}"
            );
        }
    }

    /// The program that does for this engine what needs a process of its own.
    pub fn helper(&self) -> &Helper {
        &self.compiler.helper
    }

    /// Where sandboxes are made for the plugins that do not fit the pool.
    pub(super) fn on_demand(&self) -> Result<&Room, EngineError> {
        let on_demand = &self.rooms.on_demand;
        if on_demand.get().is_none() {
            let config = EngineConfig::new(self.metering, Allocation::OnDemand);
            let room = Room::new(config, None, &self.cache);
            // Whoever came first has made the same.
            drop(on_demand.set(room.map_err(wasmtime_failed)?));
        }
        Ok(on_demand.get().expect("it was set above"))
    }

    fn set_up(options: EngineOptions, metering: Metering) -> Result<Self, EngineError> {
        let mut no_pool = None;
        let pooled = options.pool.and_then(|pool| {
            let slots = pool.slots()?;
            let config = EngineConfig::new(metering, Allocation::Pooled);
            match Room::new(config, Some(&slots), &options.cache) {
                Ok(room) => Some((room, pool)),
                Err(error) => {
                    no_pool = Some(format!("{error:#}"));
                    None
                }
            }
        });
        let engine = Self {
            rooms: Arc::new(Rooms {
                pooled,
                on_demand: OnceLock::new(),
            }),
            compiler: Compiler {
                helper: Helper {
                    program: options.compiler,
                },
                timeout: options.compile_timeout,
            },
            cache: options.cache,
            metering,
            no_pool,
            ahead: Mutex::default(),
        };
        if engine.rooms.pooled.is_none() {
            // So that a machine that cannot run any plugin says so now.
            engine.on_demand()?;
        }
        start_ticker(Arc::downgrade(&engine.rooms)).map_err(EngineError::Ticker)?;
        Ok(engine)
    }
}

impl Room {
    fn new(config: EngineConfig, slots: Option<&Slots>, cache: &Path) -> wasmtime::Result<Self> {
        let wasmtime = config.engine(slots)?;
        Ok(Self {
            components: link_components(&wasmtime)?,
            modules: link_modules(&wasmtime)?,
            cache: Cache::new(cache.to_owned(), &wasmtime),
            config,
            wasmtime,
        })
    }
}

impl Rooms {
    fn increment_epoch(&self) {
        let pooled = self.pooled.as_ref().map(|(room, _)| room);
        for room in pooled.into_iter().chain(self.on_demand.get()) {
            room.wasmtime.increment_epoch();
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn wasmtime_failed(error: wasmtime::Error) -> EngineError {
    EngineError::Wasmtime(format!("{error:#}"))
}

/// An OS thread, because a guest may keep every thread of the async runtime busy; ends with the engine. It is the clock's
/// pulse as well.
fn start_ticker(rooms: Weak<Rooms>) -> io::Result<()> {
    let tick = move || {
        let pulse = Pulse::begin();
        while let Some(rooms) = rooms.upgrade() {
            pulse.beat();
            rooms.increment_epoch();
            drop(rooms);
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
    clocks::shadow(&mut linker)?;
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
    clocks::shadow_preview1(&mut linker)?;
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
