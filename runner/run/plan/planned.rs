//! [`PlannedProvider`]: a provider whose plugin is found.

use std::sync::Arc;

use crate::{
    model::Limits,
    plugin::{Kind, Mount, PluginFile, Secrets},
    scenario::{Protocol, Provider},
};

/// A provider that has trials.
pub(super) struct PlannedProvider {
    pub(super) definition: Provider,
    pub(super) file: PluginFile,
    pub(super) limits: Limits,
    /// The folders that it is granted.
    pub(super) mounts: Vec<Mount>,
    /// Empty until [`Plan::give_secrets`].
    pub(super) secrets: Arc<Secrets>,
}

impl PlannedProvider {
    /// Tells whether it is a command that is called as the scenario says.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.file.kind, Kind::Command(_))
            && self.definition.protocol != Some(Protocol::Json)
    }
}
