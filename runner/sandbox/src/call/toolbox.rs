//! [`Toolbox`]: the tools of a call, and the parts of the call that they share.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use runner_model::Micros;
use wasmtime_wasi::FsPerms;

use super::ended::Ended;
use crate::fs::{AttemptWorkspace, quota::Quota};
use crate::store::{determinism::Determinism, spending::UsedUpLimit};

/// The tools that a guest may call.
pub trait Toolbox: fmt::Debug + Send + Sync {
    /// Returns the tools in the order of the grants.
    fn list(&self) -> &[ListedTool];

    /// Runs a tool by its index. `inside` is for its [`Call`](super::Call).
    fn run<'a>(&'a self, tool: usize, input: &'a str, inside: Inside) -> RunningTool<'a>;
}

/// A running tool. Dropping it ends the tool.
pub type RunningTool<'a> = Pin<Box<dyn Future<Output = Ended> + Send + 'a>>;

/// A tool as its caller sees it.
#[derive(Clone, Debug)]
pub struct ListedTool {
    pub name: String,
    pub description: String,
    /// JSON Schema.
    pub input_schema: Option<String>,
}

/// The parts of the caller's attempt that a tool shares.
#[derive(Clone)]
pub struct Inside {
    /// Time until the caller's deadline.
    pub rest: Micros,
    /// The limit of usage that the caller has used up.
    pub(crate) used_up: Option<UsedUpLimit>,
    pub(crate) determinism: Option<Determinism>,
    pub(crate) quota: Option<Quota>,
    pub(crate) workspace: Option<Lent>,
}

/// A workspace that is lent to a tool for the time of its call.
#[derive(Clone)]
pub(crate) struct Lent {
    slot: Arc<Mutex<Option<AttemptWorkspace>>>,
    /// The path on the host.
    pub(crate) host: PathBuf,
    /// The path in the guest.
    pub(crate) mount: String,
    pub(crate) perms: FsPerms,
}

impl Lent {
    /// Lends a workspace.
    pub(crate) fn new(workspace: AttemptWorkspace) -> Self {
        Self {
            host: workspace.tree.path().to_owned(),
            mount: workspace.mount.clone(),
            perms: workspace.perms,
            slot: Arc::new(Mutex::new(Some(workspace))),
        }
    }

    /// Takes the workspace for a sandbox.
    pub(crate) fn take(&self) -> Option<AttemptWorkspace> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the workspace of a sandbox that has ended.
    pub(crate) fn give(&self, workspace: Option<AttemptWorkspace>) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = workspace;
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inside").field("rest", &self.rest).finish_non_exhaustive()
    }
}
