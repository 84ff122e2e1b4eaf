//! The object store of a [`Broker`]: plugins, attachments, schemas and large tests, by digest.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::jetstream::object_store::{InfoErrorKind, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy};
use runner_model::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::sleep;

use crate::broker::{Broker, is_missing, lock};
use crate::error::FleetError;
use crate::wire::BLOBS;

/// Bytes of a message that holds a part of a blob. On a slow connection, it must arrive before the request times out.
const PART: usize = 256 << 10;
/// Time after which the broker drops a blob. A session stores it again if a worker needs it.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time for which a blob is sent or fetched again while the broker is away.
const RETRY_FOR: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_millis(500);

impl Broker {
    /// Puts a blob into the object store, unless the store already has it. Checks the store only for the first call, and again
    /// after a worker failed to fetch the blob. Retries for up to a minute while the broker is unreachable.
    pub(crate) async fn put_blob(
        &self,
        digest: &Digest,
        mut content: impl Read + Seek + Send,
    ) -> Result<(), FleetError> {
        if lock(self.stored()).contains(digest) {
            return Ok(());
        }
        let until = Instant::now() + RETRY_FOR;
        loop {
            match self.put(digest, &mut content).await {
                Err(FleetError::Unreachable(_)) if Instant::now() < until => {
                    sleep(RETRY_EVERY).await;
                }
                result => return result,
            }
        }
    }

    /// Fetches a blob of at most `most` bytes and checks its digest. Tries again for up to a minute while the broker is away.
    ///
    /// # Errors
    ///
    /// [`FleetError::Refused`] if the broker lacks the blob or has different content. The coordinator can store it again.
    pub(crate) async fn fetch_blob(
        &self,
        digest: &Digest,
        into: &mut std::fs::File,
        most: u64,
    ) -> Result<(), FleetError> {
        let until = Instant::now() + RETRY_FOR;
        loop {
            let emptied = into.set_len(0).and_then(|()| into.rewind());
            emptied.map_err(|error| not_written(digest, &error))?;
            match self.read(digest, into, most).await {
                Err(FleetError::Unreachable(_)) if Instant::now() < until => {
                    sleep(RETRY_EVERY).await;
                }
                result => return result,
            }
        }
    }

    /// Opens the object store. Creates it if the broker lacks it.
    pub(crate) async fn blobs(&self) -> Result<ObjectStore, FleetError> {
        self.stream(&blobs_stream()).await?;
        let store = self.jetstream().get_object_store(BLOBS).await;
        store.map_err(|error| self.failure(&error))
    }

    async fn put(
        &self,
        digest: &Digest,
        content: &mut (impl Read + Seek + Send),
    ) -> Result<(), FleetError> {
        let length = content.seek(SeekFrom::End(0)).and_then(|length| {
            content.rewind()?;
            Ok(length)
        });
        let length = length.map_err(|error| {
            FleetError::Refused(format!("cannot read the content of {digest}: {error}"))
        })?;
        let store = self.blobs().await?;
        // Another user of the broker may have stored wrong content under this name, or removed a part.
        if self.read(digest, &mut io::sink(), length).await.is_err() {
            let about = ObjectMetadata {
                name: digest.to_string(),
                chunk_size: Some(PART),
                ..ObjectMetadata::default()
            };
            let put = store.put(about, &mut Reading(content)).await;
            put.map_err(|error| self.failure(&error))?;
        }
        lock(self.stored()).insert(*digest);
        Ok(())
    }

    /// Reads a blob once and checks its digest.
    ///
    /// Requests each part by itself. The client's own reader leaves a consumer on the broker for minutes, and a stream can
    /// have only a thousand.
    pub(crate) async fn read(
        &self,
        digest: &Digest,
        into: &mut (impl Write + Send),
        most: u64,
    ) -> Result<(), FleetError> {
        let lacks = || FleetError::Refused(format!("the broker lacks {digest}"));
        let wrong =
            || FleetError::Refused(format!("the broker has different content for {digest}"));
        let store = self.jetstream().get_object_store(BLOBS).await;
        let store = store
            .map_err(|error| if is_missing(&error) { lacks() } else { self.failure(&error) })?;
        let info = store.info(digest.to_string()).await.map_err(|error| match error.kind() {
            InfoErrorKind::NotFound => lacks(),
            _ => self.failure(&error),
        })?;
        let mut left = info.size as u64;
        if info.deleted || left > most {
            return Err(wrong());
        }
        let stream = self.jetstream().get_stream_no_info(format!("OBJ_{BLOBS}")).await;
        let stream = stream.map_err(|error| self.failure(&error))?;
        let (subject, mut from) = (format!("$O.{BLOBS}.C.{}", info.nuid), 1);
        let mut hash = Sha256::new();
        while left > 0 {
            let part = stream.direct_get_next_for_subject(&subject, Some(from)).await;
            let part = part.map_err(|error| match error.kind() {
                DirectGetErrorKind::NotFound => lacks(),
                _ => self.failure(&error),
            })?;
            let bytes = part.payload.len() as u64;
            left = left.checked_sub(bytes).filter(|_| bytes > 0).ok_or_else(wrong)?;
            hash.update(&part.payload);
            into.write_all(&part.payload).map_err(|error| not_written(digest, &error))?;
            from = part.sequence + 1;
        }
        if hash.finalize().as_slice() == digest.0 { Ok(()) } else { Err(wrong()) }
    }
}

/// Returns the configuration of the object store's stream.
pub(crate) fn blobs_stream() -> Config {
    Config {
        name: format!("OBJ_{BLOBS}"),
        subjects: vec![format!("$O.{BLOBS}.C.>"), format!("$O.{BLOBS}.M.>")],
        max_age: MAX_AGE,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        ..Config::default()
    }
}

fn not_written(digest: &Digest, error: &io::Error) -> FleetError {
    FleetError::Refused(format!("cannot store {digest}: {error}"))
}

/// A local file, which does not block for long, as the client reads it.
struct Reading<'a, R>(&'a mut R);

impl<R: Read> AsyncRead for Reading<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}
