//! [`WorkerCeiling`]: what a worker lets any run touch on its machine, whatever its scenario grants.

use std::path::{Path, PathBuf};

use crate::{
    model::{FsMode, NetGrant, PluginRole},
    run::Plan,
};

/// What a worker lets any run touch on its machine, whatever its scenario grants. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct WorkerCeiling {
    /// Whether it lets it touch everything.
    pub is_open: bool,
    /// Where requests may be sent.
    pub net: Vec<NetGrant>,
    /// The names of secrets.
    pub secrets: Vec<String>,
    /// Folders, and what may be done with them and with those inside of them.
    pub folders: Vec<(PathBuf, FsMode)>,
}

impl WorkerCeiling {
    /// What a plan grants and this does not let it, one line for each.
    pub(super) fn refusals(&self, plan: &Plan) -> Vec<String> {
        if self.is_open {
            return Vec::new();
        }
        let mut refusals = Vec::new();
        // Graders are asked where the run is.
        let access = plan.access();
        for (_, provider, _, grants) in access.filter(|access| access.0 == PluginRole::Provider) {
            let mut refuse =
                |what: String| refusals.push(format!("`{provider}` is granted {what}"));
            for net in &grants.net {
                if !self.net.iter().any(|own| own.covers(net)) {
                    refuse(format!("net = [\"{net}\"]"));
                }
            }
            let bound = grants.bound_secrets.iter().map(|bound| &bound.name);
            for secret in grants.secrets.iter().chain(bound) {
                if !self.secrets.contains(secret) {
                    refuse(format!("secrets = [\"{secret}\"]"));
                }
            }
        }
        for (provider, folder, is_writable) in plan.folders() {
            if !self.has_folder(folder, is_writable) {
                let mode = if is_writable { " to write" } else { "" };
                refusals.push(format!(
                    "`{provider}` is granted the folder `{}`{mode}",
                    folder.display()
                ));
            }
        }
        refusals
    }

    fn has_folder(&self, folder: &Path, is_writable: bool) -> bool {
        let mut own = self.folders.iter();
        own.any(|(path, mode)| {
            folder.starts_with(path) && (*mode == FsMode::ReadWrite || !is_writable)
        })
    }
}
