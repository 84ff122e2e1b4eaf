//! The sleeps of guests, in the time of calls: they stand still in pauses and suspensions, as the monotonic clock of guests does.

use std::future;

use runner_model::{Micros, RunTime};
use wasmtime::component::{self, Resource};
use wasmtime::{AsContextMut as _, Caller, Extern, Linker, StoreContextMut};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as preview1, WasiSnapshotPreview1 as _};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiView as _, async_trait};
use wiggle::{GuestMemory, GuestPtr};

use super::{Sandbox, virtual_clock::VirtualClock};
use crate::interrupt::Interrupt;

/// The interface of the clock, in the version of wasmtime's own functions.
const INTERFACE: &str = "wasi:clocks/monotonic-clock@0.2.12";

const INTERFACE_0_3: &str = "wasi:clocks/monotonic-clock@0.3.0";

/// A sleep of a component.
struct Sleep {
    interrupt: Interrupt,
    end: RunTime,
    has_yielded: bool,
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if !self.has_yielded {
            // A guest that polls in a loop without waiting must not keep others from being polled.
            self.has_yielded = true;
            tokio::task::yield_now().await;
        }
        self.interrupt.until(self.end).await;
    }
}

/// A sleep of a deterministic component, which ends when the clock is advanced.
struct VirtualSleep {
    clock: VirtualClock,
    end: u64,
}

#[async_trait]
impl Pollable for VirtualSleep {
    async fn ready(&mut self) {
        if self.clock.now() < self.end {
            self.clock.ask(self.end);
            future::pending::<()>().await;
        }
    }
}

/// Replaces wasmtime's sleeps of components.
pub(crate) fn add_to_component(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(INTERFACE)?;
    clock.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, Sandbox>, (time,): (u64,)| {
            let sandbox = store.data_mut();
            if let Some(clock) = sandbox.virtual_clock() {
                let end = clock.now().saturating_add(time);
                return sandbox.pollable(VirtualSleep { clock, end });
            }
            let now = sandbox.host.guard.interrupt.run_time();
            sandbox.sleep(now + micros(time))
        },
    )?;
    clock.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, Sandbox>, (at,): (u64,)| {
            let sandbox = store.data_mut();
            match sandbox.virtual_clock() {
                Some(clock) => sandbox.pollable(VirtualSleep { clock, end: at }),
                None => sandbox.sleep(RunTime(micros(at).0)),
            }
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Replaces wasmtime's sleeps of WASI 0.3.
pub(crate) fn add_wasi_0_3(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(INTERFACE_0_3)?;
    clock.func_wrap_concurrent("wait-for", |store, (time,): (u64,)| {
        Box::pin(async move {
            let interrupt = store.with(|mut store| store.data_mut().host.guard.interrupt.clone());
            interrupt.until(interrupt.run_time() + micros(time)).await;
            Ok(())
        })
    })?;
    clock.func_wrap_concurrent("wait-until", |store, (at,): (u64,)| {
        Box::pin(async move {
            let interrupt = store.with(|mut store| store.data_mut().host.guard.interrupt.clone());
            interrupt.until(RunTime(micros(at).0)).await;
            Ok(())
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Sandbox {
    fn sleep(&mut self, end: RunTime) -> wasmtime::Result<(Resource<DynPollable>,)> {
        let interrupt = self.host.guard.interrupt.clone();
        self.pollable(Sleep { interrupt, end, has_yielded: false })
    }

    fn pollable(&mut self, source: impl Pollable) -> wasmtime::Result<(Resource<DynPollable>,)> {
        let table = self.wasi.ctx().table;
        let source = table.push(source)?;
        Ok((subscribe(table, source)?,))
    }
}

/// Replaces `poll_oneoff` of modules. wasmtime's function sleeps in real time, so a sleep that ends too early continues here.
pub(crate) fn add_to_module(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |mut caller: Caller<'_, Sandbox>,
         (subscriptions, events, count, out): (i32, i32, i32, i32)| {
            Box::new(async move {
                let fuel = caller.as_context_mut().hostcall_fuel();
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    wasmtime::bail!("missing required memory export");
                };
                let (memory, sandbox) = memory.data_and_store_mut(&mut caller);
                let mut memory = GuestMemory::Unshared(memory);
                sandbox.wasi.set_hostcall_fuel(fuel);
                if let Some(clock) = sandbox.virtual_clock() {
                    let [subscriptions, events, count, out] =
                        [subscriptions, events, count, out].map(i32::cast_unsigned);
                    let memory = &mut memory;
                    return sandbox
                        .poll_one(&clock, memory, subscriptions, events, count, out)
                        .await;
                }
                let interrupt = sandbox.host.guard.interrupt.clone();
                let end = first_end(&memory, subscriptions, count, interrupt.run_time());
                let wasi = &mut sandbox.wasi;
                let errno =
                    preview1::poll_oneoff(wasi, &mut memory, subscriptions, events, count, out)
                        .await?;
                if let Some(end) = end {
                    interrupt.until(end).await;
                }
                Ok(errno)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Returns the end of the first sleep among subscriptions. `None` if one of them waits for something else: files and standard
/// input are always ready.
fn first_end(memory: &GuestMemory<'_>, start: i32, count: i32, now: RunTime) -> Option<RunTime> {
    let ends = (0..count.cast_unsigned()).map(|index| {
        let at = start.cast_unsigned().checked_add(index.checked_mul(48)?)?;
        let number = |offset| memory.read(GuestPtr::<u32>::new(at.checked_add(offset)?)).ok();
        let time = memory.read(GuestPtr::<u64>::new(at.checked_add(24)?)).ok()?;
        let (kind, clock, flags) = (number(8)? & 0xff, number(16)?, number(40)? & 1);
        match (kind, clock, flags) {
            (0, _, 0) => Some(now + micros(time)),
            // An absolute time of the monotonic clock.
            (0, 1, 1) => Some(RunTime(micros(time).0)),
            _ => None,
        }
    });
    // A real time (clock 0, absolute) does not stand still.
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// Converts nanoseconds, rounded up.
fn micros(nanoseconds: u64) -> Micros {
    Micros(nanoseconds.div_ceil(1000))
}
