//! What a server does from time to time: it writes down the ends of runs whose process has died, and starts what waits in
//! the queue.

use std::{sync::Arc, time::Duration};

use super::server::Server;
use crate::{
    session::{self, NextStart, Store},
    view::UpkeepMode,
};

/// How often dead runs are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
            let store = Store::existing(&starting.root).map_err(crate::error::Error::record)?;
            session::start_next(&store, &starting.host)
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
    loop {
        let sweeping = Arc::clone(&server);
        let swept = tokio::task::spawn_blocking(move || {
            let store = Store::existing(&sweeping.root)?;
            let now = (sweeping.host.now)();
            session::cleanup(&store, Duration::ZERO, UpkeepMode::Real, now)
        })
        .await;
        // The root may not be there yet, and what could not be swept now may be swept later.
        if let Ok(Err(error)) = swept {
            tracing::debug!("dead runs cannot be swept: {error}");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
