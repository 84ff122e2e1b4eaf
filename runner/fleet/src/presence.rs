//! [`Presence`]: the entry of a worker in the bucket of workers, which also reserves its name.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{Entry, Operation};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::engine::Engine;
use crate::error::FleetError;
use crate::wire::{MAX_DOCUMENT, PresenceDocument, WORKERS, shown};

/// Interval at which the entry is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Interval at which the entry is renewed after a failure.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Time in which a live worker renews its entry. Its name is free if it does not.
const ALIVE_WITHIN: Duration = Duration::from_millis(4_500);
/// Time for removing the entry.
const REMOVE_WITHIN: Duration = Duration::from_secs(1);

/// The entry of a worker.
pub(crate) struct Presence {
    engine: Engine,
    key: String,
    document: PresenceDocument,
    /// The entry's number in the bucket.
    revision: u64,
}

impl Presence {
    /// Adds the entry. Takes over the entry of a dead worker with the same name.
    ///
    /// # Errors
    ///
    /// [`FleetError::Refused`] if another worker has the name.
    pub(crate) async fn take(
        engine: &Engine,
        document: PresenceDocument,
    ) -> Result<Self, FleetError> {
        // Other characters of a name are not allowed in a key.
        let key = document.name.replace('.', "=").replace(':', "/");
        let mut presence = Self { engine: engine.clone(), key, document, revision: 0 };
        let start = Instant::now();
        let mut first = None;
        loop {
            match presence.put().await? {
                None => return Ok(presence),
                Some(entry) => {
                    let known = *first.get_or_insert(entry.revision);
                    if entry.revision != known {
                        return Err(taken(&entry));
                    }
                    if start.elapsed() > ALIVE_WITHIN {
                        presence.revision = entry.revision;
                    }
                }
            }
            sleep(RETRY_EVERY).await;
        }
    }

    /// Renews the entry with the ids in `runs`, without end.
    ///
    /// # Errors
    ///
    /// Another worker has taken the name while this one was cut off.
    pub(crate) async fn keep(
        &mut self,
        mut runs: watch::Receiver<Vec<String>>,
    ) -> Result<(), FleetError> {
        let mut wait = RENEW_EVERY;
        loop {
            let changed = timeout(wait, runs.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return Ok(());
            }
            self.document.runs.clone_from(&runs.borrow_and_update());
            wait = match self.put().await {
                Ok(None) => RENEW_EVERY,
                Ok(Some(entry)) => return Err(taken(&entry)),
                Err(error) => {
                    debug!(%error, "the worker's entry is not renewed");
                    sleep(RETRY_EVERY).await;
                    RETRY_EVERY
                }
            };
        }
    }

    pub(crate) async fn remove(&self) {
        let removed = timeout(REMOVE_WITHIN, async {
            let workers = self.engine.bucket(WORKERS).await.ok()?;
            workers.delete_expect_revision(&self.key, Some(self.revision)).await.ok()
        });
        let _ = removed.await;
    }

    /// Writes the entry. Returns the entry of another worker that has the name.
    async fn put(&mut self) -> Result<Option<Entry>, FleetError> {
        let content = serde_json::to_vec(&self.document).unwrap_or_default();
        // Opened each time, because an engine without its store has no bucket.
        let workers = self.engine.bucket(WORKERS).await?;
        if self.revision > 0
            && let Ok(revision) =
                workers.update(&self.key, content.clone().into(), self.revision).await
        {
            self.revision = revision;
            return Ok(None);
        }
        let found = workers.entry(&self.key).await.map_err(|error| self.engine.failure(&error))?;
        let found = found.filter(|entry| entry.operation == Operation::Put);
        let written = match found {
            // An update whose answer was lost.
            Some(entry)
                if holder(&entry)
                    .is_some_and(|holder| holder.instance == self.document.instance) =>
            {
                self.revision = entry.revision;
                return Ok(None);
            }
            Some(entry) => return Ok(Some(entry)),
            None => workers.create(&self.key, content.into()).await,
        };
        self.revision = written.map_err(|error| self.engine.failure(&error))?;
        Ok(None)
    }
}

fn holder(entry: &Entry) -> Option<PresenceDocument> {
    let value = Some(&entry.value).filter(|value| value.len() <= MAX_DOCUMENT)?;
    serde_json::from_slice(value).ok()
}

fn taken(entry: &Entry) -> FleetError {
    let Some(holder) = holder(entry) else {
        return FleetError::Usage(
            "another worker has this name; choose another one with `--name`".to_owned(),
        );
    };
    let PresenceDocument { name, host, pid, since, .. } = holder;
    FleetError::Usage(format!(
        "worker `{}` is connected: process {pid} on {}, since {}; choose another name with `--name`",
        shown(&name),
        shown(&host),
        shown(&since)
    ))
}
