//! [`Files`]: what one attempt finds in its file system, and what becomes of it.

use wasmtime_wasi::WasiCtxBuilder;

use super::{
    attempt_folders::{AttemptFolders, Role},
    blocking,
    error::FilesError,
    folder::REMOVAL_TIME,
    leftovers,
    quota::Quota,
};
use crate::plugin::{call::request::Call, interrupt::Guard, sandbox::host::AttemptHost};

/// What one attempt finds in its file system; by default it is nothing.
#[derive(Default)]
pub(in crate::plugin) struct Files {
    /// Counts what is written, where anything may be.
    quota: Option<Quota>,
    private: Option<AttemptFolders>,
}

impl Files {
    /// Makes the folders that an attempt needs beside those that it is granted, and mounts all of them into `wasi`.
    pub(in crate::plugin) async fn mount(
        call: &Call<'_>,
        role: Role,
        guard: &Guard,
        wasi: &mut WasiCtxBuilder,
    ) -> Result<Self, FilesError> {
        let private = AttemptFolders::make(call, role, guard).await?;
        let mounts = &call.access.mounts;
        for mount in mounts {
            mount.mount(wasi).map_err(|reason| FilesError::Mount {
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
    pub(in crate::plugin) fn quota(&self) -> Option<Quota> {
        self.quota.clone()
    }

    /// Adds what a command left to its artifacts, and logs what is not kept.
    pub(in crate::plugin) async fn keep_artifacts(&self, host: &mut AttemptHost) {
        let Some(folder) = self.private.as_ref().and_then(AttemptFolders::artifacts) else {
            return;
        };
        let mut artifacts = std::mem::take(&mut host.artifacts);
        let (artifacts, refused) = blocking::run(move || {
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
    pub(in crate::plugin) async fn remove(self) {
        if let Some(private) = self.private {
            let removal = blocking::run(move || drop(private));
            if tokio::time::timeout(REMOVAL_TIME, removal).await.is_err() {
                tracing::debug!("the private folder of an attempt is removed behind it");
            }
        }
    }
}
