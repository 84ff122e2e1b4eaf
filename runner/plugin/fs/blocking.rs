//! Runs what blocks a thread away from those that guests run on.

use std::{future, panic};

use tokio::task;

/// Runs what blocks, on a thread for that.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => future::pending().await,
        },
    }
}
