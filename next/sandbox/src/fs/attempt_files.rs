//! [`AttemptFiles`]: what one attempt finds as files, and what becomes of it.
//!
//! By default that is nothing. Granted folders are mounted as they are; all else lives in a private folder that is made for
//! the attempt and removed at its end. Every write is counted by a [`Quota`].

use std::{os::fd::AsRawFd as _, time::Duration};

use runner_model::{
    ErrorClass, HostFault, Limits, grants::FsMode, provider::MountedFolder, row::RowError,
};
use rustix::fs::{CWD, fstat};
use tokio::time::timeout;
use wasmtime::{bail, error::Context as _};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{
    folders::{AttemptFolders, Role},
    leftovers,
    quota::Quota,
    system::{blocking, open_folder},
};
use crate::{
    call::{Call, Ended, Ending},
    host_fault::fault_in,
    interrupt::{Guard, Halt},
    message::failure,
    store::artifacts::LeftFile,
};

/// How long an attempt waits until its private folder is removed. What takes longer goes on behind the attempt: a guest may
/// have made as many files as its `limits.scratch` has room for.
const REMOVAL_TIME: Duration = Duration::from_millis(500);

/// What one attempt finds in its file system.
///
/// Of a kept instance it lives as long as the instance. Whoever calls:
///
/// 1. [`AttemptFiles::mount`] before the store is made; if it fails, its error is how the attempt ended;
/// 2. gives [`AttemptFiles::quota`] to the [`Sandbox`](crate::store::Sandbox);
/// 3. [`AttemptFiles::collect`] when a command has ended by itself, whatever its exit code, and not after a timeout or stop:
///    what was left then is half done;
/// 4. [`AttemptFiles::remove`] however the attempt ended.
#[derive(Default)]
pub(crate) struct AttemptFiles {
    quota: Option<Quota>,
    folders: Option<AttemptFolders>,
}

impl AttemptFiles {
    /// Makes the folders that an attempt needs beside those that it is granted, and mounts all of them: the granted ones in
    /// the order of the grants, then `/scratch`, `/artifacts` and `/files`.
    ///
    /// # Errors
    ///
    /// The end of the attempt: a folder is missing or is not the one that was granted, an attachment cannot be laid out,
    /// the machine lacks something, or the guard ended it.
    pub(crate) async fn mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> Result<Self, Box<Ended>> {
        let mounted = Self::try_mount(call, role, guard, wasi).await;
        mounted.map_err(|error| Box::new(not_begun(&error, guard)))
    }

    async fn try_mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> wasmtime::Result<Self> {
        let folders = match AttemptFolders::wanted(call, role) {
            Some(wanted) => {
                let (root, guarded) = (call.access.scratch.clone(), guard.clone());
                let make = move || wanted.make(&root, &guarded);
                // What is given up here goes on until it has an end of its own, and then removes what it made.
                Some(guard.bound(blocking(make)).await?)
            }
            None => None,
        };
        let mounts = &call.access.mounts;
        for folder in mounts {
            mount_granted(wasi, folder)
                .with_context(|| cannot_mount(&folder.host, &folder.guest))?;
        }
        for (host, guest, perms) in folders.iter().flat_map(AttemptFolders::mounts) {
            wasi.preopened_dir(&host, guest, perms)
                .with_context(|| cannot_mount(&host.to_string_lossy(), guest))?;
        }
        let mut modes = mounts.iter().map(|folder| folder.mode);
        let is_writable = call.limits.scratch > 0 || modes.any(|mode| mode == FsMode::ReadWrite);
        Ok(Self { quota: is_writable.then(|| Quota::new(call.limits.scratch)), folders })
    }

    /// Counts what the guest writes; `None` if it may not write at all. All clones count together.
    pub(crate) fn quota(&self) -> Option<Quota> {
        self.quota.clone()
    }

    /// Adds the files that a command left in `/artifacts` to `left`, within `limits`. Returns what to say about those that
    /// are not kept.
    pub(crate) async fn collect(
        &self,
        limits: &Limits,
        left: &mut Vec<LeftFile>,
    ) -> Option<String> {
        let folder = self.folders.as_ref().and_then(AttemptFolders::artifacts)?;
        let (files, bytes) = (limits.artifact_files, limits.artifacts);
        let mut found = std::mem::take(left);
        let (found, message) = blocking(move || {
            let message = leftovers::collect(&folder, (files, bytes), &mut found);
            (found, message)
        })
        .await;
        *left = found;
        message
    }

    /// Removes what was made for the attempt, or lets that go on behind it. Dropping does so too, and blocks. What this
    /// process does not come to is removed by its supervisor.
    pub(crate) async fn remove(self) {
        if let Some(folders) = self.folders {
            // Whether it is done in time changes nothing here.
            let _ = timeout(REMOVAL_TIME, blocking(move || drop(folders))).await;
        }
    }
}

/// The end of an attempt that has no files, and so does not begin.
fn not_begun(error: &wasmtime::Error, guard: &Guard) -> Ended {
    let (ending, host_fault) = match error.downcast_ref::<Halt>() {
        Some(Halt::Timeout) => (Ending::Timeout, None),
        Some(Halt::Stopped) => (Ending::Stopped, None),
        None => {
            let fault = fault_in(error);
            (Ending::Error(files_error(error, fault)), fault)
        }
    };
    let took = guard.took();
    Ended {
        duration: took.duration,
        suspended: took.suspended,
        host_fault,
        ..Ended::without_sandbox(ending)
    }
}

fn files_error(error: &wasmtime::Error, fault: Option<HostFault>) -> RowError<'static> {
    let code = fault.map_or("files", HostFault::as_str);
    failure(ErrorClass::Internal, code, format!("{error:#}"))
}

fn cannot_mount(host: &str, guest: &str) -> String {
    format!("cannot mount the folder `{host}` at `{guest}`")
}

/// Mounts the very folder that was found before any guest ran, and not what a guest may have put in its place.
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
    // A guest may change what is at the path until it is opened again; what is open has a path of its own.
    let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
    wasi.preopened_dir(path, &folder.guest, perms)?;
    Ok(())
}
