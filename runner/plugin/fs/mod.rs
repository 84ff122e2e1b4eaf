//! [`Files`]: what one attempt finds in its file system, and what becomes of it.
//!
//! Nothing by default. Granted folders are mounted as they are; what else is there lives in a private folder that is
//! made for the attempt and gone with it.

mod counted;
mod counted_stream;
mod descriptors;
mod folder;
mod leftovers;
mod listing;
mod preview1;
pub(super) mod quota;
mod readdir;
mod removal;
pub(super) mod way;

use std::{
    future,
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    panic,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs_err as fs;
use thiserror::Error;
use tokio::task;
use wasmtime::component;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

pub use descriptors::raise_open_files;
pub use folder::{is_private_folder, sweep_folders};
pub use way::Way;

use self::{folder::PrivateFolder, quota::Quota};
use super::{
    AttachmentSource, Call, Ending, Guard, Mount,
    call::classify::failure,
    interrupt::Halt,
    lacking::{fault_in, fault_of, lacking},
    sandbox::host::AttemptHost,
    sandbox::store::Sandbox,
};
use crate::model::{Denied, ErrorClass, HostFault, is_file_name};

/// Where an attempt may write what is gone with it.
const SCRATCH: &str = "/scratch";
/// Where a command leaves what is kept.
const ARTIFACTS: &str = "/artifacts";
/// Where a command finds its test's attachments.
const ATTACHMENTS: &str = "/files";
/// The longest path that systems take.
const MAX_PATH_BYTES: usize = 4096;
/// How much is shown of a path that a guest made up.
const SHOWN_CHARACTERS: usize = 200;
/// How long an attempt waits for its private folder to be removed. What takes longer goes on without it: a guest may have
/// made as many files as its `limits.scratch` has room for.
const REMOVAL_TIME: Duration = Duration::from_millis(500);
/// Bytes of an attachment between two looks at whether the attempt is to go on.
const COPIED_AT_ONCE: u64 = 16 * 1024 * 1024;

/// What one attempt finds in its file system; by default it is nothing.
#[derive(Default)]
pub(super) struct Files {
    /// Counts what is written, where anything may be.
    quota: Option<Quota>,
    private: Option<AttemptFolders>,
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
struct AttemptFolders {
    folder: PrivateFolder,
    scratch: bool,
    artifacts: bool,
    attachments: bool,
}

/// Why an attempt has no files, and so does not begin.
#[derive(Debug, Error)]
pub(super) enum FilesError {
    #[error("cannot mount the folder `{}` at `{guest}`: {reason}", host.display())]
    Mount {
        host: PathBuf,
        guest: String,
        reason: Unmounted,
    },
    #[error("cannot make a folder in `{}`: {source}", root.display())]
    Make { root: PathBuf, source: io::Error },
    #[error("cannot make a folder: {0}")]
    Fill(#[source] io::Error),
    #[error("cannot hand over the attachment `{}`: that names no file in `{ATTACHMENTS}`", shown(.0))]
    Name(String),
    #[error("cannot hand over the attachment `{name}`: {source}")]
    Attachment { name: String, source: io::Error },
    #[error(transparent)]
    Halted(#[from] Halt),
}

/// Why a folder is not mounted.
#[derive(Debug, Error)]
#[error("{text}")]
pub(super) struct Unmounted {
    text: String,
    fault: Option<HostFault>,
}

impl FilesError {
    /// What the machine lacked, if that is why.
    fn fault(&self) -> Option<HostFault> {
        match self {
            Self::Mount { reason, .. } => reason.fault,
            Self::Make { source, .. } | Self::Fill(source) | Self::Attachment { source, .. } => {
                fault_of(source)
            }
            Self::Name(_) | Self::Halted(_) => None,
        }
    }
}

impl From<FilesError> for Ending {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Halted(halt) => halt.into(),
            error => Self::Error(match error.fault() {
                Some(fault) => lacking(fault, &error.to_string()),
                None => failure(ErrorClass::Internal, "files", error.to_string()),
            }),
        }
    }
}

impl Files {
    /// Makes the folders that an attempt needs beside those that it is granted, and mounts all of them into `wasi`.
    pub(super) async fn mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> Result<Self, FilesError> {
        let private = AttemptFolders::make(call, role, guard).await?;
        let mounts = &call.access.mounts;
        for mount in mounts {
            let perms = match mount.is_writable {
                true => FsPerms::ReadWrite,
                false => FsPerms::ReadOnly,
            };
            mount_granted(wasi, mount, perms).map_err(|reason| FilesError::Mount {
                host: mount.host.clone(),
                guest: mount.guest.clone(),
                reason,
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
    pub(super) async fn keep_artifacts(&self, host: &mut AttemptHost) {
        let Some(folder) = self.private.as_ref().and_then(AttemptFolders::artifacts) else {
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

    /// Removes what was made for the attempt, or lets that go on behind it. Dropping does so too, and blocks.
    ///
    /// What this process does not come to is removed by one of the next.
    pub(super) async fn remove(self) {
        if let Some(private) = self.private {
            let removal = wait(move || drop(private));
            if tokio::time::timeout(REMOVAL_TIME, removal).await.is_err() {
                tracing::debug!("the private folder of an attempt is removed behind it");
            }
        }
    }
}

impl AttemptFolders {
    /// Makes the folders, away from the threads that guests run on: attachments may have to be copied.
    async fn make(call: &Call<'_>, role: Role, guard: &Guard) -> Result<Option<Self>, FilesError> {
        let is_command = role == Role::Command;
        let scratch = call.limits.scratch > 0;
        let attachments = is_command && !call.files.is_empty();
        if !scratch && !attachments {
            return Ok(None);
        }
        guard.check()?;
        let root = call.access.scratch_root.clone();
        let files = attachments.then(|| Arc::clone(&call.files));
        let filling = guard.clone();
        let make = move || {
            let folder =
                PrivateFolder::new_in(&root).map_err(|source| FilesError::Make { root, source })?;
            let private = Self {
                folder,
                scratch,
                artifacts: scratch && is_command,
                attachments,
            };
            private.fill(files.as_deref().unwrap_or_default(), &filling)?;
            Ok(private)
        };
        // What is given up here goes on until it has an end of its own, and then removes what it made.
        tokio::select! {
            biased;
            made = wait(make) => made.map(Some),
            halt = guard.halted() => Err(halt.into()),
        }
    }

    fn fill(&self, files: &[AttachmentSource], guard: &Guard) -> Result<(), FilesError> {
        for mount in self.mounts() {
            fs::create_dir(self.path(mount)).map_err(FilesError::Fill)?;
        }
        for file in files {
            guard.check()?;
            // Whoever calls has seen to it; nothing is written elsewhere even if not.
            if !is_file_name(&file.name) {
                return Err(FilesError::Name(file.name.clone()));
            }
            let path = self.path(ATTACHMENTS).join(&file.name);
            link_or_copy(&file.path, &path, guard).map_err(|source| {
                // A copy that the guard has ended is no failure.
                let halted = guard.check().err().map(FilesError::Halted);
                let name = file.name.clone();
                halted.unwrap_or(FilesError::Attachment { name, source })
            })?;
        }
        Ok(())
    }

    fn mount(&self, wasi: &mut WasiCtxBuilder) -> Result<(), FilesError> {
        for mount in self.mounts() {
            // What is linked there is the content store's own.
            let perms = match mount {
                ATTACHMENTS => FsPerms::ReadOnly,
                _ => FsPerms::ReadWrite,
            };
            let host = self.path(mount);
            preopen(wasi, &host, mount, perms).map_err(|reason| FilesError::Mount {
                host,
                guest: mount.to_owned(),
                reason,
            })?;
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

/// What a guest tried that would wait for whoever has the other end, on a thread that nothing can call back.
fn special(path: &str) -> Denied {
    denied(format!(
        "opening `{}`, which is neither a file nor a folder",
        shown(path)
    ))
}

/// What a guest tried to read that is in none of its folders.
fn outside(path: &str) -> Denied {
    denied(format!(
        "reading `{}`, which leads out of its folder",
        shown(path)
    ))
}

fn denied(what: String) -> Denied {
    Denied { what, grant: None }
}

fn shown(path: &str) -> String {
    let mut characters = path.escape_debug();
    let mut shown: String = characters.by_ref().take(SHOWN_CHARACTERS).collect();
    // What is left of a secret before such a mark is taken out.
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Mounts the very folder that was found when nothing ran yet, and not what another guest may have put in its place.
fn mount_granted(
    wasi: &mut WasiCtxBuilder,
    mount: &Mount,
    perms: FsPerms,
) -> Result<(), Unmounted> {
    let folder = mount.open().map_err(|error| Unmounted {
        fault: fault_of(&error),
        text: error.to_string(),
    })?;
    // Between this look at a path and the next one a guest may change it; on Linux what is open has a path of its own.
    let path = if cfg!(target_os = "linux") {
        format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
    } else {
        mount.host.clone()
    };
    preopen(wasi, &path, &mount.guest, perms)
}

fn preopen(
    wasi: &mut WasiCtxBuilder,
    host: &Path,
    guest: &str,
    perms: FsPerms,
) -> Result<(), Unmounted> {
    let opened = wasi.preopened_dir(host, guest, perms);
    opened.map(|_| ()).map_err(|error| Unmounted {
        fault: fault_in(error.chain()),
        text: format!("{error:#}"),
    })
}

/// Makes `from` appear as `to`, which nobody may then write to.
fn link_or_copy(from: &Path, to: &Path, guard: &Guard) -> io::Result<()> {
    // Links do not reach into other file systems, and some know none.
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let from = fs::File::open(from)?;
    let mut to = fs::File::create_new(to)?;
    loop {
        guard.check().map_err(io::Error::other)?;
        if io::copy(&mut from.file().take(COPIED_AT_ONCE), &mut to)? == 0 {
            return Ok(());
        }
    }
}

/// Runs what blocks, on a thread for that.
async fn wait<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fs_err as fs;

    use super::{AttemptFolders, FilesError, folder::PrivateFolder};
    use crate::plugin::{AttachmentSource, Guard, Interrupt, Moment};

    #[test]
    fn an_attachment_is_laid_out_in_its_folder_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        fs::write(&source, "x").unwrap();
        let fill = |name: &str| {
            let private = AttemptFolders {
                folder: PrivateFolder::new_in(root.path()).unwrap(),
                scratch: false,
                artifacts: false,
                attachments: true,
            };
            let file = AttachmentSource {
                name: name.to_owned(),
                media_type: String::new(),
                size: 1,
                path: source.clone(),
            };
            let guard = Guard {
                deadline: Moment::now() + Duration::from_secs(60),
                interrupt: Interrupt::default(),
            };
            private.fill(&[file], &guard)
        };
        fill("good.txt").unwrap();
        let absolute = root.path().join("evil");
        for name in [
            "../../evil",
            "../evil",
            absolute.to_str().unwrap(),
            "a/b",
            "",
            ".",
            "..",
        ] {
            let error = fill(name).unwrap_err();
            assert!(matches!(error, FilesError::Name(_)), "{name:?}: {error}");
        }
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
