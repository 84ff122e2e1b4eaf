//! [`MergedRows`]: the files of rows of the merged run.

use std::io::{self, BufWriter, Write as _};

use fs_err::{File, OpenOptions};

use crate::record::{
    disk::{durable, layout::RunDir, modes},
    failpoint,
    writing::sealing,
};

/// How much of the rows waits in memory to be written.
const WAITING_BYTES: usize = 1 << 20;

/// Writes rows into one file after the other, as a session does.
pub(super) struct MergedRows {
    dir: RunDir,
    number: u32,
    file: BufWriter<File>,
    length: u64,
    full: u64,
}

impl MergedRows {
    pub(super) fn begin(dir: &RunDir) -> io::Result<Self> {
        Ok(Self {
            dir: dir.clone(),
            number: 1,
            file: create(dir, 1)?,
            length: 0,
            full: failpoint::full_bytes().unwrap_or(sealing::FULL_BYTES),
        })
    }

    /// Adds a line, with its newline.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length >= self.full {
            self.number += 1;
            let next = create(&self.dir, self.number)?;
            sync(std::mem::replace(&mut self.file, next))?;
            self.length = 0;
        }
        self.length += line.len() as u64;
        self.file.write_all(line)
    }

    /// Makes sure that all of them are on disk, and seals those that are full.
    pub(super) fn finish(self) -> io::Result<()> {
        sync(self.file)?;
        sealing::seal_all(&self.dir, self.number)?;
        durable::sync_directory(self.dir.path())
    }
}

fn create(dir: &RunDir, number: u32) -> io::Result<BufWriter<File>> {
    let path = dir.row_file(number);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let file = modes::set(&mut options, &path).open(&path)?;
    Ok(BufWriter::with_capacity(WAITING_BYTES, file))
}

fn sync(file: BufWriter<File>) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    durable::sync(&file)
}
