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
