//! [`Engines`]: the wasmtime engines of a worker.

use std::hash::{Hash as _, Hasher};
use std::sync::{Arc, OnceLock};
use std::{io, path::Path, thread, time::Duration};

use runner_model::Digest;
use runner_model::cache::{CodeForm, Trailer, source_name};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::cache;
use super::config::{self, Allocation, Stack};
use super::link::{LoadError, link, reason};
use crate::interrupt::{Interrupt, InterruptState};
use crate::{plugin::Linked, plugin::Plugin, store::limiter::MemoryBudget};

/// Interval of epochs: a guest that computes may exceed its deadline by as much.
const TICK: Duration = Duration::from_millis(10);
/// Increase it after a change of compiled code that wasmtime's hash does not contain.
const FORMAT: &[u8] = b"runner 1";

/// The engines of a worker, for each size of stacks, without and with fuel: with a pool for small memories, with a pool for
/// larger ones, and without a pool. The first plugin that needs one creates it, and the first of all
/// starts the ticker thread.
#[derive(Debug)]
pub struct Engines {
    slots: u32,
    interrupt: Interrupt,
}

impl Engines {
    /// Creates engines for `slots` sandboxes at once, whose guests have at most `memory` bytes
    /// together.
    pub fn new(slots: u32, memory: u64) -> Self {
        Self { slots, interrupt: Interrupt::new(MemoryBudget::new(memory)) }
    }

    /// Identifies compatible compiled code: 16 hexadecimal digits of a hash over our format and the
    /// compatibility hashes of wasmtime's engines.
    pub fn compile_key() -> String {
        static KEY: OnceLock<String> = OnceLock::new();
        let key = KEY.get_or_init(|| {
            let mut hasher = ShaHasher(Sha256::new());
            hasher.write(FORMAT);
            for allocation in [Allocation::Pooled, Allocation::OnDemand] {
                // On a machine without engines, `load` reports the error.
                if let Ok(engine) = config::compiler(allocation, 0, CodeForm::Optimized) {
                    engine.precompile_compatibility_hash().hash(&mut hasher);
                }
            }
            Digest(hasher.0.finalize().into()).to_string()[..16].to_owned()
        });
        key.clone()
    }

    /// Loads and links an entry of the cache for guests with `stack` bytes of stack, also an optimized one if the form is
    /// `Quick`. `None` if there is no intact entry, and the plugin must be compiled.
    ///
    /// # Errors
    ///
    /// The plugin cannot run here.
    pub fn load(
        &self,
        cache: &Path,
        plugin: &Digest,
        form: CodeForm,
        stack: u64,
    ) -> Result<Option<Plugin>, LoadError> {
        let key = Self::compile_key();
        let failed = |error| {
            let message = format!("cannot be loaded from the cache of compiled plugins: {error}");
            LoadError::new("cache", message)
        };
        let source = cache::read_source(cache, &source_name(plugin)).map_err(failed)?;
        let plugin = source.as_ref().map_or(plugin, |(loader, _)| loader);
        let mut entry = Ok(None);
        if form == CodeForm::Quick {
            entry = cache::open_entry(cache, &CodeForm::Optimized.entry_name(plugin, &key));
        }
        if matches!(entry, Ok(None)) {
            entry = cache::open_entry(cache, &form.entry_name(plugin, &key));
        }
        let Some((file, trailer)) = entry.map_err(failed)? else {
            return Ok(None);
        };
        // Plugins with and without optimization share an engine, and so its larger stacks.
        let engine = self.engine(&trailer, form, Stack::of(stack))?;
        let code = cache::deserialize(engine, &file).map_err(|error| {
            let message = format!("does not fit a sandbox slot: {}", reason(&error));
            LoadError::new("pool", message)
        })?;
        let mut linked = link(engine, &code, &trailer)?;
        if let (Linked::Component(component), Some((_, source))) = (&mut linked, source) {
            component.source = Some(source.into());
        }
        let is_metered = trailer.metered;
        Ok(Some(Plugin { linked, interrupt: self.interrupt.clone(), is_metered }))
    }

    /// Returns the interrupt of all calls.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    fn engine(
        &self,
        trailer: &Trailer,
        form: CodeForm,
        stack: Stack,
    ) -> Result<&Engine, LoadError> {
        let engines = &self.interrupt.0.engines;
        if engines.iter().flatten().flatten().all(|engine| engine.get().is_none()) {
            start_ticker(&self.interrupt.0).map_err(|error| {
                let message = format!("cannot run, because no thread can be started: {error}");
                LoadError::new("host-threads", message)
            })?;
        }
        let is_small = trailer.initial_memory <= config::SMALL;
        let [small, large, on_demand] = &engines[usize::from(trailer.metered)][stack.0];
        let place = match Allocation::from_trailer(trailer) {
            Allocation::Pooled if is_small => small,
            Allocation::Pooled => large,
            Allocation::OnDemand => on_demand,
        };
        if let Some(engine) = place.get() {
            return Ok(engine);
        }
        let allocation = Allocation::from_trailer(trailer);
        let engine = match allocation {
            // If the process may not reserve the addresses of all slots (`ulimit -v`), each sandbox
            // is allocated on demand. The same limit then bounds its instances.
            Allocation::Pooled => config::pooled(self.slots, is_small, form, stack)
                .or_else(|_| config::unpooled(allocation, form, stack)),
            Allocation::OnDemand => config::unpooled(allocation, form, stack),
        };
        let engine = engine.map_err(|error| {
            let message = format!("cannot run, because wasmtime cannot start: {error:#}");
            LoadError::new("host-memory", message)
        })?;
        Ok(place.get_or_init(|| engine))
    }
}

/// Starts the thread that increments epochs while there are engines. It is an OS thread, because
/// guests may keep the threads of the runtime busy.
fn start_ticker(shared: &Arc<InterruptState>) -> io::Result<()> {
    // Weak, so that the thread ends with the engines.
    let shared = Arc::downgrade(shared);
    let tick = move || {
        while let Some(shared) = shared.upgrade() {
            drop(shared.clock());
            shared.increment_epoch();
            drop(shared);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("epoch-ticker".to_owned()).spawn(tick).map(drop)
}

/// Feeds a [`Hash`](std::hash::Hash) value to SHA-256.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
