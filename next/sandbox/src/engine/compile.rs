//! [`compile`] and [`try_load`]: what the children of `__compile` do.

use std::{fs::File, io::Write as _, os::fd::OwnedFd, sync::Arc};

use runner_model::{cache::Trailer, provider::PluginKind};
use rustix::fs::{MemfdFlags, memfd_create};
use wasmtime::{Engine, Module, ResourcesRequired, component::Component};

use super::{
    LoadError, MAX_REASON, cache,
    config::{self, MEMORIES, TABLES},
    inspect::inspect,
    link,
};
use crate::message::cut;

/// Bytes of a page of memory.
const PAGE: u64 = 64 * 1024;

/// Compiles a plugin; returns the entry for the cache with its trailer. Called in `__compile` alone.
///
/// # Errors
///
/// Why it cannot be compiled, or does not fit the pool. The message completes the sentence "plugin `FILE` …".
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let inspection = inspect(wasm)?;
    let engine = config::compiler(wasm.len()).map_err(|error| failed(&error))?;
    let (mut entry, required) = translate(&engine, wasm).map_err(|error| failed(&error))?;
    let initial_memory = fits(required)?;
    let trailer = Trailer {
        kind: inspection.kind,
        pooled: true,
        initial_memory,
        crc: crc32fast::hash(&entry),
    };
    entry.extend(trailer.encode());
    Ok(entry)
}

/// Loads a compiled entry once and links it, to see that it can be. Called in `__compile --load` alone.
///
/// # Errors
///
/// Why not. The message completes the sentence "plugin `FILE` …".
pub fn try_load(entry: &Arc<Vec<u8>>) -> Result<(), String> {
    let io = |error: std::io::Error| format!("cannot be loaded: {error}");
    // wasmtime loads components from files alone without a copy.
    let file: OwnedFd =
        memfd_create("entry", MemfdFlags::CLOEXEC).map_err(|error| io(error.into()))?;
    let mut file = File::from(file);
    file.write_all(entry).map_err(io)?;
    let trailer = cache::check(&file).map_err(io)?;
    let trailer = trailer.ok_or("was compiled to a damaged entry")?;
    let engine = config::compiler(0).map_err(|error| failed(&error))?;
    let code = cache::deserialize(&engine, &file).map_err(|error| failed(&error))?;
    match link(&engine, &code, trailer.kind) {
        Ok(_) => Ok(()),
        Err(LoadError::Refused { message, .. }) => Err(message),
        Err(LoadError::Missing) => Err("cannot be loaded".to_owned()),
    }
}

/// Compiles to code, and tells what an instance takes, as far as that is known.
fn translate(
    engine: &Engine,
    wasm: &[u8],
) -> wasmtime::Result<(Vec<u8>, Option<ResourcesRequired>)> {
    Ok(match PluginKind::of(wasm) {
        Some(PluginKind::Component) => {
            let component = Component::from_binary(engine, wasm)?;
            (component.serialize()?, component.resources_required())
        }
        _ => {
            let module = Module::from_binary(engine, wasm)?;
            (module.serialize()?, Some(module.resources_required()))
        }
    })
}

/// Refuses a plugin that does not fit the slots of sandboxes; returns the bytes of its initial memories, rather more than
/// less.
fn fits(required: Option<ResourcesRequired>) -> Result<u64, String> {
    let Some(required) = required else {
        return Err(unfit("modules that come from elsewhere"));
    };
    let (memories, tables) = (required.num_memories, required.num_tables);
    if memories > MEMORIES {
        return Err(unfit(&format!("{memories} memories (at most {MEMORIES})")));
    }
    if tables > TABLES {
        return Err(unfit(&format!("{tables} tables (at most {TABLES})")));
    }
    let largest = required.max_initial_memory_size.unwrap_or(0);
    Ok(u64::from(memories).saturating_mul(largest.saturating_mul(PAGE)))
}

fn unfit(what: &str) -> String {
    format!("has {what}, which is not supported yet")
}

fn failed(error: &wasmtime::Error) -> String {
    let reason = cut(MAX_REASON, format_args!("{error:#}"));
    format!("cannot be compiled: {reason}")
}
