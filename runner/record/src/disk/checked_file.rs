//! [`CheckedFile`]: a file that is compared with its digest while it is read.

use std::fs::File;
use std::io::{self, Read};

use runner_model::Digest;
use sha2::{Digest as _, Sha256};

/// A file that is compared with its digest while it is read. Reading its end fails if the digests differ.
#[derive(Debug)]
pub struct CheckedFile {
    file: File,
    digest: Digest,
    hash: Sha256,
}

impl CheckedFile {
    pub(crate) fn new(file: File, digest: Digest) -> Self {
        Self { file, digest, hash: Sha256::new() }
    }

    /// Returns the file without the comparison.
    pub fn unchecked(&self) -> &File {
        &self.file
    }
}

impl Read for CheckedFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(bytes)?;
        self.hash.update(&bytes[..length]);
        let is_damaged = || Digest(self.hash.clone().finalize().into()) != self.digest;
        if length == 0 && is_damaged() {
            return Err(io::Error::other("its bytes do not match its name"));
        }
        Ok(length)
    }
}
