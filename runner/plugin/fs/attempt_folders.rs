//! [`AttemptFolders`]: the folders that are made for one attempt, and gone with it.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{
    blocking,
    error::FilesError,
    folder::{ARTIFACTS, ATTACHMENTS, PrivateFolder, SCRATCH},
    mount::preopen,
};
use crate::{
    model::is_file_name,
    plugin::{
        call::request::{AttachmentSource, Call},
        interrupt::Guard,
    },
};

/// Bytes of an attachment between two looks at whether the attempt is to go on.
const COPIED_AT_ONCE: u64 = 16 * 1024 * 1024;

/// What a guest is, and with it what it finds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) enum Role {
    /// It has imports for attachments and artifacts.
    Component,
    /// It has files for both.
    Command,
}

/// The folders that are made for one attempt.
pub(super) struct AttemptFolders {
    folder: PrivateFolder,
    scratch: bool,
    artifacts: bool,
    attachments: bool,
}

impl AttemptFolders {
    /// Makes the folders, away from the threads that guests run on: attachments may have to be copied.
    pub(super) async fn make(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
    ) -> Result<Option<Self>, FilesError> {
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
            made = blocking::run(make) => made.map(Some),
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
                // A copy that the guard has ended is not a failure.
                let halted = guard.check().err().map(FilesError::Halted);
                let name = file.name.clone();
                halted.unwrap_or(FilesError::Attachment { name, source })
            })?;
        }
        Ok(())
    }

    pub(super) fn mount(&self, wasi: &mut WasiCtxBuilder) -> Result<(), FilesError> {
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

    pub(super) fn artifacts(&self) -> Option<PathBuf> {
        self.artifacts.then(|| self.path(ARTIFACTS))
    }

    fn path(&self, mount: &str) -> PathBuf {
        self.folder.path().join(mount.trim_start_matches('/'))
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fs_err as fs;

    use super::{AttemptFolders, FilesError, PrivateFolder};
    use crate::plugin::{Activity, AttachmentSource, Guard, Interrupt, Moment};

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
                memory: None,
                activity: Activity::default(),
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
