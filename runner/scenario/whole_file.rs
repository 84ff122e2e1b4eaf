//! [`WholeFile`]: a file that many read at once.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
};

/// Reads a file from its beginning, and leaves its cursor to others.
pub(super) struct WholeFile<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> WholeFile<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for WholeFile<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(bytes, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
