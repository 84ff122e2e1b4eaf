//! [`Files`]: what one attempt finds in its file system, and what becomes of it.
//!
//! Nothing by default. Granted folders are mounted as they are; what else is there lives in a private folder that is
//! made for the attempt and gone with it.

mod counted;
mod folder;
mod leftovers;
mod preview1;
mod quota;

use std::{io, path::PathBuf, sync::Arc};

use tokio::task;
use wasmtime::component;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

pub(super) use quota::Quota;

use self::folder::Folder;
use super::{
    AttachmentSource, Call, Ending, Guard,
    classify::{failure, halted},
    host::Host,
    sandbox::Sandbox,
};
use crate::model::ErrorClass;

/// Where an attempt may write what is gone with it.
const SCRATCH: &str = "/scratch";
/// Where a command leaves what is kept.
const ARTIFACTS: &str = "/artifacts";
/// Where a command finds its test's attachments.
const ATTACHMENTS: &str = "/files";

/// What one attempt finds in its file system; by default it is nothing.
#[derive(Default)]
pub(super) struct Files {
    /// Counts what is written, where anything may be.
    quota: Option<Quota>,
    private: Option<Private>,
}

/// What a guest is, and with it what it finds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has imports for attachments and artifacts.
    Component,
    /// It has files for both.
    Command,
}

/// The folders that are made for one attempt.
struct Private {
    folder: Folder,
    scratch: bool,
    artifacts: bool,
    attachments: bool,
}

impl Files {
    /// Makes the folders that an attempt needs beside those that it is granted, and mounts all of them into `wasi`.
    ///
    /// # Errors
    ///
    /// How the attempt ends without having begun: a folder is not there, or the deadline came before all were made.
    pub(super) async fn mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> Result<Self, Ending> {
        let private = Private::make(call, role, guard).await?;
        let mounts = &call.access.mounts;
        for mount in mounts {
            let perms = match mount.is_writable {
                true => FsPerms::ReadWrite,
                false => FsPerms::ReadOnly,
            };
            wasi.preopened_dir(&mount.host, &mount.guest, perms)
                .map_err(|error| {
                    let (folder, guest) = (mount.host.display(), &mount.guest);
                    broken(format!(
                        "cannot mount the folder `{folder}` at `{guest}`: {error:#}"
                    ))
                })?;
        }
        if let Some(private) = &private {
            private.mount(wasi)?;
        }

        let is_writable = call.limits.scratch > 0 || mounts.iter().any(|mount| mount.is_writable);
        Ok(Self {
            quota: is_writable.then(|| Quota::new(call.limits.scratch)),
            private,
        })
    }

    /// Counts what the guest writes, if it may write at all.
    pub(super) fn quota(&self) -> Option<Quota> {
        self.quota.clone()
    }

    /// Adds what a command left to its artifacts, and logs what is not kept.
    pub(super) async fn keep_artifacts(&self, host: &mut Host) {
        let Some(folder) = self.private.as_ref().and_then(Private::artifacts) else {
            return;
        };
        let mut artifacts = std::mem::take(&mut host.artifacts);
        let (artifacts, refused) = wait(move || {
            let refused = leftovers::collect(&folder, &mut artifacts);
            (artifacts, refused)
        })
        .await;
        host.artifacts = artifacts;
        if let Some(message) = refused {
            host.warn(message);
        }
    }

    /// Removes what was made for the attempt. Dropping does so too, and blocks.
    pub(super) async fn remove(self) {
        if let Some(private) = self.private {
            wait(move || drop(private)).await;
        }
    }
}

impl Private {
    /// Makes the folders, away from the threads that guests run on: attachments may have to be copied.
    async fn make(call: &Call<'_>, role: Role, guard: &Guard) -> Result<Option<Self>, Ending> {
        let is_command = role == Role::Command;
        let has_scratch = call.limits.scratch > 0;
        let has_attachments = is_command && !call.files.is_empty();
        if !has_scratch && !has_attachments {
            return Ok(None);
        }
        let root = call.access.scratch_root.clone();
        let files = has_attachments.then(|| Arc::clone(&call.files));
        let make = move || {
            let folder = Folder::new_in(&root).map_err(|error| {
                format!("cannot make a folder in `{}`: {error}", root.display())
            })?;
            let private = Self {
                folder,
                scratch: has_scratch,
                artifacts: has_scratch && is_command,
                attachments: has_attachments,
            };
            private.fill(files.as_deref())?;
            Ok(private)
        };
        let made = guard.bound(async { Ok(wait(make).await) }).await;
        match made {
            Ok(made) => made.map(Some).map_err(|message: String| broken(message)),
            Err(halt) => Err(halted(&halt).expect("only a halt ends what cannot fail")),
        }
    }

    fn fill(&self, files: Option<&[AttachmentSource]>) -> Result<(), String> {
        for mount in self.mounts() {
            let path = self.path(mount);
            fs_err::create_dir(path).map_err(|error| error.to_string())?;
        }
        for file in files.unwrap_or_default() {
            let to = self.path(ATTACHMENTS).join(&file.name);
            link_or_copy(&file.path, &to).map_err(|error| {
                format!("cannot hand over the attachment `{}`: {error}", file.name)
            })?;
        }
        Ok(())
    }

    fn mount(&self, wasi: &mut WasiCtxBuilder) -> Result<(), Ending> {
        for mount in self.mounts() {
            // What is linked there is the content store's own.
            let perms = match mount {
                ATTACHMENTS => FsPerms::ReadOnly,
                _ => FsPerms::ReadWrite,
            };
            wasi.preopened_dir(self.path(mount), mount, perms)
                .map_err(|error| broken(format!("cannot mount `{mount}`: {error:#}")))?;
        }
        Ok(())
    }

    fn mounts(&self) -> impl Iterator<Item = &'static str> {
        let mounts = [
            (SCRATCH, self.scratch),
            (ARTIFACTS, self.artifacts),
            (ATTACHMENTS, self.attachments),
        ];
        let there = mounts.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(mount, _)| mount)
    }

    fn artifacts(&self) -> Option<PathBuf> {
        self.artifacts.then(|| self.path(ARTIFACTS))
    }

    fn path(&self, mount: &str) -> PathBuf {
        self.folder.path().join(mount.trim_start_matches('/'))
    }
}

/// Counts what preview 1 modules write.
pub(super) fn count_modules(linker: &mut wasmtime::Linker<Sandbox>) -> wasmtime::Result<()> {
    preview1::shadow(linker)
}

/// Counts what components write.
pub(super) fn count_components(linker: &mut component::Linker<Sandbox>) -> wasmtime::Result<()> {
    counted::shadow(linker)
}

fn link_or_copy(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    // Links do not reach into other file systems, and some know none.
    if fs_err::hard_link(from, to).is_err() {
        fs_err::copy(from, to)?;
    }
    Ok(())
}

fn broken(message: String) -> Ending {
    Ending::Error(failure(ErrorClass::Internal, "files", message))
}

/// Runs what blocks, on a thread for that.
async fn wait<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
