//! [`Presence`]: the entry of a worker in the bucket of workers, which also reserves its name.
//!
//! Workers write the bucket and must not read it: the reader of a bucket chooses the subject of the response. A worker that may
//! do both can have the broker send any content to any subject, such as that of an offer.

use std::{convert::Infallible, time::Duration};

use async_nats::{Message, header, jetstream::kv::UpdateErrorKind};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::wire::{MAX_DOCUMENT, PresenceDocument, WORKERS, shown};
use crate::{broker::Broker, error::FleetError};

/// Interval at which the entry is renewed.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Interval at which the entry is renewed after a failure.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Time for removing the entry.
const REMOVE_WITHIN: Duration = Duration::from_secs(1);
/// Time after which the name of a removed entry is free.
const REMOVED_FOR: Duration = Duration::from_secs(1);

/// The entry of a worker.
pub(crate) struct Presence {
    broker: Broker,
    key: String,
    document: PresenceDocument,
    /// Revision of the entry. `None` if the response to the last update was lost.
    revision: Option<u64>,
}

impl Presence {
    /// Adds the entry. Waits until the entry of a dead worker with the same name expires.
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
        let writes = broker.client.subscribe(format!("$KV.{WORKERS}.{key}")).await;
        let mut writes = writes.map_err(|error| broker.failure(&error))?;
        let mut presence = Self { broker: broker.clone(), key, document, revision: None };
        while !presence.update(0).await? {
            sleep(RETRY_EVERY).await;
            while let Some(Some(message)) = writes.next().now_or_never() {
                if is_renewal(&message) {
                    return Err(FleetError::Usage(format!(
                        "{}; choose another name with `--name`",
                        holder(&message.payload)
                    )));
                }
            }
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
        let mut wait = RENEW_EVERY;
        let mut messages = Some(messages);
        loop {
            // An error would mean that the sender was dropped, but the worker keeps it for longer.
            let _ = timeout(wait, runs.changed()).await;
            self.document.runs.clone_from(&runs.borrow_and_update());
            wait = match self.renew().await {
                Ok(true) => RENEW_EVERY,
                Ok(false) => {
                    if let Some(messages) = messages.take() {
                        let name = &self.document.name;
                        let _ = messages.send(format!(
                            "another process has used the name `{name}`, which this worker keeps; \
                             give each worker another `--name`"
                        ));
                    }
                    RENEW_EVERY
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
            // A marker without an end would block the name until it expires.
            workers
                .purge_expect_revision_with_ttl(&self.key, self.revision?, REMOVED_FOR)
                .await
                .ok()
        });
        let _ = removed.await;
    }

    /// Writes the entry, also over that of another worker. Returns whether there was no such entry.
    async fn renew(&mut self) -> Result<bool, FleetError> {
        let known = self.revision.take();
        // The entry expires while the worker is suspended or cut off.
        for revision in known.into_iter().chain([0]) {
            if self.update(revision).await? {
                return Ok(true);
            }
        }
        // Opened each time, because a broker without its store has no bucket.
        let workers = self.broker.bucket(WORKERS).await?;
        let written = workers.put(&self.key, self.content().into()).await;
        self.revision = Some(written.map_err(|error| self.broker.failure(&error))?);
        Ok(known.is_none())
    }

    /// Writes the entry if it has `revision`. 0 if there must be no entry.
    async fn update(&mut self, revision: u64) -> Result<bool, FleetError> {
        let workers = self.broker.bucket(WORKERS).await?;
        match workers.update(&self.key, self.content().into(), revision).await {
            Ok(revision) => self.revision = Some(revision),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => return Ok(false),
            Err(error) => return Err(self.broker.failure(&error)),
        }
        Ok(true)
    }

    fn content(&self) -> Vec<u8> {
        serde_json::to_vec(&self.document).unwrap_or_default()
    }
}

/// Returns whether a message renews an entry. Otherwise it adds or removes one.
fn is_renewal(message: &Message) -> bool {
    let Some(headers) = &message.headers else { return true };
    let expected = headers.get(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE);
    expected.is_none_or(|revision| revision.as_str() != "0")
        && headers.get("KV-Operation").is_none()
}

/// Formats the name, process, host and start of an entry's worker.
fn holder(content: &[u8]) -> String {
    let content = Some(content).filter(|content| content.len() <= MAX_DOCUMENT);
    let document = content.and_then(|content| serde_json::from_slice(content).ok());
    let Some(PresenceDocument { name, host, pid, since, .. }) = document else {
        return "another worker has this name".to_owned();
    };
    let (name, host, since) = (shown(&name), shown(&host), shown(&since));
    format!("worker `{name}` is connected: process {pid} on {host}, since {since}")
}
