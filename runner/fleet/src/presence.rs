//! [`Presence`]: the entry of a worker in the bucket of workers, which also reserves its name.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{Entry, Operation};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::broker::Broker;
use crate::error::FleetError;
use crate::wire::{MAX_DOCUMENT, PresenceDocument, WORKERS, shown};

/// Interval at which the entry is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Interval at which the entry is renewed after a failure.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Time in which a live worker renews its entry. Its name is free if it does not.
const ALIVE_WITHIN: Duration = Duration::from_millis(4_500);
/// Time for removing the entry.
const REMOVE_WITHIN: Duration = Duration::from_secs(1);

/// The entry of a worker.
pub(crate) struct Presence {
    broker: Broker,
    key: String,
    document: PresenceDocument,
    /// Revision of the worker's entry, or of another worker's entry that may be replaced. 0 if there is no such entry.
    revision: u64,
}

impl Presence {
    /// Adds the entry. Takes over the entry of a dead worker with the same name.
    ///
    /// # Errors
    ///
    /// [`FleetError::Usage`] if another worker has the name.
    pub(crate) async fn take(
        broker: &Broker,
        document: PresenceDocument,
    ) -> Result<Self, FleetError> {
        // Other characters of a name are not allowed in a key.
        let key = document.name.replace('.', "=").replace(':', "/");
        let mut presence = Self { broker: broker.clone(), key, document, revision: 0 };
        let start = Instant::now();
        let mut first = None;
        while let Some(entry) = presence.put().await? {
            if entry.revision != *first.get_or_insert(entry.revision) {
                let holder = holder(&entry);
                return Err(FleetError::Usage(format!(
                    "{holder}; choose another name with `--name`"
                )));
            }
            if start.elapsed() > ALIVE_WITHIN {
                presence.revision = entry.revision;
            }
            sleep(RETRY_EVERY).await;
        }
        Ok(presence)
    }

    /// Renews the entry with the ids in `runs`, until the future is dropped. Replaces entries of other workers, which may be
    /// forged, and reports the first of them.
    pub(crate) async fn keep(
        &mut self,
        mut runs: watch::Receiver<Vec<String>>,
        messages: mpsc::UnboundedSender<String>,
    ) -> Infallible {
        let (mut wait, mut messages) = (RENEW_EVERY, Some(messages));
        loop {
            // An error would mean that the sender was dropped, but the worker keeps it for longer.
            let _ = timeout(wait, runs.changed()).await;
            self.document.runs.clone_from(&runs.borrow_and_update());
            wait = match self.put().await {
                Ok(None) => RENEW_EVERY,
                Ok(Some(entry)) => {
                    self.revision = entry.revision;
                    if let Some(messages) = messages.take() {
                        let holder = holder(&entry);
                        let _ = messages.send(format!("{holder}; this worker keeps the name"));
                    }
                    RETRY_EVERY
                }
                Err(error) => {
                    debug!(%error, "the worker's entry is not renewed");
                    RETRY_EVERY
                }
            };
        }
    }

    pub(crate) async fn remove(&self) {
        let removed = timeout(REMOVE_WITHIN, async {
            let workers = self.broker.bucket(WORKERS).await.ok()?;
            workers.delete_expect_revision(&self.key, Some(self.revision)).await.ok()
        });
        let _ = removed.await;
    }

    /// Writes the entry. Returns the entry of another worker that has the name, unless it may be replaced.
    async fn put(&mut self) -> Result<Option<Entry>, FleetError> {
        // Opened each time, because a broker without its store has no bucket.
        let workers = self.broker.bucket(WORKERS).await?;
        let found = workers.entry(&self.key).await.map_err(|error| self.broker.failure(&error))?;
        if let Some(entry) = &found
            && entry.operation == Operation::Put
            && entry.revision != self.revision
            // If the response to an update was lost, the entry is this worker's, with an unknown revision.
            && parse(entry).is_none_or(|other| other.instance != self.document.instance)
        {
            return Ok(found);
        }
        let content = serde_json::to_vec(&self.document).unwrap_or_default();
        // Fails if another worker has written an entry since the read.
        let revision = found.map_or(0, |entry| entry.revision);
        let written = workers.update(&self.key, content.into(), revision).await;
        self.revision = written.map_err(|error| self.broker.failure(&error))?;
        Ok(None)
    }
}

fn parse(entry: &Entry) -> Option<PresenceDocument> {
    let value = Some(&entry.value).filter(|value| value.len() <= MAX_DOCUMENT)?;
    serde_json::from_slice(value).ok()
}

/// Formats the name, process, host and start of an entry's worker.
fn holder(entry: &Entry) -> String {
    let Some(PresenceDocument { name, host, pid, since, .. }) = parse(entry) else {
        return "another worker has this name".to_owned();
    };
    let (name, host, since) = (shown(&name), shown(&host), shown(&since));
    format!("worker `{name}` is connected: process {pid} on {host}, since {since}")
}
