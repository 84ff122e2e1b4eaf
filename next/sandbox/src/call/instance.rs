//! [`Instance`]: a component's instance, which may serve many calls, and [`Lifecycle`], what is called before the first and
//! after the last.

use std::fmt;

use runner_model::{Micros, log::LogRecord, row::RowError, visible::visible_line};
use wasmtime::{
    Store,
    component::{self, Component, ComponentExportIndex},
    format_err,
};

use super::{classify::classify, ended::Ending};
use crate::{
    contract::{Plugin, exports::runner::provider::provider::ProviderError},
    fs::AttemptFiles,
    interrupt::Guard,
    store::Sandbox,
};

/// The contract's optional export, in the host's version; an older guest's is found by it, too.
const LIFECYCLE: &str = "runner:provider/lifecycle@0.1.0";
/// Host resources that an idle instance may have: files, streams, requests that it has not sent. Each may take 100 KiB of
/// the worker's memory.
const MAX_IDLE_RESOURCES: usize = 64;

/// A component's instance with everything that was made for it. Dropping it removes its files, and blocks.
pub struct Instance {
    pub(super) store: Store<Sandbox>,
    /// None until it is instantiated and set up.
    pub(super) exports: Option<Exports>,
    pub(super) files: AttemptFiles,
}

/// What an instance can be called for.
pub(super) struct Exports {
    pub(super) plugin: Plugin,
    /// Where to find `teardown`, of a component that has it.
    pub(super) lifecycle: Option<(Lifecycle, component::Instance)>,
}

/// Where a component has `setup` and `teardown`. They are not part of the generated bindings: a world asks for all of its
/// exports.
#[derive(Clone, Copy)]
pub(crate) struct Lifecycle {
    setup: ComponentExportIndex,
    teardown: ComponentExportIndex,
}

impl Instance {
    /// Tells the guest that no test follows, which may take so long, and removes all that was made for it. Returns what it
    /// said, and how it failed, for the run's log: redacted, a line each. After an interrupt the guest is not called.
    pub async fn tear_down(mut self, within: Micros) -> Vec<String> {
        let lines = self.call_teardown(within).await;
        self.remove().await;
        lines
    }

    /// Tells whether the guest can serve another call after this ending: it came to it by itself, nothing that it may have
    /// is used up, and it leaves little to the host to hold for it.
    pub(super) fn can_go_on(&mut self, ending: &Ending) -> bool {
        self.exports.is_some()
            && ending.is_returned()
            && !self.store.data().is_spent()
            && self.store.data_mut().resources() <= MAX_IDLE_RESOURCES
    }

    /// Removes what was made for it.
    pub(super) async fn remove(self) {
        drop(self.store);
        self.files.remove().await;
    }

    async fn call_teardown(&mut self, within: Micros) -> Vec<String> {
        let exports = self.exports.as_ref();
        let Some((lifecycle, instance)) = exports.and_then(|exports| exports.lifecycle.as_ref())
        else {
            return Vec::new();
        };
        let store = &mut self.store;
        let interrupt = store.data().host.guard.interrupt.clone();
        if interrupt.is_now() {
            return Vec::new();
        }
        let guard = Guard::new(interrupt, within);
        store.data_mut().begin_teardown(guard.clone());
        let teardown = guard.bound(async {
            let teardown = instance.get_typed_func::<(), ()>(&mut *store, lifecycle.teardown)?;
            teardown.call_async(&mut *store, ()).await
        });
        let failed = teardown.await.err();
        let sandbox = self.store.data_mut();
        let failed = failed.map(|error| match classify(&error, sandbox) {
            Ending::Error(RowError { message, .. }) => format!("failed: {message}"),
            Ending::Timeout => "failed: its time was over".to_owned(),
            Ending::Stopped | Ending::Reply(_) => "failed: it was stopped".to_owned(),
        });
        let said = sandbox.host.log.records.iter().map(line);
        let lines = said.chain(failed);
        lines.map(|line| visible_line(&line).to_string()).collect()
    }
}

/// A log record as one line.
fn line(record: &LogRecord<'_>) -> String {
    let mut line = format!("{}: {}", record.level, record.message);
    for (name, value) in &record.fields {
        line += &format!(" {}={}", &**name, &**value);
    }
    line
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// Looks for the export; most components have none.
    pub(crate) fn find(component: &Component) -> wasmtime::Result<Option<Self>> {
        let Some(export) = component.get_export_index(None, LIFECYCLE) else {
            return Ok(None);
        };
        let find = |name: &str| {
            let function = component.get_export_index(Some(&export), name);
            function.ok_or_else(|| format_err!("its `{LIFECYCLE}` has no `{name}`"))
        };
        Ok(Some(Self { setup: find("setup")?, teardown: find("teardown")? }))
    }

    /// The inner error is the guest's own.
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
