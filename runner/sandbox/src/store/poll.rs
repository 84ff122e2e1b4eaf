//! Waiting of deterministic calls: which of several events comes first is a function of their
//! order and of the virtual clock, never of the machine's speed.

use std::future::pending;

use runner_model::Micros;
use tokio::task::unconstrained;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p1::types::{Errno, Event, EventFdReadwrite, Eventrwflags, Eventtype};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as preview1;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wiggle::{GuestMemory, GuestPtr};

use super::Sandbox;
use super::determinism::Determinism;
use super::virtual_clock::VirtualClock;
use crate::interrupt::{Guard, Halt};
use crate::net::Next;

/// The interface, in the version of wasmtime's own functions.
const INTERFACE: &str = "wasi:io/poll@0.2.12";
/// Bytes of a subscription of preview 1.
const SUBSCRIPTION: u32 = 48;

/// Replaces wasmtime's functions by ones that report one source at a time to a deterministic call.
pub(crate) fn add_to_component(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut poll = linker.instance(INTERFACE)?;
    poll.func_wrap_async(
        "poll",
        |mut store: StoreContextMut<'_, Sandbox>, (list,): (Vec<Resource<DynPollable>>,)| {
            Box::new(async move {
                let sandbox = store.data_mut();
                let ready = match sandbox.host.guard.determinism.clone() {
                    // wasmtime has an error for an empty list.
                    Some(one) if !list.is_empty() => {
                        vec![sandbox.first_ready(&one, &list).await?]
                    }
                    _ => sandbox.wasi.ctx().table.poll(list).await?,
                };
                Ok((ready,))
            })
        },
    )?;
    poll.func_wrap_async(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, Sandbox>, (one,): (Resource<DynPollable>,)| {
            Box::new(async move {
                let sandbox = store.data_mut();
                match sandbox.host.guard.determinism.clone() {
                    Some(determinism) => sandbox.first_ready(&determinism, &[one]).await.map(drop),
                    None => sandbox.wasi.ctx().table.block(one).await,
                }
            })
        },
    )?;
    poll.func_wrap_async(
        "[method]pollable.ready",
        |mut store: StoreContextMut<'_, Sandbox>, (one,): (Resource<DynPollable>,)| {
            Box::new(async move {
                let sandbox = store.data_mut();
                if let Some(Determinism { clock, exchanges, .. }) =
                    sandbox.host.guard.determinism.clone()
                {
                    clock.read();
                    exchanges.settle().await;
                    let ready = sandbox.wasi.ctx().table.ready(one);
                    return Ok((unconstrained(ready).await?,));
                }
                Ok((sandbox.wasi.ctx().table.ready(one).await?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Sandbox {
    /// Returns the clock of a deterministic call.
    pub(crate) fn virtual_clock(&self) -> Option<VirtualClock> {
        self.host.guard.determinism.as_ref().map(|determinism| determinism.clock.clone())
    }

    /// Waits until a pollable is ready, and returns the place of the first one that is.
    async fn first_ready(
        &mut self,
        determinism: &Determinism,
        list: &[Resource<DynPollable>],
    ) -> wasmtime::Result<u32> {
        let Determinism { clock, exchanges, .. } = determinism;
        let borrow = |one: &Resource<DynPollable>| Resource::new_borrow(one.rep());
        loop {
            exchanges.settle().await;
            clock.forget_ends();
            for (place, one) in (0..).zip(list) {
                // tokio's budget for tasks would make a response wait for another turn.
                if unconstrained(self.wasi.ctx().table.ready(borrow(one))).await? {
                    return Ok(place);
                }
            }
            // Sleeps that are not over have told the clock their ends. Other sources may wake it.
            let mut end = clock.next_end();
            if let Some(last) = determinism.last_sleep(end) {
                if clock.now() >= last {
                    determinism.end_in_sleep();
                    return Err(Halt::Timeout.into());
                }
                end = Some(last);
            }
            match (exchanges.next(), end) {
                (Next::Recorded(at), end) => clock.advance_to(end.map_or(at, |end| at.min(end))),
                (Next::Sleep, Some(end)) => clock.advance_to(end),
                (Next::Sleep, None) => exchanges.diverge().await,
                (Next::Live, end) => {
                    let guard = self.host.guard.clone();
                    let others = self.wasi.ctx().table.poll(list.iter().map(borrow).collect());
                    tokio::select! {
                        biased;
                        ready = others => drop(ready?),
                        () = exchanges.come() => {}
                        () = sleep_until(&guard, clock, end) => {
                            clock.advance_to(end.unwrap_or_default());
                        }
                    }
                }
            }
        }
    }

    /// Implements `poll_oneoff` for a deterministic call: exactly one event.
    pub(super) async fn poll_one(
        &mut self,
        clock: &VirtualClock,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> wasmtime::Result<i32> {
        let mut first: Option<(u64, u32)> = None;
        for index in 0..count {
            let at = subscriptions.saturating_add(index.saturating_mul(SUBSCRIPTION));
            let end = end_of(memory, at, clock);
            match end {
                // Files and standard streams are ready, and wasmtime refuses unknown sources.
                None => {
                    let [at, events, out] = [at, events, out].map(u32::cast_signed);
                    return preview1::poll_oneoff(&mut self.wasi, memory, at, events, 1, out).await;
                }
                Some(end) if end <= clock.now() => {
                    first = Some((end, at));
                    break;
                }
                Some(end) if first.is_none_or(|(earliest, _)| end < earliest) => {
                    first = Some((end, at));
                }
                Some(_) => {}
            }
        }
        let Some((end, at)) = first else {
            return Ok(Errno::Inval as i32);
        };
        if end > clock.now() {
            let guard = self.host.guard.clone();
            let last = guard.determinism.as_ref().and_then(|one| one.last_sleep(Some(end)));
            let until = last.unwrap_or(end);
            guard.sleep(real_time(clock, until)).await;
            clock.advance_to(until);
            if let (Some(_), Some(determinism)) = (last, &guard.determinism) {
                determinism.end_in_sleep();
                return Err(Halt::Timeout.into());
            }
        }
        let event = Event {
            userdata: memory.read(GuestPtr::new(at))?,
            error: Errno::Success,
            type_: Eventtype::Clock,
            fd_readwrite: EventFdReadwrite { nbytes: 0, flags: Eventrwflags::empty() },
        };
        memory.write(GuestPtr::new(events), event)?;
        memory.write(GuestPtr::<u32>::new(out), 1)?;
        Ok(Errno::Success as i32)
    }
}

/// Returns the end of the sleep that a subscription asks for. `None` for other subscriptions.
fn end_of(memory: &GuestMemory<'_>, at: u32, clock: &VirtualClock) -> Option<u64> {
    let field = |offset: u32| at.checked_add(offset);
    let kind = memory.read(GuestPtr::<u8>::new(field(8)?)).ok()?;
    let id = memory.read(GuestPtr::<u32>::new(field(16)?)).ok()?;
    let time = memory.read(GuestPtr::<u64>::new(field(24)?)).ok()?;
    let is_absolute = memory.read(GuestPtr::<u16>::new(field(40)?)).ok()? & 1 == 1;
    match (kind, id, is_absolute) {
        (0, 0 | 1, false) => Some(clock.now().saturating_add(time)),
        (0, 1, true) => Some(time),
        (0, 0, true) => Some(clock.since_start(time)),
        _ => None,
    }
}

/// Sleeps until a point of the virtual clock. Never resolves without one.
async fn sleep_until(guard: &Guard, clock: &VirtualClock, end: Option<u64>) {
    match end {
        Some(end) => guard.sleep(real_time(clock, end)).await,
        None => pending().await,
    }
}

/// Returns the real time until a point of the virtual clock.
fn real_time(clock: &VirtualClock, end: u64) -> std::time::Duration {
    Micros(end.saturating_sub(clock.now()).div_ceil(1000)).into()
}
