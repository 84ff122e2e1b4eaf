//! [`Blobs`]: attachments and schemas of tests, each read once.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use runner_model::{Digest, json, without_mark};
use sha2::{Digest as _, Sha256};

use crate::project::{Project, Refusal};

const MAX_SCHEMA_BYTES: u64 = 16 << 20;

/// Attachments and schemas of tests.
#[derive(Default)]
pub(crate) struct Blobs {
    /// Keyed by whether it is a schema, and by path.
    known: HashMap<(bool, PathBuf), Blob>,
}

/// The digest of a file and its length.
type Blob = (Digest, u64);

impl Blobs {
    /// Reads an attachment of a scenario in `project`.
    pub(crate) fn attachment(&mut self, project: &Project, path: PathBuf) -> Result<Blob, Refusal> {
        self.read_once(project, (false, path), |path| {
            let blob = hash(path).map_err(|error| read_error(&error))?;
            // The plugin contract has 32 bits for a size.
            if blob.1 > u64::from(u32::MAX) {
                return Err("has more than 4 GiB".to_owned());
            }
            Ok(blob)
        })
    }

    /// Reads a schema of a scenario in `project`. It must be JSON.
    pub(crate) fn schema(&mut self, project: &Project, path: PathBuf) -> Result<Digest, Refusal> {
        let blob = self.read_once(project, (true, path), |path| {
            let mut text = Vec::new();
            let read =
                open(path).and_then(|file| file.take(MAX_SCHEMA_BYTES + 1).read_to_end(&mut text));
            read.map_err(|error| read_error(&error))?;
            if text.len() as u64 > MAX_SCHEMA_BYTES {
                return Err("has more than 16 MiB".to_owned());
            }
            let parsed = str::from_utf8(&text)
                .map_err(|error| error.to_string())
                .and_then(|text| json::parse(without_mark(text)));
            parsed.map_err(|error| format!("is not JSON: {error}"))?;
            Ok((runner_model::digest(&text), text.len() as u64))
        })?;
        Ok(blob.0)
    }

    /// Returns the paths by digest.
    pub(crate) fn into_paths(self) -> BTreeMap<Digest, PathBuf> {
        self.known.into_iter().map(|((_, path), (digest, _))| (digest, path)).collect()
    }

    fn read_once(
        &mut self,
        project: &Project,
        key: (bool, PathBuf),
        read: impl Fn(&Path) -> Result<Blob, String>,
    ) -> Result<Blob, Refusal> {
        if let Some(blob) = self.known.get(&key) {
            return Ok(*blob);
        }
        project.check_read(&key.1)?;
        let blob = read(&key.1)?;
        self.known.insert(key, blob);
        Ok(blob)
    }
}

fn read_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("is unreadable: {error}"),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would block until something writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

fn hash(path: &Path) -> io::Result<Blob> {
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut BufReader::with_capacity(64 << 10, open(path)?), &mut hasher)?;
    Ok((Digest(hasher.finalize().into()), bytes))
}
