//! [`compile`] and [`try_load`]: the work of `__compile` child processes.

use std::{fs::File, io::Write as _, os::fd::OwnedFd, sync::Arc};

use runner_model::cache::{CodeForm, Trailer};
use runner_model::provider::PluginKind;
use rustix::fs::{MemfdFlags, memfd_create};
use wasmtime::{Engine, Module, ResourcesRequired, component::Component};

use super::config::{self, Allocation, MEMORIES, TABLE_ELEMENTS, TABLES};
use super::link::{link, reason};
use super::{bounds::Counts, cache, inspect::inspect_and_count};

/// Most parts of a plugin that uses no slots. Each instance has some 32 bytes for each of them.
const ON_DEMAND: [(&str, u64); 3] =
    [("functions", 50_000), ("globals", 20_000), ("imports", 10_000)];
const PAGE: u64 = 64 * 1024;

/// Compiles a plugin to an entry of the cache, with its trailer. Runs in `__compile` only.
///
/// # Errors
///
/// The reason. It completes the sentence "plugin `FILE` …".
pub fn compile(wasm: &[u8], form: CodeForm) -> Result<Vec<u8>, String> {
    let (inspection, counts) = inspect_and_count(wasm)?;
    // Before the machine code, which may take minutes.
    inspection.check_imports()?;
    // The pool's engine refuses components with tasks of their own.
    let is_sync = !inspection.uses_wasi_0_3();
    let pooled = is_sync.then(|| translate(Allocation::Pooled, wasm, form)).transpose();
    let known = pooled.as_ref().ok().and_then(Option::as_ref);
    let fitting = known.and_then(|(_, required)| fits(required.as_ref()?));
    let (mut entry, initial_memory) = match (pooled, fitting) {
        (Ok(Some((entry, _))), Some(initial_memory)) => (entry, initial_memory),
        (pooled, _) => {
            let is_within = within_on_demand(&counts);
            is_within.map_err(|why| pooled.err().map_or(why, |error| compile_error(&error)))?;
            let translated = translate(Allocation::OnDemand, wasm, form);
            // Only slots have a class of initial memory.
            (translated.map_err(|error| compile_error(&error))?.0, 0)
        }
    };
    let trailer = Trailer {
        kind: inspection.kind,
        pooled: fitting.is_some(),
        composed: counts.is_composed(),
        metered: form == CodeForm::Metered,
        initial_memory,
        crc: crc32fast::hash(&entry),
    };
    entry.extend(trailer.encode());
    Ok(entry)
}

/// Loads and links a compiled entry once, as a test. Runs in `__compile --load` only.
///
/// # Errors
///
/// The reason. It completes the sentence "plugin `FILE` …".
pub fn try_load(entry: &Arc<Vec<u8>>) -> Result<(), String> {
    let io = |error: std::io::Error| format!("cannot be loaded: {error}");
    // wasmtime loads components without a copy from files only.
    let file: OwnedFd =
        memfd_create("entry", MemfdFlags::CLOEXEC).map_err(|error| io(error.into()))?;
    let mut file = File::from(file);
    file.write_all(entry).map_err(io)?;
    let trailer = cache::check(&file).map_err(io)?.ok_or("was compiled to a damaged entry")?;
    let form = if trailer.metered { CodeForm::Metered } else { CodeForm::Optimized };
    let engine = config::compiler(Allocation::from_trailer(&trailer), 0, form)
        .map_err(|error| compile_error(&error))?;
    let code = cache::deserialize(&engine, &file).map_err(|error| compile_error(&error))?;
    link(&engine, &code, &trailer).map(drop).map_err(|error| error.message)
}

/// Compiles to code, and returns the resources of an instance if they are known.
fn translate(
    allocation: Allocation,
    wasm: &[u8],
    form: CodeForm,
) -> wasmtime::Result<(Vec<u8>, Option<ResourcesRequired>)> {
    let engine: Engine = config::compiler(allocation, wasm.len(), form)?;
    Ok(match PluginKind::of(wasm) {
        Some(PluginKind::Component) => {
            let component = Component::from_binary(&engine, wasm)?;
            (component.serialize()?, component.resources_required())
        }
        _ => {
            let module = Module::from_binary(&engine, wasm)?;
            (module.serialize()?, Some(module.resources_required()))
        }
    })
}

/// Returns the bytes of a plugin's initial memories, rounded up. `None` if it does not fit a slot.
fn fits(required: &ResourcesRequired) -> Option<u64> {
    let memories = required.num_memories;
    let tables = required.num_tables;
    let is_small = required.max_initial_table_size.unwrap_or(0) <= u64::from(TABLE_ELEMENTS);
    let largest = required.max_initial_memory_size.unwrap_or(0);
    let fits = memories <= MEMORIES && tables <= TABLES && is_small;
    fits.then(|| u64::from(memories).saturating_mul(largest.saturating_mul(PAGE)))
}

/// Refuses a plugin if an instance would take more of the host than a slot offers.
fn within_on_demand(counts: &Counts) -> Result<(), String> {
    for (part, most) in ON_DEMAND {
        let found = counts.total(part);
        if found > most {
            return Err(format!(
                "does not fit a sandbox slot, and has {found} {part}; without a slot at most {most} are allowed"
            ));
        }
    }
    Ok(())
}

fn compile_error(error: &wasmtime::Error) -> String {
    format!("cannot be compiled: {}", reason(error))
}
