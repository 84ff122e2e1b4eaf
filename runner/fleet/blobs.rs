//! [`BlobBucket`]: what travels by its digest: plugins, lists of tests, attachments.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use async_nats::jetstream::{
    self,
    object_store::{self, ObjectStore},
};
use fs_err::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::{FleetError, connection::EngineConnection};
use crate::model::Digest;

/// What the bucket is called.
const BUCKET: &str = "runner-blobs";
/// How much is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The blobs that the engine has. They are a copy: whoever has put them there can put them there again.
#[derive(Clone)]
pub(super) struct BlobBucket {
    store: ObjectStore,
}

/// A blob that is there.
pub(super) struct KeptBlob {
    pub(super) name: String,
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
        if let Ok(store) = context.get_object_store(BUCKET).await {
            return Ok(Self { store });
        }
        let config = object_store::Config {
            bucket: BUCKET.to_owned(),
            description: Some("plugins and tests of runs, by digest".to_owned()),
            ..object_store::Config::default()
        };
        let made = context.create_object_store(config).await;
        let store = made.map_err(|made| error(&made))?;
        Ok(Self { store })
    }

    /// Opens it if it is there.
    pub(super) async fn existing(engine: &EngineConnection) -> Option<Self> {
        let context = jetstream::new(engine.client.clone());
        let store = context.get_object_store(BUCKET).await.ok()?;
        Some(Self { store })
    }

    /// Puts a file there, unless it is there.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read, or the engine does not take it.
    pub(super) async fn put_file(&self, digest: Digest, path: &Path) -> Result<(), FleetError> {
        if self.has(digest).await {
            return Ok(());
        }
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
            false => self.put(digest, &mut &bytes[..]).await,
        }
    }

    async fn has(&self, digest: Digest) -> bool {
        // Of what was removed there is still a note.
        let info = self.store.info(digest.to_string()).await;
        info.is_ok_and(|info| !info.deleted)
    }

    async fn put(
        &self,
        digest: Digest,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), FleetError> {
        let put = self.store.put(digest.to_string().as_str(), from).await;
        put.map(drop)
            .map_err(FleetError::engine("keep what workers need"))
    }

    /// Fetches what has this digest into a file, which is there once all of it has come and has the digest. Tells whether the
    /// engine has it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written, or the engine has something else under that name.
    pub(super) async fn fetch(&self, digest: Digest, path: &Path) -> Result<bool, FleetError> {
        if path.exists() {
            return Ok(true);
        }
        let Ok(mut object) = self.store.get(digest.to_string()).await else {
            return Ok(false);
        };
        let cannot = "keep what the run needs";
        let folder = path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder).map_err(FleetError::io(cannot))?;
        let file = tempfile::NamedTempFile::new_in(folder).map_err(FleetError::io(cannot))?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = object.read(&mut piece).await;
            let Ok(read) = read else {
                // It was removed meanwhile, or the engine went away.
                return Ok(false);
            };
            if read == 0 {
                break;
            }
            io::Write::write_all(&mut file.as_file(), &piece[..read])
                .map_err(FleetError::io(cannot))?;
        }
        // What the engine has is not believed, whatever it says of it.
        let found = File::open(file.path()).and_then(Digest::of_reader);
        let found = found.map_err(FleetError::io(cannot))?;
        if found != digest {
            return Err(FleetError::Engine {
                what: "give what was asked for",
                reason: format!("under the name {digest} it has something else"),
            });
        }
        let kept = file.persist(path);
        kept.map_err(|error| FleetError::io(cannot)(error.error))?;
        Ok(true)
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not say.
    pub(super) async fn list(&self) -> Result<Vec<KeptBlob>, FleetError> {
        use futures::StreamExt as _;

        let listed = self.store.list().await;
        let mut listed = listed.map_err(FleetError::engine("list what it keeps"))?;
        let mut blobs = Vec::new();
        while let Some(blob) = listed.next().await {
            let blob = blob.map_err(FleetError::engine("list what it keeps"))?;
            blobs.push(KeptBlob {
                name: blob.name,
                bytes: blob.size as u64,
                modified: blob.modified.map_or(0, |at| at.unix_timestamp()),
            });
        }
        Ok(blobs)
    }

    /// Removes one.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not.
    pub(super) async fn remove(&self, name: &str) -> Result<(), FleetError> {
        let removed = self.store.delete(name).await;
        removed.map_err(FleetError::engine("remove what nobody needs"))
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
