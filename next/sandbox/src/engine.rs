//! [`Engines`]: wasmtime's engines of a worker, and how plugins are linked to what the host offers.

pub(crate) mod bounds;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod config;
pub(crate) mod inspect;

use std::{
    hash::{Hash as _, Hasher},
    io,
    path::Path,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use runner_model::{
    Digest,
    cache::{Trailer, entry_name},
    provider::PluginKind,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmtime::{
    Engine, StoreContextMut,
    component::{self, HasSelf, Resource},
};
use wasmtime_wasi::{
    WasiView as _, p1,
    p2::{self, bindings::CommandPre},
};

use self::{
    cache::Code,
    compile::allocation,
    config::Allocation,
    inspect::{PREVIEW_1, is_served, listed},
};
use crate::{
    call::{command::Program, component::LinkedComponent, instance::Lifecycle},
    contract::{self, PluginPre},
    fs,
    interrupt::{Interrupt, InterruptState},
    message::cut,
    net,
    plugin::{Linked, Plugin},
    store::{Sandbox, host::Host, limiter::Share},
};

/// How long a guest that only computes may go on after its time is over.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of a reason in wasmtime's words: names in it are the guest's.
const MAX_REASON: usize = 4 * 1024;
/// The interface of errors, in the version that wasmtime's own functions have.
const IO_ERROR: &str = "wasi:io/error@0.2.12";
/// Bytes of an error that a guest is told.
const MAX_IO_ERROR: usize = 1024;
/// Counted up when plugins are compiled in another way without a change that wasmtime sees.
const FORMAT: &[u8] = b"runner 1";

/// The engines of a worker: pool for small memories, pool for others, and one without a pool, each made when the first
/// plugin needs it; and the thread that ticks their epochs.
#[derive(Debug)]
pub struct Engines {
    slots: u32,
    interrupt: Interrupt,
}

/// Why a compiled plugin cannot be used: a missing import, or more than a slot of the pool has.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct LoadError {
    /// A stable word.
    pub code: &'static str,
    /// Why, for people: completes the sentence "plugin `FILE` …".
    pub message: String,
}

impl Engines {
    /// For so many sandboxes at once, whose guests may have so many bytes of memory together.
    pub fn new(slots: u32, memory: u64) -> Self {
        Self { slots, interrupt: Interrupt::new(Share::new(memory)) }
    }

    /// Names what compiled plugins must be made for: 16 hexadecimal digits over the compatibility hash of wasmtime's
    /// engines and our format.
    pub fn compile_key() -> String {
        static KEY: OnceLock<String> = OnceLock::new();
        let key = KEY.get_or_init(|| {
            let mut hasher = ShaHasher(Sha256::new());
            hasher.write(FORMAT);
            for allocation in [Allocation::Pooled, Allocation::OnDemand] {
                // A machine without an engine loads nothing, and says so there.
                if let Ok(engine) = config::compiler(allocation, 0) {
                    engine.precompile_compatibility_hash().hash(&mut hasher);
                }
            }
            let digest = Digest(hasher.0.finalize().into()).to_string();
            digest[..16].to_owned()
        });
        key.clone()
    }

    /// Loads an entry of the cache and links it; `None` if there is none that is whole: compile it (again).
    ///
    /// # Errors
    ///
    /// The plugin cannot be used.
    pub fn load(&self, cache: &Path, plugin: &Digest) -> Result<Option<Plugin>, LoadError> {
        let name = entry_name(plugin, &Self::compile_key());
        let entry = cache::open_entry(cache, &name).map_err(|error| LoadError {
            code: "cache",
            message: format!("cannot be loaded from the cache of compiled plugins: {error}"),
        })?;
        let Some((file, trailer)) = entry else {
            return Ok(None);
        };
        let engine = self.engine(&trailer)?;
        let code = cache::deserialize(engine, &file).map_err(|error| LoadError {
            code: "pool",
            message: format!(
                "does not fit the slots of sandboxes: {}",
                cut(MAX_REASON, format_args!("{error:#}"))
            ),
        })?;
        Ok(Some(Plugin {
            linked: link(engine, &code, trailer.kind)?,
            interrupt: self.interrupt.clone(),
        }))
    }

    /// Interrupts all calls.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    fn engine(&self, trailer: &Trailer) -> Result<&Engine, LoadError> {
        let engines = &self.interrupt.0.engines;
        if engines.iter().all(|engine| engine.get().is_none()) {
            start_ticker(&self.interrupt.0).map_err(|error| LoadError {
                code: "host-threads",
                message: format!("cannot be run, because no thread can be started: {error}"),
            })?;
        }
        let is_small = trailer.initial_memory <= config::SMALL;
        let [small, large, on_demand] = engines;
        let place = match allocation(trailer) {
            Allocation::Pooled if is_small => small,
            Allocation::Pooled => large,
            Allocation::OnDemand => on_demand,
        };
        if let Some(engine) = place.get() {
            return Ok(engine);
        }
        let engine = match allocation(trailer) {
            // A process that may not have the addresses of all slots makes each sandbox on demand: its limit bounds what
            // instances take, too.
            Allocation::Pooled => config::pooled(self.slots, is_small)
                .or_else(|_| config::compiler(Allocation::Pooled, 0)),
            Allocation::OnDemand => config::on_demand(),
        };
        let engine = engine.map_err(|error| LoadError {
            code: "host-memory",
            message: format!("cannot be run, because wasmtime cannot be set up: {error:#}"),
        })?;
        Ok(place.get_or_init(|| engine))
    }
}

/// Starts the thread that ticks as long as there are engines. It is an OS thread, because guests may keep those of the
/// runtime busy.
fn start_ticker(shared: &Arc<InterruptState>) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    let tick = move || {
        while let Some(shared) = shared.upgrade() {
            drop(shared.clock());
            shared.increment_epoch();
            drop(shared);
            thread::sleep(TICK);
        }
    };
    let thread = thread::Builder::new().name("epoch-ticker".to_owned());
    thread.spawn(tick).map(drop)
}

/// Links loaded code to what the host offers.
pub(crate) fn link(engine: &Engine, code: &Code, kind: PluginKind) -> Result<Linked, LoadError> {
    let missing = match code {
        Code::Component(component) => missing_in_component(engine, component),
        Code::Module(module) => missing_in_module(module),
    };
    if !missing.is_empty() {
        return Err(LoadError {
            code: "imports",
            message: format!("needs what this runner does not offer: {missing}"),
        });
    }
    linked(engine, code, kind).map_err(|error| LoadError {
        code: "contract",
        message: format!(
            "does not fit this runner: {}",
            cut(MAX_REASON, format_args!("{error:#}"))
        ),
    })
}

fn linked(engine: &Engine, code: &Code, kind: PluginKind) -> wasmtime::Result<Linked> {
    let component = match code {
        Code::Module(module) => {
            let pre = module_linker(engine)?.instantiate_pre(module)?;
            return Ok(Linked::Command(Program::Module(pre)));
        }
        Code::Component(component) => component,
    };
    let pre = component_linker(engine)?.instantiate_pre(component)?;
    Ok(match kind {
        PluginKind::Command => Linked::Command(Program::Component(CommandPre::new(pre)?)),
        PluginKind::Component => Linked::Component(Box::new(LinkedComponent {
            lifecycle: Lifecycle::find(component)?,
            pre: PluginPre::new(pre)?,
        })),
    })
}

/// The contract's imports, requests of `wasi:http` and the whole of WASI 0.2: guests of other languages import all of it,
/// whatever they use.
pub(crate) fn component_linker(engine: &Engine) -> wasmtime::Result<component::Linker<Sandbox>> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    net::wasi::shadow(&mut linker)?;
    fs::preview2::add_to_linker(&mut linker)?;
    shadow_errors(&mut linker)?;
    contract::Plugin::add_to_linker::<_, HasSelf<Host>>(&mut linker, |sandbox: &mut Sandbox| {
        &mut sandbox.host
    })?;
    Ok(linker)
}

/// Preview 1 for modules, directly: its adapter breaks modules of older C toolchains.
fn module_linker(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<Sandbox>> {
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |sandbox: &mut Sandbox| &mut sandbox.wasi)?;
    fs::preview1::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Lets an error of `wasi:io` tell its message and nothing else: wasmtime's own function tells how the host came to it.
fn shadow_errors(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(IO_ERROR)?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, Sandbox>, (error,): (Resource<wasmtime::Error>,)| {
            let error = store.data_mut().ctx().table.get(&error)?;
            Ok((cut(MAX_IO_ERROR, format_args!("{error:#}")),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// wasmtime names only the first that is missing. What is missing inside of a served interface is left to it.
fn missing_in_component(engine: &Engine, component: &component::Component) -> String {
    let component_type = component.component_type();
    let names = component_type.imports(engine).map(|(name, _)| name);
    listed(names.filter(|name| !is_served(name)), "")
}

fn missing_in_module(module: &wasmtime::Module) -> String {
    let imports = module.imports();
    let missing = imports.filter(|import| import.module() != PREVIEW_1);
    let names: Vec<String> =
        missing.map(|import| format!("{}::{}", import.module(), import.name())).collect();
    listed(names.iter().map(String::as_str), "")
}

/// Feeds what is hashed to SHA-256.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
