//! [`AttemptFiles`]: the files of one attempt.
//!
//! By default an attempt has no files. Granted folders are mounted as they are. Everything else is in a
//! private folder that is created for the attempt and removed at its end. A [`Quota`] counts every
//! write.

use std::{os::fd::AsRawFd as _, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use runner_files::open_folder;
use runner_model::{ErrorClass, HostFault, Limits, grants::FsMode, provider::MountedFolder};
use rustix::fs::{CWD, fstat};
use tokio::time::timeout;
use wasmtime::{bail, error::Context as _};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::folders::{AttemptFolders, FolderRequest, Role};
use super::system::blocking;
use super::workspace::{
    attempt::AttemptWorkspace,
    changes::{self, Kept},
};
use super::{leftovers, quota::Quota};
use crate::call::{Call, Ended, Ending, LeftWorkspace, toolbox::Lent};
use crate::interrupt::{Guard, Halt};
use crate::redact::Redactor;
use crate::{host_fault::fault_in, message::failure, store::artifacts::LeftFile};

/// Longest wait for the removal of the private folder. After that it continues in the background: a
/// guest may have created as many files as fit its `limits.scratch`.
const REMOVAL_TIME: Duration = Duration::from_millis(500);

/// The files of one attempt, or of a kept instance for as long as it lives. The caller:
///
/// 1. calls [`AttemptFiles::mount`] before it creates the store. An error ends the attempt;
/// 2. passes [`AttemptFiles::quota`] to the [`Sandbox`](crate::store::Sandbox);
/// 3. calls [`AttemptFiles::collect`] if a command has ended by itself. After a timeout or stop,
///    files may be half written;
/// 4. calls [`AttemptFiles::add_changes`];
/// 5. calls [`AttemptFiles::remove`] in any case.
#[derive(Default)]
pub(crate) struct AttemptFiles {
    quota: Option<Quota>,
    folders: Option<AttemptFolders>,
    /// Whether the changes in the workspace are kept, and not only counted. `None` if they are not looked
    /// for.
    keeps: Option<bool>,
    /// The workspace of the caller of a tool.
    lent: Option<Lent>,
}

impl AttemptFiles {
    /// Creates the private folders, and mounts all folders: the granted ones in the order of the
    /// grants, then `/scratch`, `/tmp`, `/artifacts`, `/files` and the workspace.
    ///
    /// # Errors
    ///
    /// The attempt is over: a folder is missing or was replaced, an attachment cannot be copied,
    /// the machine lacks something, or the guard ended it.
    pub(crate) async fn mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> Result<Self, Box<Ended>> {
        Self::try_mount(call, role, guard, wasi)
            .await
            .map_err(|error| Box::new(not_started(&error, guard)))
    }

    async fn try_mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> wasmtime::Result<Self> {
        let folders = match FolderRequest::for_call(call, role) {
            Some(request) => {
                let root = call.access.scratch.clone();
                let guarded = guard.clone();
                // If this future is dropped, the thread continues to its own end, and then removes
                // the folders.
                Some(guard.bound(pin!(blocking(move || request.create(&root, &guarded)))).await?)
            }
            None => None,
        };
        let mounts = &call.access.mounts;
        for folder in mounts {
            mount_granted(wasi, folder)
                .with_context(|| cannot_mount(&folder.host, &folder.guest))?;
        }
        let inside = call.inside.as_ref();
        let lent = inside.and_then(|inside| inside.workspace.clone());
        let lent_mount = lent.iter().map(|lent| (lent.host.clone(), &*lent.mount, lent.perms));
        for (host, guest, perms) in
            folders.iter().flat_map(AttemptFolders::mounts).chain(lent_mount)
        {
            wasi.preopened_dir(&host, guest, perms)
                .with_context(|| cannot_mount(&host.to_string_lossy(), guest))?;
        }
        let mut modes = mounts.iter().map(|folder| folder.mode);
        let is_writable = call.limits.scratch > 0
            || call.workspace.is_some()
            || modes.any(|mode| mode == FsMode::ReadWrite);
        let callers = inside.and_then(|inside| inside.quota.clone());
        Ok(Self {
            quota: callers.or_else(|| is_writable.then(|| Quota::new(call.limits.scratch))),
            folders,
            lent: lent.clone(),
            keeps: call
                .workspace
                .as_ref()
                .and_then(|workspace| workspace.overlay.is_none().then_some(workspace.keeps)),
        })
    }

    /// Returns the workspace for the [`Sandbox`](crate::store::Sandbox).
    pub(crate) fn workspace(&self) -> Option<AttemptWorkspace> {
        if let Some(lent) = &self.lent {
            return lent.take();
        }
        let (tree, mount, perms) = self.folders.as_ref()?.workspace()?;
        Some(AttemptWorkspace::new(Arc::clone(tree), mount.clone(), *perms))
    }

    /// Returns the workspace of a tool to its caller.
    pub(crate) fn give_back(&self, workspace: Option<AttemptWorkspace>) {
        if let Some(lent) = &self.lent {
            lent.give(workspace);
        }
    }

    /// Returns the counter of writes. `None` if nothing is writable. Clones share the count.
    pub(crate) fn quota(&self) -> Option<Quota> {
        self.quota.clone()
    }

    /// Returns the paths of the mounted folders on the host, in the order of the mounts.
    pub(crate) fn roots(&self, call: &Call<'_>) -> Vec<PathBuf> {
        let granted = call.access.mounts.iter().map(|folder| PathBuf::from(&*folder.host));
        let own = self.folders.iter().flat_map(AttemptFolders::mounts).map(|(path, ..)| path);
        granted.chain(own).chain(self.lent.iter().map(|lent| lent.host.clone())).collect()
    }

    /// Adds the files in `/artifacts` to `left`, within `limits`. Returns a message about those
    /// that are not kept.
    pub(crate) async fn collect(
        &self,
        limits: &Limits,
        left: &mut Vec<LeftFile>,
    ) -> Option<String> {
        let folder = self.folders.as_ref().and_then(AttemptFolders::artifacts)?;
        let files = limits.artifact_files;
        let bytes = limits.artifacts;
        let mut found = std::mem::take(left);
        let (found, message) = blocking(move || {
            let message = leftovers::collect(&folder, files, bytes, &mut found);
            (found, message)
        })
        .await;
        *left = found;
        message
    }

    /// Adds the changes in the workspace to the end of its call.
    pub(crate) async fn add_changes(
        &self,
        ended: &mut Ended,
        max_bytes: u64,
        redactor: Option<Arc<Redactor>>,
        is_partial: bool,
    ) {
        let (Some(folders), Some(all)) = (&self.folders, self.keeps) else { return };
        let Some((tree, ..)) = folders.workspace().cloned() else { return };
        let folder = folders.private().to_owned();
        let found = blocking(move || {
            let (redactor, folder) = (redactor.as_ref(), &*folder);
            changes::find(&tree, &Kept { all, max_bytes, redactor, folder })
        });
        match found.await {
            Ok(left) => ended.workspace = Some(LeftWorkspace { is_partial, ..left }),
            Err(lost) => {
                let (error, fault) = lost.error();
                ended.lost.get_or_insert(error);
                ended.host_fault = ended.host_fault.or(fault);
            }
        }
    }

    /// Removes the private folders, or lets that continue in the background. Dropping removes them,
    /// too, and blocks. The supervisor removes those of a worker that dies.
    pub(crate) async fn remove(self) {
        if let Some(folders) = self.folders {
            // The thread of the removal cannot be cancelled, so it continues after a timeout.
            let _ = timeout(REMOVAL_TIME, blocking(move || drop(folders))).await;
        }
    }
}

/// Returns the end of an attempt without its files.
fn not_started(error: &wasmtime::Error, guard: &Guard) -> Ended {
    let (ending, host_fault) = match error.downcast_ref::<Halt>() {
        Some(Halt::Timeout) => (Ending::Timeout, None),
        Some(Halt::Stopped) => (Ending::Stopped, None),
        None => {
            let fault = fault_in(error);
            let code = fault.map_or("files", HostFault::as_str);
            let error = failure(ErrorClass::Internal, code, format!("{error:#}"));
            (Ending::Error(error), fault)
        }
    };
    let time = guard.elapsed();
    Ended {
        duration: time.duration,
        suspended: time.suspended,
        host_fault,
        ..Ended::without_sandbox(ending)
    }
}

fn cannot_mount(host: &str, guest: &str) -> String {
    format!("cannot mount the folder `{host}` at `{guest}`")
}

/// Mounts a granted folder, unless it was replaced after it was found.
fn mount_granted(wasi: &mut WasiCtxBuilder, folder: &MountedFolder) -> wasmtime::Result<()> {
    let perms = match folder.mode {
        FsMode::ReadOnly => FsPerms::ReadOnly,
        FsMode::ReadWrite => FsPerms::ReadWrite,
    };
    let opened = open_folder(CWD, &*folder.host)?;
    let found = fstat(&opened)?;
    if (found.st_dev, found.st_ino) != (folder.device, folder.inode) {
        bail!("another folder has taken its place");
    }
    // A guest may replace the folder at this path. The path of the open handle stays the same.
    let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
    wasi.preopened_dir(path, &folder.guest, perms)?;
    Ok(())
}
