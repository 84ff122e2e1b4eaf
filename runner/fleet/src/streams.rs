//! The streams of a [`Broker`]: its key-value buckets, and its object store of plugins, attachments, schemas and large tests by
//! digest.

use std::io::{self, ErrorKind::TimedOut, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::datetime::DateTime;
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, StorageType, Stream,
};
use async_nats::jetstream::{ErrorCode, kv};
use futures_util::StreamExt as _;
use runner_model::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::broker::{ANSWER_WITHIN, Broker, RECONNECT_EVERY, is_missing, lock};
use crate::error::FleetError;
use crate::wire::{BLOBS, ENTRY_SECONDS, MAX_DOCUMENT, OFFERS, WORKERS};

/// Time for a cluster that has lost a server to answer again.
const ELECT_WITHIN: Duration = Duration::from_secs(10);
/// Time after which the broker drops a blob. A session stores it again if a worker needs it.
const MAX_BLOB_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bounds of a stream's size, in bytes, in an account that requires one.
const LARGEST_BLOBS: i64 = 4 << 30;
const LARGEST_BUCKET: i64 = 16 << 20;
const SMALLEST: i64 = 1 << 20;
/// Entries, and their bytes, in the answers to one request.
const MAX_BATCH: usize = 1_000;
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Bytes of a message that holds a part of a blob. On a slow connection, it must arrive before the request times out.
const PART: usize = 256 << 10;
/// Time for which a blob is sent or fetched again while the broker is away.
const RETRY_FOR: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// An entry of a bucket.
pub(crate) struct BucketEntry {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// Time by the broker's clock.
    pub(crate) written: DateTime,
}

impl Broker {
    /// Returns a bucket whose entries last [`ENTRY_SECONDS`]. Creates it if the broker lacks it.
    ///
    /// # Errors
    ///
    /// [`FleetError::Unreachable`] if the broker lacks the bucket and the user may not create it: a run may do that later.
    pub(crate) async fn bucket(&self, name: &str) -> Result<kv::Store, FleetError> {
        Ok(kv::Store {
            stream: self.stream(&bucket_stream(name)).await?,
            stream_name: format!("KV_{name}"),
            prefix: format!("$KV.{name}."),
            name: name.to_owned(),
            put_prefix: None,
            use_jetstream_prefix: false,
        })
    }

    /// Waits for an answer of JetStream.
    pub(crate) async fn answer(&self) -> Result<(), FleetError> {
        self.existing(&bucket_stream(OFFERS).name).await.map(drop)
    }

    /// Creates the buckets and the object store if the broker lacks them.
    pub(crate) async fn prepare(&self) -> Result<(), FleetError> {
        for stream in [bucket_stream(OFFERS), bucket_stream(WORKERS), blobs_stream()] {
            self.stream(&stream).await?;
        }
        Ok(())
    }

    /// Returns a stream. Creates it if the broker lacks it.
    async fn stream(&self, config: &Config) -> Result<Stream, FleetError> {
        match self.existing(&config.name).await? {
            Some(stream) => Ok(stream),
            None => self.create(config).await,
        }
    }

    /// Returns a stream. `None` if the broker lacks it.
    async fn existing(&self, stream: &str) -> Result<Option<Stream>, FleetError> {
        let until = Instant::now() + ELECT_WITHIN;
        loop {
            let error = match self.jetstream.get_stream(stream).await {
                Ok(stream) => return Ok(Some(stream)),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => self.failure(&error),
            };
            let may_elect = self.is_cluster() && Instant::now() < until;
            if !may_elect || !matches!(error, FleetError::Unreachable(_)) {
                return Err(error);
            }
            sleep(RECONNECT_EVERY).await;
        }
    }

    /// Creates a stream. If the account requires a bound of its size, uses the first of [`LARGEST_BLOBS`] or
    /// [`LARGEST_BUCKET`], its half, its quarter and so on that the account has room for.
    async fn create(&self, config: &Config) -> Result<Stream, FleetError> {
        let name = &config.name;
        let is_bucket = config.storage == StorageType::Memory;
        let largest = if is_bucket { LARGEST_BUCKET } else { LARGEST_BLOBS };
        let subject = format!("$JS.API.STREAM.CREATE.{name}");
        let mut num_replicas = if self.is_cluster() { 3 } else { 1 };
        let mut max_bytes = 0;
        loop {
            let config = Config { num_replicas, max_bytes, ..config.clone() };
            let created = tokio::select! {
                biased;
                () = self.refused(&subject) => {
                    return Err(FleetError::Unreachable(format!(
                        "the broker at {} lacks the stream `{name}`, and does not allow this user to create it; start a run there, \
                         or `runner broker check` with credentials of the role `runs`",
                        self.address
                    )));
                }
                created = self.jetstream.create_stream(config) => created,
            };
            let error = match created {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let code = match error.kind() {
                CreateStreamErrorKind::JetStream(error) => error.error_code(),
                _ => return Err(self.failure(&error)),
            };
            (num_replicas, max_bytes) = match max_bytes {
                0 if code == ErrorCode::STREAM_MAX_BYTES_REQUIRED => (num_replicas, largest),
                _ if max_bytes > SMALLEST => (num_replicas, max_bytes / 2),
                // A cluster of two servers refuses three copies.
                _ if num_replicas > 1 => (1, 0),
                _ => return Err(self.failure(&error)),
            };
        }
    }

    /// Returns up to `most` entries of a bucket. An absent bucket has none. Values of more than [`MAX_DOCUMENT`] bytes are
    /// skipped.
    ///
    /// Unlike the client's reader, this creates no consumer, for which a user needs permissions that allow much more.
    pub(crate) async fn entries(
        &self,
        bucket: &str,
        most: usize,
    ) -> Result<Vec<BucketEntry>, FleetError> {
        let prefix = format!("$KV.{bucket}.");
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await;
        let mut answers = answers.map_err(|error| self.failure(&error))?;
        let (mut entries, mut next) = (Vec::new(), 1);
        loop {
            let request = json!({"seq": next, "batch": MAX_BATCH, "max_bytes": MAX_BATCH_BYTES,
                "next_by_subj": format!("{prefix}>")});
            let subject = format!("$JS.API.DIRECT.GET.KV_{bucket}");
            let request = request.to_string().into();
            let sent = self.client.publish_with_reply(subject, inbox.clone(), request).await;
            sent.map_err(|error| self.failure(&error))?;
            let is_last = loop {
                let message = timeout(ANSWER_WITHIN, answers.next()).await.ok().flatten();
                let message = message.ok_or_else(|| self.failure(&io::Error::from(TimedOut)))?;
                if message.status.is_some() {
                    let headers = message.headers.as_ref();
                    let left = headers.and_then(|headers| headers.get("Nats-Num-Pending"));
                    break left.is_none_or(|left| left.as_str() == "0");
                }
                let message = StreamMessage::try_from(message);
                let message = message.map_err(|error| self.failure(&error))?;
                next = message.sequence + 1;
                let is_deleted = message.headers.get("KV-Operation").is_some();
                if let Some(key) = message.subject.strip_prefix(&prefix)
                    && !is_deleted
                    && message.payload.len() <= MAX_DOCUMENT
                {
                    let value = message.payload.to_vec();
                    entries.push(BucketEntry { key: key.to_owned(), value, written: message.time });
                }
            };
            if is_last || entries.len() >= most {
                entries.truncate(most);
                return Ok(entries);
            }
        }
    }

    /// Puts a blob into the object store, unless the store already has it. Checks the store only for the first call, and again
    /// after a worker failed to fetch the blob. Retries for up to a minute while the broker is unreachable.
    pub(crate) async fn put_blob(
        &self,
        digest: &Digest,
        mut content: impl Read + Seek + Send,
    ) -> Result<(), FleetError> {
        if lock(&self.stored).contains(digest) {
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
        self.jetstream.get_object_store(BLOBS).await.map_err(|error| self.failure(&error))
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
            let put = store.put(about, &mut BlobReader(content)).await;
            put.map_err(|error| self.failure(&error))?;
        }
        lock(&self.stored).insert(*digest);
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
        let store = self.jetstream.get_object_store(BLOBS).await;
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
        let stream = self.jetstream.get_stream_no_info(format!("OBJ_{BLOBS}")).await;
        let stream = stream.map_err(|error| self.failure(&error))?;
        let subject = format!("$O.{BLOBS}.C.{}", info.nuid);
        let mut from = 1;
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

/// Returns the configuration of a bucket's stream.
fn bucket_stream(name: &str) -> Config {
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age: Duration::from_secs(ENTRY_SECONDS),
        storage: StorageType::Memory,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        // For markers of removed entries.
        allow_message_ttl: true,
        deny_delete: true,
        ..Config::default()
    }
}

/// Returns the configuration of the object store's stream.
fn blobs_stream() -> Config {
    Config {
        name: format!("OBJ_{BLOBS}"),
        subjects: vec![format!("$O.{BLOBS}.C.>"), format!("$O.{BLOBS}.M.>")],
        max_age: MAX_BLOB_AGE,
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
struct BlobReader<'a, R>(&'a mut R);

impl<R: Read> AsyncRead for BlobReader<'_, R> {
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
