//! [`BlobBucket`]: what travels by its digest: plugins, lists of tests, attachments.

use std::{
    collections::HashSet,
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use async_nats::jetstream::{
    self, Context as JetStream,
    context::GetStreamError,
    object_store::{self, ObjectMetadata, ObjectStore},
    stream::Stream,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use fs_err::File;
use futures::StreamExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use super::{FleetError, connection::EngineConnection};
use crate::model::Digest;

/// How many bytes a piece of a blob has: each takes a way to the engine and back.
const PIECE_BYTES: usize = 512 << 10;
/// What the bucket is called.
const BUCKET: &str = "runner-blobs";

/// The blobs that the engine has. They are a copy: whoever has put them there can put them there again.
#[derive(Clone)]
pub(super) struct BlobBucket {
    context: JetStream,
    store: ObjectStore,
    /// The longest message that the engine takes, in bytes.
    most_bytes: usize,
}

/// A blob that is there.
pub(super) struct KeptBlob {
    /// Its digest; none of one that was never whole.
    pub(super) name: Option<String>,
    /// What its pieces are called.
    pieces: String,
    /// How long it is; of one that was never whole, its last piece.
    pub(super) bytes: u64,
    /// When it was put there, in seconds since 1970.
    pub(super) modified: i64,
}

impl BlobBucket {
    /// Opens the bucket, and makes it where it is missing.
    ///
    /// # Errors
    ///
    /// Fails if the engine keeps nothing.
    pub(super) async fn open(engine: &EngineConnection) -> Result<Self, FleetError> {
        let error = |error: &dyn std::fmt::Display| FleetError::Blobs {
            at: engine.at.clone(),
            reason: error.to_string(),
        };
        let context = jetstream::new(engine.client.clone());
        let most_bytes = engine.client.server_info().max_payload;
        if let Ok(store) = context.get_object_store(BUCKET).await {
            return Ok(Self {
                context,
                store,
                most_bytes,
            });
        }
        let config = object_store::Config {
            bucket: BUCKET.to_owned(),
            description: Some("plugins and tests of runs, by digest".to_owned()),
            ..object_store::Config::default()
        };
        let made = context.create_object_store(config).await;
        let store = made.map_err(|made| error(&made))?;
        Ok(Self {
            context,
            store,
            most_bytes,
        })
    }

    /// Opens it if it is there.
    pub(super) async fn existing(engine: &EngineConnection) -> Option<Self> {
        let context = jetstream::new(engine.client.clone());
        let store = context.get_object_store(BUCKET).await.ok()?;
        Some(Self {
            context,
            store,
            most_bytes: engine.client.server_info().max_payload,
        })
    }

    /// Puts a file there, unless it is there.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or the engine does not take it.
    pub(super) async fn put_file(&self, digest: Digest, path: &Path) -> Result<(), FleetError> {
        match self.has(digest).await {
            true => Ok(()),
            false => self.replace_file(digest, path).await,
        }
    }

    /// Puts a file there, whatever is there.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or the engine does not take it.
    pub(super) async fn replace_file(&self, digest: Digest, path: &Path) -> Result<(), FleetError> {
        let file = File::open(path).map_err(FleetError::io("read what workers need"))?;
        self.put(digest, &mut Reading(file)).await
    }

    /// Puts bytes there, unless they are there.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not take them.
    pub(super) async fn put_bytes(&self, digest: Digest, bytes: &[u8]) -> Result<(), FleetError> {
        match self.has(digest).await {
            true => Ok(()),
            false => self.replace_bytes(digest, bytes).await,
        }
    }

    /// Puts bytes there, whatever is there.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not take them.
    pub(super) async fn replace_bytes(
        &self,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), FleetError> {
        self.put(digest, &mut &bytes[..]).await
    }

    /// Tells whether the engine says that it is there.
    pub(super) async fn has(&self, digest: Digest) -> bool {
        // Of what was removed there is still a note.
        let info = self.store.info(digest.to_string()).await;
        info.is_ok_and(|info| !info.deleted)
    }

    async fn put(
        &self,
        digest: Digest,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), FleetError> {
        let about = ObjectMetadata {
            name: digest.to_string(),
            chunk_size: Some(PIECE_BYTES.min(self.most_bytes / 2)),
            ..ObjectMetadata::default()
        };
        let put = self.store.put(about, from).await;
        put.map(drop)
            .map_err(FleetError::engine("keep what workers need"))
    }

    /// Fetches what has this digest into a file, which is there once all of it has come and has the digest. Tells whether the
    /// engine has it, whole and as it was.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(super) async fn fetch(&self, digest: Digest, path: &Path) -> Result<bool, FleetError> {
        if path.exists() {
            return Ok(true);
        }
        let cannot = "keep what the run needs";
        let folder = path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder).map_err(FleetError::io(cannot))?;
        let file = tempfile::NamedTempFile::new_in(folder).map_err(FleetError::io(cannot))?;
        let mut write = |piece: &[u8]| io::Write::write_all(&mut file.as_file(), piece);
        if !(self.read(digest, &mut write).await).map_err(FleetError::io(cannot))? {
            return Ok(false);
        }
        // What the engine has is not believed, whatever it says of it.
        let found = File::open(file.path()).and_then(Digest::of_reader);
        let found = found.map_err(FleetError::io(cannot))?;
        if found != digest {
            return Ok(false);
        }
        let kept = file.persist(path);
        kept.map_err(|error| FleetError::io(cannot)(error.error))?;
        Ok(true)
    }

    /// What has this digest, if the engine has it whole and as it was.
    pub(super) async fn bytes(&self, digest: Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut write = |piece: &[u8]| io::Write::write_all(&mut bytes, piece);
        let is_whole = self.read(digest, &mut write).await;
        (is_whole.unwrap_or(false) && Digest::of(&bytes) == digest).then_some(bytes)
    }

    /// Reads what the engine has under this name; tells whether all of it has come. The error is that of whoever writes it.
    ///
    /// Each piece is asked for by itself. To read an object as the client does leaves a consumer on the engine for minutes,
    /// and of these a stream has a thousand at most.
    async fn read(
        &self,
        digest: Digest,
        write: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> io::Result<bool> {
        let info = self.store.info(digest.to_string()).await;
        let (Ok(info), Ok(stream)) = (info, self.stream().await) else {
            return Ok(false);
        };
        let subject = format!("$O.{BUCKET}.C.{}", info.nuid);
        let mut from = 1;
        for _ in 0..info.chunks {
            let piece = stream.direct_get_next_for_subject(&subject, Some(from));
            let Ok(piece) = piece.await else {
                // It was removed meanwhile, or the engine has lost it or went away.
                return Ok(false);
            };
            write(&piece.payload)?;
            from = piece.sequence + 1;
        }
        Ok(!info.deleted)
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not say.
    pub(super) async fn list(&self) -> Result<Vec<KeptBlob>, FleetError> {
        let listed = self.store.list().await;
        let mut listed = listed.map_err(FleetError::engine("list what it keeps"))?;
        let mut blobs = Vec::new();
        while let Some(blob) = listed.next().await {
            let blob = blob.map_err(FleetError::engine("list what it keeps"))?;
            blobs.push(KeptBlob {
                name: Some(blob.name),
                pieces: blob.nuid,
                bytes: blob.size as u64,
                modified: blob.modified.map_or(0, |at| at.unix_timestamp()),
            });
        }
        Ok(blobs)
    }

    /// What is there of those that somebody began to put there who died before the end of it.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not say.
    pub(super) async fn list_unnamed(
        &self,
        named: &[KeptBlob],
    ) -> Result<Vec<KeptBlob>, FleetError> {
        let failed = "list what it keeps";
        let named: HashSet<_> = named.iter().map(|blob| blob.pieces.as_str()).collect();
        let prefix = format!("$O.{BUCKET}.C.");
        let stream = self.stream().await.map_err(FleetError::engine(failed))?;
        let subjects = stream.info_with_subjects(format!("{prefix}*")).await;
        let mut subjects = subjects.map_err(FleetError::engine(failed))?;
        let mut blobs = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(FleetError::engine(failed))?;
            let Some(pieces) = subject.strip_prefix(&prefix) else {
                continue;
            };
            if named.contains(pieces) {
                continue;
            }
            // It may be gone by now.
            if let Ok(last) = stream.get_last_raw_message_by_subject(&subject).await {
                blobs.push(KeptBlob {
                    name: None,
                    pieces: pieces.to_owned(),
                    bytes: last.payload.len() as u64,
                    modified: last.time.unix_timestamp(),
                });
            }
        }
        Ok(blobs)
    }

    /// Removes one, and the note that it was there.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not.
    pub(super) async fn remove(&self, blob: &KeptBlob) -> Result<(), FleetError> {
        if let Some(name) = &blob.name {
            self.purge(&format!("M.{}", URL_SAFE.encode(name))).await?;
        }
        self.purge(&format!("C.{}", blob.pieces)).await
    }

    async fn purge(&self, what: &str) -> Result<(), FleetError> {
        let failed = "remove what nobody needs";
        let stream = self.stream().await.map_err(FleetError::engine(failed))?;
        let purged = stream.purge().filter(format!("$O.{BUCKET}.{what}")).await;
        purged.map(drop).map_err(FleetError::engine(failed))
    }

    async fn stream(&self) -> Result<Stream<()>, GetStreamError> {
        let name = format!("OBJ_{BUCKET}");
        self.context.get_stream_no_info(name).await
    }
}

/// A file of this machine, which is read without waiting for anything.
struct Reading(File);

impl AsyncRead for Reading {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = io::Read::read(&mut self.0, buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}
