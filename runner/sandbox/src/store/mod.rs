//! [`Sandbox`]: the data of a guest's store. The fixed bounds of a running guest are here.

pub(crate) mod artifacts;
pub(crate) mod clock;
pub(crate) mod determinism;
pub(crate) mod host;
pub(crate) mod limiter;
pub(crate) mod poll;
pub(crate) mod spending;
pub(crate) mod stdio;
pub(crate) mod steps;
pub(crate) mod tool_time;
pub(crate) mod transcript;
pub(crate) mod virtual_clock;

use std::{path::PathBuf, sync::Arc};

use runner_model::Limits;
use wasmtime::Store;
use wasmtime_wasi::{WasiCtxBuilder, WasiCtxView, WasiView, p1::WasiP1Ctx};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use self::{host::Host, limiter::Limiter, stdio::Capture, tool_time::add_fuel};
use crate::fs::workspace::attempt::AttemptWorkspace;
use crate::fs::{Descriptors, LastListing, LinkTimes, quota::Quota};
use crate::interrupt::Guard;

/// Live resource handles of a guest, in the component model's tables.
const MAX_HANDLES: usize = 10_000;
/// Live host resources of a guest, such as streams and pollables.
const MAX_RESOURCES: usize = 256;
/// Live tasks of an asynchronous component whose parts call each other, with the streams and futures that they wait for. A
/// waiting task may hold half a MiB of stack, and takes more than two of these.
const MAX_TASKS: usize = 48;
/// Live tasks, streams, futures and waits of a component that only the host calls, which has one task with a stack. A stream
/// or a future takes three entries of some hundred bytes each, and a request about ten.
const MAX_WAITS: usize = 1024;
/// Bytes of a set of headers in `wasi:http`, as many as servers take. In memory it may be seven
/// times as large, and each request has two.
const MAX_FIELDS: usize = 8 * 1024;
/// Bytes of randomness in one call.
const MAX_RANDOM: u64 = 1024 * 1024;
/// Bytes that a command may pass in one call if it is a component: its strings may double on the
/// way, and are copied again.
pub(crate) const MAX_COMPONENT_HANDOVER: u64 = 8 * 1024 * 1024;
/// Bytes that the canonical ABI needs in addition to a reply.
pub(crate) const HANDOVER_MARGIN: u64 = 64 * 1024;

/// The data of one store.
pub(crate) struct Sandbox {
    /// Serves preview 1 and WASI 0.2.
    pub(crate) wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    pub(crate) host: Host,
    pub(crate) limiter: Limiter,
    /// Counts writes to files. `None` if nothing is writable.
    pub(crate) quota: Option<Quota>,
    /// Paths of the mounted folders on the host.
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) descriptors: Descriptors,
    pub(crate) link_times: LinkTimes,
    pub(crate) last_listing: LastListing,
    /// Each open stream of WASI 0.3 from or to a file or folder has a clone, so that the count of clones bounds them.
    pub(crate) file_streams: Arc<()>,
    pub(crate) workspace: Option<AttemptWorkspace>,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// Bytes that the guest may pass in one call, and the words that explain the bound.
    pub(crate) handover: (u64, &'static str),
}

/// The parts of a fresh store.
pub(crate) struct StoreRecipe<'a> {
    pub(crate) wasi: WasiCtxBuilder,
    pub(crate) host: Host,
    pub(crate) quota: Option<Quota>,
    /// Paths of the mounted folders on the host.
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) workspace: Option<AttemptWorkspace>,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) limits: &'a Limits,
    /// Whether parts of the guest call each other.
    pub(crate) is_composed: bool,
    pub(crate) handover: (u64, &'static str),
}

impl Sandbox {
    /// Creates a sandbox with nothing but WASI, for tests that make no call.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bare(limits: &Limits, guard: Guard) -> Self {
        Self {
            wasi: WasiCtxBuilder::new().build_p1(),
            http: http_context(),
            limiter: Limiter::new(limits, guard.interrupt.0.memory.clone()),
            host: Host::new(limits, guard),
            quota: None,
            roots: Vec::new(),
            descriptors: Descriptors::new(MAX_RESOURCES),
            link_times: LinkTimes::default(),
            last_listing: LastListing::default(),
            file_streams: Arc::default(),
            workspace: None,
            stdout: Capture::new(0, 0),
            stderr: Capture::new(0, 0),
            handover: (0, ""),
        }
    }

    /// Prepares a kept guest for its next call. It keeps its memory, its tables and its scratch
    /// folder.
    pub(crate) fn start_call(&mut self, host: Host) {
        self.host = host;
        self.reset_counts();
    }

    /// Prepares a kept guest for `teardown`.
    pub(crate) fn start_teardown(&mut self, guard: Guard) {
        self.host.start_teardown(guard);
        self.reset_counts();
        // The slot may run another trial by now.
        self.stdout.hide();
        self.stderr.hide();
    }

    fn reset_counts(&mut self) {
        self.limiter.start_call();
        if let Some(quota) = &self.quota {
            quota.start_attempt();
        }
        self.stdout.clear();
        self.stderr.clear();
    }

    /// Counts the guest's host resources.
    pub(crate) fn resources(&mut self) -> usize {
        self.wasi.ctx().table.iter_mut().count()
    }

    /// Returns whether the guest was denied memory, table elements or file space.
    pub(crate) fn is_spent(&self) -> bool {
        self.limiter.denial().is_some()
            || self.quota.as_ref().is_some_and(|quota| quota.exceeded().is_some())
    }
}

impl StoreRecipe<'_> {
    /// Creates the store. No code of the guest runs before all bounds are set.
    pub(crate) fn create_store(mut self, engine: &wasmtime::Engine) -> Store<Sandbox> {
        self.wasi
            .stdout(self.stdout.clone())
            .stderr(self.stderr.clone())
            .monotonic_clock(self.host.guard.interrupt.clone())
            .max_random_size(MAX_RANDOM)
            // Guests reach the network by HTTP only, under their grants.
            .allow_tcp(false)
            .allow_udp(false);
        if let Some(determinism) = &self.host.guard.determinism {
            determinism.set(&mut self.wasi);
        }
        let mut wasi = self.wasi.build_p1();
        wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
        let sandbox = Sandbox {
            wasi,
            http: http_context(),
            quota: self.quota,
            roots: self.roots,
            descriptors: Descriptors::new(MAX_RESOURCES),
            link_times: LinkTimes::default(),
            last_listing: LastListing::default(),
            file_streams: Arc::default(),
            workspace: self.workspace,
            limiter: Limiter::new(self.limits, self.host.guard.interrupt.0.memory.clone()),
            host: self.host,
            stdout: self.stdout,
            stderr: self.stderr,
            handover: self.handover,
        };
        let mut store = Store::new(engine, sandbox);
        store.set_hostcall_fuel(usize::try_from(self.handover.0).unwrap_or(usize::MAX));
        store.set_max_component_handles(MAX_HANDLES);
        // Engines with slots have no tasks, and so no table of them.
        if let Some(tasks) = store.concurrent_resource_table() {
            tasks.set_max_capacity(if self.is_composed { MAX_TASKS } else { MAX_WAITS });
            store.data_mut().limiter.allow_on_demand();
        }
        // Reads the number of memories and tables once, so `allow_on_demand` comes first.
        store.limiter(|sandbox| &mut sandbox.limiter);
        // Before instantiation, because start functions are the guest's code, too.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| store.data().host.guard.tick(&store));
        let guard = store.data().host.guard.clone();
        if guard.is_metered {
            add_fuel(&mut store, guard.tool_time());
        }
        store
    }
}

fn http_context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(MAX_FIELDS);
    context
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.host.outbound,
            table: self.wasi.ctx().table,
            ctx: &mut self.http,
        }
    }
}
