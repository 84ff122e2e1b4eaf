//! [`Sandbox`]: what a store holds for its guest, and how a fresh one is made. All fixed bounds of a guest stand here.

pub(crate) mod host;
pub(crate) mod limiter;
pub(crate) mod stdio;

use runner_model::Limits;
use wasmtime::Store;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx};

use self::{host::Host, limiter::Limiter, stdio::Capture};
use crate::interrupt::Guard;

/// Live resource handles of a guest, in the component model's tables.
const MAX_HANDLES: usize = 10_000;
/// Live host resources of a guest: streams, pollables.
const MAX_RESOURCES: usize = 256;
/// Bytes of randomness in one call.
const MAX_RANDOM: u64 = 1024 * 1024;
/// Bytes that any guest may hand over, or be handed, in one call: the host has a copy of them.
pub(crate) const MAX_HANDOVER: u64 = 32 * 1024 * 1024;
/// The same for a command that is a component: its texts become up to twice as long on the way and are copied again.
pub(crate) const MAX_COMPONENT_HANDOVER: u64 = 8 * 1024 * 1024;
/// What the canonical ABI needs for itself beside a reply's own bytes.
pub(crate) const HANDOVER_MARGIN: u64 = 64 * 1024;

/// What one store holds for its guest.
pub(crate) struct Sandbox {
    /// Serves preview 1 and WASI 0.2 alike.
    wasi: WasiP1Ctx,
    pub(crate) host: Host,
    pub(crate) limiter: Limiter,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// Bytes that the guest may hand over in one call.
    pub(crate) handover: u64,
}

/// What a fresh store is made of.
pub(crate) struct StoreRecipe<'a> {
    pub(crate) wasi: WasiCtxBuilder,
    pub(crate) host: Host,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) limits: &'a Limits,
    /// Bytes that the guest may hand over in one call.
    pub(crate) handover: u64,
}

impl Sandbox {
    /// With nothing but WASI, for the benchmark that others are compared with.
    pub(crate) fn bare(limits: &Limits, guard: Guard) -> Self {
        Self {
            wasi: WasiCtxBuilder::new().build_p1(),
            limiter: Limiter::new(limits, guard.interrupt.0.memory.clone()),
            host: Host::new(limits, guard, 0),
            stdout: Capture::new(0, 0),
            stderr: Capture::new(0, 0),
            handover: 0,
        }
    }
}

impl StoreRecipe<'_> {
    /// Makes the store. Nothing of the guest has run yet, and whatever runs in it is bounded.
    pub(crate) fn store(mut self, engine: &wasmtime::Engine) -> Store<Sandbox> {
        let mut wasi = self
            .wasi
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .build_p1();
        wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
        let sandbox = Sandbox {
            wasi,
            limiter: Limiter::new(self.limits, self.host.guard.interrupt.0.memory.clone()),
            host: self.host,
            stdout: self.stdout,
            stderr: self.stderr,
            handover: self.handover,
        };
        let mut store = Store::new(engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.limiter);
        store.set_hostcall_fuel(usize::try_from(self.handover).unwrap_or(usize::MAX));
        store.set_max_component_handles(MAX_HANDLES);
        // Before anything of the guest runs: its start functions are guest code too.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| store.data().host.guard.tick());
        store
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// The context of preview 1 functions.
pub(crate) fn preview_1(sandbox: &mut Sandbox) -> &mut WasiP1Ctx {
    &mut sandbox.wasi
}
