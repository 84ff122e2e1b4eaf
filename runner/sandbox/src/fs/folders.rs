//! [`AttemptFolders`]: the private folders of one attempt.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use runner_files::open_folder;
use runner_model::{row::is_file_name, visible::shown_path};
use rustix::fs::{AtFlags, CWD, unlinkat};
use wasmtime::{bail, error::Context as _};
use wasmtime_wasi::FsPerms;

use super::quota::shorten_path;
use super::workspace::base::{Base, Overlay};
use super::workspace::tree::Tree;
use crate::call::{AttachedFile, Call};
use crate::interrupt::{Guard, Halt};

/// Removed with the attempt.
const SCRATCH: &str = "/scratch";
/// Removed with the attempt, too: many programs create temporary files here. A granted folder may take its place.
const TEMPORARY: &str = "/tmp";
/// Files that a command leaves here become artifacts.
const ARTIFACTS: &str = "/artifacts";
/// A command's attachments, to be read only.
const ATTACHMENTS: &str = "/files";
/// Bytes of an attachment between two checks of the guard.
const COPIED_AT_ONCE: u64 = 16 * 1024 * 1024;
const MODE: u32 = 0o700;
/// Attempts at removal. A host call that outlived the guest may still create something.
const TRIES: u32 = 5;

/// Numbers the private folders of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The kind of a guest, which decides on its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has imports for attachments and artifacts.
    Component,
    /// Has `/files` and `/artifacts` instead.
    Command,
}

/// The folders that an attempt needs.
pub(super) struct FolderRequest {
    scratch: bool,
    temporary: bool,
    artifacts: bool,
    attachments: Vec<AttachedFile>,
    workspace: Option<WorkspaceRequest>,
}

struct WorkspaceRequest {
    base: Option<Arc<Base>>,
    overlay: Option<Arc<Overlay>>,
    mount: String,
    perms: FsPerms,
}

/// The private folders of one attempt. Dropping removes them, and blocks.
pub(super) struct AttemptFolders {
    path: PathBuf,
    scratch: bool,
    temporary: bool,
    artifacts: bool,
    attachments: bool,
    /// The workspace, its path in the guest, and its permissions.
    workspace: Option<(Arc<Tree>, String, FsPerms)>,
}

impl FolderRequest {
    /// Returns the folders that a call needs. `None` if it needs none.
    pub(super) fn for_call(call: &Call<'_>, role: Role) -> Option<Self> {
        let is_command = role == Role::Command;
        let scratch = call.limits.scratch > 0;
        let attachments = if is_command { call.files } else { &[] };
        let workspace = call.workspace.as_ref();
        (scratch || !attachments.is_empty() || workspace.is_some()).then(|| Self {
            scratch,
            temporary: scratch && call.access.mounts.iter().all(|folder| folder.guest != TEMPORARY),
            artifacts: scratch && is_command,
            attachments: attachments.to_vec(),
            workspace: workspace.map(|workspace| WorkspaceRequest {
                base: workspace.base.clone(),
                overlay: workspace.overlay.clone(),
                mount: workspace.mount.to_owned(),
                perms: match workspace.is_read_only {
                    true => FsPerms::ReadOnly,
                    false => FsPerms::ReadWrite,
                },
            }),
        })
    }

    /// Creates the folders in `root`, with the attachments. Blocks. Fails with a [`Halt`] if the
    /// guard ends the attempt.
    pub(super) fn create(&self, root: &Path, guard: &Guard) -> wasmtime::Result<AttemptFolders> {
        check(guard)?;
        let path = root.join(format!("attempt-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        DirBuilder::new()
            .mode(MODE)
            .create(&path)
            .with_context(|| format!("cannot create a folder in `{}`", shown_path(root)))?;
        // From here on, dropping it removes the folder.
        let mut folders = AttemptFolders {
            path,
            scratch: self.scratch,
            temporary: self.temporary,
            artifacts: self.artifacts,
            attachments: !self.attachments.is_empty(),
            workspace: None,
        };
        for (path, ..) in folders.mounts() {
            fs::create_dir(path).context("cannot create a folder")?;
        }
        for file in &self.attachments {
            // The worker has checked the names. This check keeps a mistake there from writing
            // elsewhere.
            if !is_file_name(&file.name) {
                bail!("cannot provide the attachment `{}`", shorten_path(&file.name));
            }
            let to = folders.path(ATTACHMENTS).join(&file.name);
            link_or_copy(&file.path, &to, guard)
                .with_context(|| format!("cannot provide the attachment `{}`", file.name))?;
        }
        if let Some(WorkspaceRequest { base, overlay, mount, perms }) = &self.workspace {
            let check = || Ok(check(guard)?);
            let tree = Tree::create(&folders.path, base.clone(), overlay.as_deref(), check)
                .context("cannot create the workspace")?;
            folders.workspace = Some((Arc::new(tree), mount.clone(), *perms));
        }
        Ok(folders)
    }
}

impl AttemptFolders {
    /// Returns path on the host, path of the guest and permissions of each folder.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (PathBuf, &str, FsPerms)> {
        let mounts = [
            (SCRATCH, self.scratch, FsPerms::ReadWrite),
            (TEMPORARY, self.temporary, FsPerms::ReadWrite),
            (ARTIFACTS, self.artifacts, FsPerms::ReadWrite),
            // The linked files belong to the content store.
            (ATTACHMENTS, self.attachments, FsPerms::ReadOnly),
        ];
        mounts
            .into_iter()
            .filter(|(_, exists, _)| *exists)
            .map(|(mount, _, perms)| (self.path(mount), mount, perms))
            .chain(
                self.workspace
                    .iter()
                    .map(|(_, mount, perms)| (Tree::host(&self.path), mount.as_str(), *perms)),
            )
    }

    /// Returns the workspace, its path in the guest, and its permissions.
    pub(super) fn workspace(&self) -> Option<&(Arc<Tree>, String, FsPerms)> {
        self.workspace.as_ref()
    }

    /// Returns the path of the private folder.
    pub(super) fn private(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of artifacts, if there is one.
    pub(super) fn artifacts(&self) -> Option<PathBuf> {
        self.artifacts.then(|| self.path(ARTIFACTS))
    }

    fn path(&self, mount: &str) -> PathBuf {
        self.path.join(mount.trim_start_matches('/'))
    }

    fn remove(&self) -> io::Result<()> {
        runner_files::empty(open_folder(CWD, &self.path)?, &[])?;
        Ok(unlinkat(CWD, &self.path, AtFlags::REMOVEDIR)?)
    }
}

impl Drop for AttemptFolders {
    fn drop(&mut self) {
        // The supervisor removes the rest after this process has ended.
        let _ = (0..TRIES).map(|_| self.remove()).find(Result::is_ok);
    }
}

/// Links or copies `from` to `to`. The guest must not write to it.
fn link_or_copy(from: &Path, to: &Path, guard: &Guard) -> wasmtime::Result<()> {
    check(guard)?;
    // Links do not cross file systems, and some file systems have none.
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let from = File::open(from)?;
    let mut to = File::create_new(to)?;
    while io::copy(&mut (&from).take(COPIED_AT_ONCE), &mut to)? > 0 {
        check(guard)?;
    }
    Ok(())
}

/// Fails if the attempt has timed out or was stopped.
fn check(guard: &Guard) -> Result<(), Halt> {
    if guard.interrupt.is_now() {
        return Err(Halt::Stopped);
    }
    if guard.remaining().is_zero() {
        return Err(Halt::Timeout);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use runner_model::Micros;

    use super::FolderRequest;
    use crate::interrupt::{Guard, Halt};
    use crate::{AttachedFile, Interrupt};

    #[test]
    fn attachment_never_leaves_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        fs::write(&source, "x").unwrap();
        let make = |name: &str, guard: &Guard| {
            let file = AttachedFile { name: name.to_owned(), bytes: 1, path: source.clone() };
            let request = FolderRequest {
                scratch: false,
                temporary: false,
                artifacts: false,
                attachments: vec![file],
                workspace: None,
            };
            request.create(root.path(), guard)
        };
        let guard = Guard::new(Interrupt::default(), Micros(60_000_000));
        let created = make("good.txt", &guard).unwrap();
        assert_eq!(fs::read(created.path.join("files/good.txt")).unwrap(), b"x");
        drop(created);
        let absolute = root.path().join("evil");
        for name in ["../../evil", "../evil", absolute.to_str().unwrap(), "a/b", "", ".", ".."] {
            let error = make(name, &guard).err().unwrap().to_string();
            let expected = "cannot provide the attachment `";
            assert!(error.starts_with(expected), "{name:?}: {error}");
        }
        let late = Guard::new(Interrupt::default(), Micros(0));
        let halted = make("good.txt", &late).err().unwrap();
        assert_eq!(halted.downcast_ref(), Some(&Halt::Timeout));
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
