//! What a server does from time to time: it writes down the ends of runs whose process has died, tells of ends of which
//! somebody has still to be told, applies the root's retention, and starts what waits in the queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::server::Server;
use crate::{
    session::{self, NextStart},
    view::UpkeepMode,
};

/// How often dead runs are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often the retention of the results root is applied.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// How often the queue is looked at, where nothing was started.
const QUEUE_EVERY: Duration = Duration::from_secs(1);

/// Starts what waits in the queue as soon as there is room, unless nothing may be changed.
pub(super) async fn work_on_queue(server: Arc<Server>) {
    if server.access.is_read_only() {
        return;
    }
    loop {
        let starting = Arc::clone(&server);
        let next = tokio::task::spawn_blocking(move || {
            session::start_next(&starting.store()?, &starting.host)
        })
        .await;
        match next {
            Ok(Ok(NextStart::Tried(_))) => {}
            Ok(Ok(NextStart::Nothing | NextStart::Busy(_))) | Err(_) => {
                tokio::time::sleep(QUEUE_EVERY).await;
            }
            Ok(Err(error)) => {
                tracing::debug!("the queue cannot be worked on: {error}");
                tokio::time::sleep(QUEUE_EVERY).await;
            }
        }
    }
}

/// Keeps the results root in order, unless nothing may be changed.
pub(super) async fn keep_in_order(server: Arc<Server>) {
    if server.access.is_read_only() {
        return;
    }
    let mut retained: Option<Instant> = None;
    loop {
        let keeping = Arc::clone(&server);
        let is_due = retained.is_none_or(|at| at.elapsed() >= RETAIN_EVERY);
        if is_due {
            retained = Some(Instant::now());
        }
        let kept = tokio::task::spawn_blocking(move || {
            let store = keeping.store()?;
            session::tend(&store, &keeping.host)?;
            if is_due {
                session::retain(&store, UpkeepMode::Real, (keeping.host.now)())?;
            }
            Ok::<_, crate::error::Error>(())
        })
        .await;
        // The root may not be there yet, and what could not be done now may be done later.
        if let Ok(Err(error)) = kept {
            tracing::debug!("the results root cannot be kept in order: {error}");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
