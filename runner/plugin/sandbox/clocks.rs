//! The clocks that guests wait for: wasmtime's own functions, which also tell that a guest will.

use wasmtime::{
    AsContextMut as _, Caller, Extern, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    clocks::WasiClocksView as _,
    p1::wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1 as _},
    p2::{DynPollable, bindings::clocks::monotonic_clock::Host as _},
};
use wiggle::GuestMemory;

use super::store::Sandbox;
use crate::plugin::activity::HostCall;

/// The interface, in the version that wasmtime's own functions have.
const CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

type Pollable = (Resource<DynPollable>,);

/// Puts functions that tell of it in the place of wasmtime's.
pub(in crate::plugin) fn shadow(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(CLOCK)?;
    clock.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, Sandbox>, (duration,): (u64,)| {
            let sandbox = store.data_mut();
            sandbox.host.guard().activity.call(HostCall::Sleep);
            let pollable: Pollable = (sandbox.clocks().subscribe_duration(duration)?,);
            Ok(pollable)
        },
    )?;
    clock.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, Sandbox>, (when,): (u64,)| {
            let sandbox = store.data_mut();
            sandbox.host.guard().activity.call(HostCall::Sleep);
            let pollable: Pollable = (sandbox.clocks().subscribe_instant(when)?,);
            Ok(pollable)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The same for preview 1.
pub(in crate::plugin) fn shadow_preview1(
    linker: &mut wasmtime::Linker<Sandbox>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |mut caller: Caller<'_, Sandbox>, (what, events, count, out): (i32, i32, i32, i32)| {
            Box::new(async move {
                let fuel = caller.as_context_mut().hostcall_fuel();
                // The host knows no shared memories.
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    wasmtime::bail!("missing required memory export");
                };
                let (memory, sandbox) = memory.data_and_store_mut(&mut caller);
                sandbox.host.guard().activity.call(HostCall::Sleep);
                sandbox.wasi.set_hostcall_fuel(fuel);
                let mut memory = GuestMemory::Unshared(memory);
                let wasi = &mut sandbox.wasi;
                original::poll_oneoff(wasi, &mut memory, what, events, count, out).await
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
