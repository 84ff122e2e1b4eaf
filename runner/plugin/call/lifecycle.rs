//! [`Lifecycle`]: the contract's optional export, which is called before and after the tests of an instance.
//!
//! Without `reuse`, too, where an instance has a single test: so a provider is written once, for both.

use wasmtime::{
    AsContextMut,
    component::{Component, ComponentExportIndex, Instance, TypedFunc},
    format_err,
};

use crate::plugin::contract::runner::provider::types::ProviderError;

/// The export in the host's version; an older guest's is found by it, too.
const LIFECYCLE: &str = "runner:provider/lifecycle@0.1.0";

/// Where a component has the export.
pub(super) struct LifecycleIndices {
    setup: ComponentExportIndex,
    teardown: ComponentExportIndex,
}

/// The export of one instance.
///
/// It is not part of the generated bindings: those of a world ask for all of its exports.
pub(super) struct Lifecycle {
    setup: TypedFunc<(String,), (Result<(), ProviderError>,)>,
    teardown: TypedFunc<(), ()>,
}

impl LifecycleIndices {
    /// Looks for the export; most components have none.
    pub(in crate::plugin) fn find(component: &Component) -> wasmtime::Result<Option<Self>> {
        let Some(export) = component.get_export_index(None, LIFECYCLE) else {
            return Ok(None);
        };
        let find = |name: &str| {
            let function = component.get_export_index(Some(&export), name);
            function.ok_or_else(|| format_err!("its `{LIFECYCLE}` has no `{name}`"))
        };
        Ok(Some(Self {
            setup: find("setup")?,
            teardown: find("teardown")?,
        }))
    }

    /// Takes the export of an instance; fails if the functions have other types than the contract's.
    pub(in crate::plugin) fn load(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
    ) -> wasmtime::Result<Lifecycle> {
        Ok(Lifecycle {
            setup: instance.get_typed_func(&mut store, self.setup)?,
            teardown: instance.get_typed_func(&mut store, self.teardown)?,
        })
    }
}

impl Lifecycle {
    /// Sets the instance up for a configuration, as JSON text; the inner error is the guest's own.
    pub(super) async fn call_setup(
        &self,
        store: impl AsContextMut<Data: Send>,
        config: &str,
    ) -> wasmtime::Result<Result<(), ProviderError>> {
        let (result,) = self.setup.call_async(store, (config.to_owned(),)).await?;
        Ok(result)
    }

    /// Tells the instance that no test follows.
    pub(super) async fn call_teardown(
        &self,
        store: impl AsContextMut<Data: Send>,
    ) -> wasmtime::Result<()> {
        self.teardown.call_async(store, ()).await
    }
}
