//! Contents of the store that a run names: its known failures, attachments and schemas.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{fs::File, io};

use runner_model::{Digest, known::Known};

use crate::disk::content_store::{ContentStore, OF_STORE};
use crate::disk::layout::{MANIFEST, STORE};
use crate::disk::owner;
use crate::run::run_dir::Check;
use crate::{Manifest, RecordError, RunDir};

impl RunDir {
    /// Reads the known failures that the run is judged by. A list that another part of the process uses is not read again.
    ///
    /// # Errors
    ///
    /// The list is lost or damaged.
    pub fn known(&self, manifest: &Manifest) -> Result<Arc<Known>, RecordError> {
        // A session asks for its list on its screen, in its gate and for its report.
        static LAST: Mutex<Option<(Digest, Weak<Known>)>> = Mutex::new(None);
        let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(digest) = manifest.known() else { return Ok(Arc::default()) };
        let used =
            last().as_ref().filter(|(of, _)| *of == digest).and_then(|(_, list)| list.upgrade());
        if let Some(known) = used {
            return Ok(known);
        }
        let list = io::read_to_string(self.content(&digest)?).map_err(|error| error.to_string());
        let list =
            list.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        let known = list.and_then(Known::new).map(Arc::new).map_err(|problem| {
            self.dir
                .refuse(MANIFEST, format!("its list of known failures cannot be read: {problem}"))
        })?;
        *last() = Some((digest, Arc::downgrade(&known)));
        Ok(known)
    }

    /// Opens content of the run in the store, after comparing it with the digest.
    pub fn content(&self, digest: &Digest) -> Result<File, RecordError> {
        let store = ContentStore(self.root.dir(STORE)?);
        let entry = store.open(digest, OF_STORE)?;
        let path = store.0.path();
        // Another user could change the entry after its check.
        let is_others =
            self.check >= Check::Owner && !matches!(owner::other_user(&entry, path), Ok(None));
        if is_others { store.copy(&entry, digest) } else { Ok(entry) }
    }

    /// Returns the digests of all attachments and schemas of the run, ascending. Their contents are in the store.
    pub fn blobs(&self, manifest: &Manifest) -> Result<Vec<Digest>, RecordError> {
        let Some(list) = manifest.metadata.blobs else {
            return Ok(Vec::new());
        };
        let lines = io::read_to_string(self.content(&list)?);
        let read = lines.and_then(|lines| {
            let digests: Option<_> = lines.lines().map(Digest::parse).collect();
            digests.ok_or_else(|| {
                io::Error::other("the list of the run's attachments and schemas is damaged")
            })
        });
        read.map_err(|source| self.root.error("read", STORE, source))
    }
}
