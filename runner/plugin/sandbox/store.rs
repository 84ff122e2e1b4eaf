//! [`Sandbox`]: what a store holds for its guest, and how a fresh one is made.

use std::time::Duration;

use wasmtime::Store;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{host::AttemptHost, limits::Limiter, stdio::Capture};
use crate::{
    model::Limits,
    plugin::{clock::Moment, code::config::Metering, fs::quota::Quota, listener::Heard},
};

/// Live resource handles of a guest, in the component model's tables.
const MAX_HANDLES: usize = 10_000;
/// Live host resources of a guest: streams, pollables, descriptors.
pub(in crate::plugin) const MAX_RESOURCES: usize = 256;
/// Live tasks of asynchronous components, with what they wait for. Each that waits may hold half a MiB of stack, and takes
/// more than two of these.
const MAX_TASKS: usize = 48;
/// Bytes of randomness in one call.
const MAX_RANDOM: u64 = 1024 * 1024;
/// Bytes of one set of headers in `wasi:http`, as many as servers take. In memory it may be seven times as large, a request has two of them (its
/// trailers are the other), and a guest may hold as many requests as resources.
const MAX_FIELDS: usize = 8 * 1024;

/// What one store holds for its guest.
pub(in crate::plugin) struct Sandbox {
    /// Serves preview 1 and WASI 0.2 alike.
    pub(in crate::plugin) wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    pub(in crate::plugin) host: AttemptHost,
    pub(in crate::plugin) limiter: Limiter,
    /// Counts what is written to files; none where nothing may be.
    pub(in crate::plugin) quota: Option<Quota>,
    pub(in crate::plugin) stdout: Capture,
    pub(in crate::plugin) stderr: Capture,
    /// Bytes that the guest may hand over in one call.
    pub(in crate::plugin) handover: u64,
    /// Whether the fuel that it burns is counted.
    metering: Metering,
}

/// A fresh store's WASI and bounds.
pub(in crate::plugin) struct StoreRecipe<'a> {
    pub(in crate::plugin) wasi: WasiCtxBuilder,
    pub(in crate::plugin) host: AttemptHost,
    pub(in crate::plugin) quota: Option<Quota>,
    pub(in crate::plugin) stdout: Capture,
    pub(in crate::plugin) limits: &'a Limits,
    /// Bytes that the guest may hand over in one call.
    pub(in crate::plugin) handover: u64,
}

/// Measures what an execution costs, from the guest's start on.
pub(in crate::plugin) struct Meter {
    started: Moment,
    /// What was left before, if it is counted.
    fuel: Option<u64>,
    instantiated: Option<Moment>,
}

/// What an execution cost.
#[derive(Clone, Copy, Default)]
pub(in crate::plugin) struct Spent {
    pub(in crate::plugin) duration: Duration,
    /// The part of it before the call.
    pub(in crate::plugin) instantiate: Duration,
    pub(in crate::plugin) fuel: Option<u64>,
}

impl StoreRecipe<'_> {
    /// Makes the store; nothing of the guest has run yet, and whatever runs in it is bounded.
    pub(in crate::plugin) fn store(
        mut self,
        engine: &wasmtime::Engine,
        metering: Metering,
    ) -> Store<Sandbox> {
        let mut stderr = Capture::new(self.limits.stdio, self.limits.stdio);
        if let Some(listener) = self.host.listener.clone() {
            stderr = stderr.heard_by(move |line| listener.hear(Heard::Stderr(line)));
        }
        let mut wasi = self
            .wasi
            .stdout(self.stdout.clone())
            .stderr(stderr.clone())
            .max_random_size(MAX_RANDOM)
            .build_p1();
        wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        let limiter = Limiter::of(self.limits, self.host.guard());
        let may_wait = limiter.may_wait();
        let sandbox = Sandbox {
            metering,
            wasi,
            http,
            host: self.host,
            limiter,
            quota: self.quota,
            stdout: self.stdout,
            stderr,
            handover: self.handover,
        };

        let mut store = Store::new(engine, sandbox);
        if metering == Metering::Fuel {
            let counted = store.set_fuel(u64::MAX);
            counted.expect("an engine that meters has fuel");
        }
        if may_wait {
            store.limiter_async(|sandbox| &mut sandbox.limiter);
        } else {
            store.limiter(|sandbox| &mut sandbox.limiter);
        }
        store.set_hostcall_fuel(usize::try_from(self.handover).unwrap_or(usize::MAX));
        store.set_max_component_handles(MAX_HANDLES);
        if let Some(table) = store.concurrent_resource_table() {
            table.set_max_capacity(MAX_TASKS);
        }
        // Before anything of the guest runs: its start functions and its instantiation are guest code too.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| store.data().host.guard().tick());
        store
    }
}

impl Meter {
    pub(in crate::plugin) fn start(store: &Store<Sandbox>) -> Self {
        Self {
            fuel: fuel_left(store),
            started: Moment::now(),
            instantiated: None,
        }
    }

    /// Notes that there is an instance, and that it is called now.
    pub(in crate::plugin) fn instantiated(&mut self) {
        self.instantiated = Some(Moment::now());
    }

    /// Notes the end. Of an execution that never came to its call, all went into the instance.
    pub(in crate::plugin) fn stop(self, store: &Store<Sandbox>) -> Spent {
        let waited = store.data().host.guard().waited();
        let duration = self.started.elapsed().saturating_sub(waited);
        let called = self.instantiated;
        let called = called.map(|at| at.saturating_duration_since(self.started));
        let burnt = |before: u64| Some(before - fuel_left(store)?);
        Spent {
            duration,
            instantiate: called.map_or(duration, |called| called.min(duration)),
            fuel: self.fuel.and_then(burnt),
        }
    }
}

impl Sandbox {
    /// Makes the sandbox of a guest that goes on ready for its next attempt, of which nothing has been said yet.
    ///
    /// What the guest holds stays its own: memory, tables, and what it has written to its scratch.
    pub(in crate::plugin) fn begin_attempt(&mut self) {
        self.limiter.begin_attempt();
        if let Some(quota) = &self.quota {
            quota.begin_attempt();
        }
        self.stdout.clear();
        self.stderr.clear();
    }

    /// How many host resources the guest has.
    pub(in crate::plugin) fn resources(&mut self) -> usize {
        self.wasi.ctx().table.iter_mut().count()
    }

    /// Tells whether the guest wanted more than its limits allow of what it holds.
    pub(in crate::plugin) fn is_spent(&self) -> bool {
        let is_exceeded = |quota: &Quota| quota.exceeded().is_some();
        self.limiter.denial().is_some() || self.quota.as_ref().is_some_and(is_exceeded)
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.host,
            table: self.wasi.ctx().table,
            ctx: &mut self.http,
        }
    }
}

fn fuel_left(store: &Store<Sandbox>) -> Option<u64> {
    match store.data().metering {
        Metering::Fuel => store.get_fuel().ok(),
        Metering::Off => None,
    }
}
