//! [`Instance`]: a component's instance, which may serve several calls.

use std::{fmt, pin::pin};

use runner_model::{Micros, log::LogRecord, visible::visible_line};
use wasmtime::component::{self, Component, ComponentExportIndex};
use wasmtime::{Store, format_err};

use super::{classify::classify, ended::Ending};
use crate::contract::exports::runner::provider::provider::ProviderError;
use crate::{fs::AttemptFiles, interrupt::Guard, store::Sandbox};

/// The contract's optional export. The host's version finds those of older guests, too.
const LIFECYCLE: &str = "runner:provider/lifecycle@0.1.2";
/// Host resources (files, streams, unsent requests) of an idle instance. Each may hold 100 KiB of
/// the worker's memory.
const MAX_IDLE_RESOURCES: usize = 64;

/// A component's instance with its store and folders. Dropping it removes the folders, and blocks.
pub struct Instance {
    pub(super) store: Store<Sandbox>,
    /// `None` until `setup` has returned.
    pub(super) exports: Option<Exports>,
    pub(super) files: AttemptFiles,
}

/// The functions of an instance.
pub(super) struct Exports {
    pub(super) instance: component::Instance,
    /// `None` if the component has no `teardown`.
    pub(super) lifecycle: Option<Lifecycle>,
}

/// The functions `setup` and `teardown` of a component. The generated bindings lack them, because a
/// world requires all of its exports.
#[derive(Clone, Copy)]
pub(crate) struct Lifecycle {
    setup: ComponentExportIndex,
    teardown: ComponentExportIndex,
}

impl Instance {
    /// Calls the guest's `teardown` for at most `within`, unless the run was interrupted, and
    /// removes the instance. Returns its log records and its failure as lines, redacted.
    pub async fn tear_down(mut self, within: Micros) -> Vec<String> {
        let lines = self.call_teardown(within).await;
        self.remove().await;
        lines
    }

    /// Returns whether the guest can serve another call after `ending`: it returned by itself, met
    /// no limit, and leaves the host little to hold.
    pub(super) fn is_reusable(&mut self, ending: &Ending) -> bool {
        // Streams, futures and tasks. Those of requests hold connections.
        let waits = self.store.concurrent_resource_table();
        let waits = waits.map_or(0, |table| table.iter_mut().count());
        self.exports.is_some()
            && ending.is_returned()
            && !self.store.data().is_spent()
            && self.store.data_mut().resources() + waits <= MAX_IDLE_RESOURCES
    }

    /// Removes the instance and its folders.
    pub(super) async fn remove(self) {
        drop(self.store);
        self.files.remove().await;
    }

    async fn call_teardown(&mut self, within: Micros) -> Vec<String> {
        let Some(Exports { instance, lifecycle: Some(lifecycle) }) = &self.exports else {
            return Vec::new();
        };
        let store = &mut self.store;
        let interrupt = store.data().host.guard.interrupt.clone();
        if interrupt.is_now() {
            return Vec::new();
        }
        let guard = Guard::new(interrupt, within);
        store.data_mut().start_teardown(guard.clone());
        let failed = {
            let teardown = pin!(async {
                let teardown =
                    instance.get_typed_func::<(), ()>(&mut *store, lifecycle.teardown)?;
                teardown.call_async(&mut *store, ()).await
            });
            guard.bound(teardown).await.err()
        };
        let sandbox = self.store.data_mut();
        let failed = failed.map(|error| match classify(&error, sandbox) {
            Ending::Error(error) => format!("failed: {error}"),
            Ending::Timeout => "failed: timed out".to_owned(),
            Ending::Stopped | Ending::Diverged(_) | Ending::Reply(_) => {
                "failed: stopped".to_owned()
            }
        });
        let records = sandbox.host.log.records.iter().map(LogRecord::to_string);
        records.chain(failed).map(|line| visible_line(&line).to_string()).collect()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// Finds the export, which most components lack.
    pub(crate) fn find(component: &Component) -> wasmtime::Result<Option<Self>> {
        let Some(export) = component.get_export_index(None, LIFECYCLE) else {
            return Ok(None);
        };
        let [setup, teardown] = ["setup", "teardown"].map(|name| {
            let function = component.get_export_index(Some(&export), name);
            function.ok_or_else(|| format_err!("its `{LIFECYCLE}` has no `{name}`"))
        });
        Ok(Some(Self { setup: setup?, teardown: teardown? }))
    }

    /// Calls `setup`. The inner error is the provider's.
    pub(super) async fn set_up(
        self,
        store: &mut Store<Sandbox>,
        instance: &component::Instance,
        config: String,
    ) -> wasmtime::Result<Result<(), ProviderError>> {
        type Answer = (Result<(), ProviderError>,);
        let setup = instance.get_typed_func::<(String,), Answer>(&mut *store, self.setup)?;
        let (answer,) = setup.call_async(store, (config,)).await?;
        Ok(answer)
    }
}
