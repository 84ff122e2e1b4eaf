//! System calls that the other files share.

use std::os::fd::{AsFd, OwnedFd};
use std::{future, panic};

use rustix::fs::{Mode, OFlags, openat};
use rustix::path::Arg;
use tokio::task;

/// Opens a folder below `at`. Fails if its last part is a symbolic link.
pub(super) fn open_folder(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Runs blocking work on another thread, because all guests of a worker share this one.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down, and drops this future, too.
            Err(_) => future::pending().await,
        },
    }
}
