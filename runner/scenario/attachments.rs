//! Reads and hashes the files that tests hand over.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::model::Digest;

/// Every attachment that has been seen, read once.
#[derive(Default)]
pub(super) struct Attachments {
    read: HashMap<PathBuf, (Digest, u64)>,
}

impl Attachments {
    /// Reads the file in `path` and gives its digest and its size.
    pub(super) fn take(&mut self, path: PathBuf) -> Result<(Digest, u64), String> {
        if let Some(known) = self.read.get(&path) {
            return Ok(*known);
        }
        let new = hash(&path).map_err(|error| error.to_string())?;
        // The contract counts bytes with 32 bits.
        if new.1 > u64::from(u32::MAX) {
            return Err("it is larger than 4 GiB".to_owned());
        }
        self.read.insert(path, new);
        Ok(new)
    }

    /// Where the bytes of every digest are.
    pub(super) fn into_paths(self) -> BTreeMap<Digest, PathBuf> {
        let paths = self.read.into_iter();
        paths.map(|(path, (digest, _))| (digest, path)).collect()
    }
}

/// Guesses what a file is by its name.
pub fn media_type(name: &str) -> &'static str {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "jsonl" => "application/jsonl",
        "toml" => "application/toml",
        "yaml" | "yml" => "application/yaml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = fs_err::File::open(path)?;
    // A pipe would never end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((Digest::finish(hasher), bytes));
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
}
