//! [`RowAppender`]: the file of rows that is written into, and the next one when it is full.

use std::io::{self, Write as _};

use fs_err::{File, OpenOptions};

use super::sealing::{self, Sealing};
use crate::record::{
    disk::{durable, layout::RunDir, lock::FilePlace, modes},
    error::RecordError,
    failpoint,
};

/// The last file of rows, into which a session writes. Once it is full the next one is begun: nothing that was written moves.
pub(in crate::record) struct RowAppender {
    dir: RunDir,
    number: u32,
    file: File,
    place: FilePlace,
    /// How long it is, with nothing but acknowledged rows.
    length: u64,
    full: u64,
    /// The file before, while it is sealed.
    sealing: Option<Sealing>,
}

impl RowAppender {
    /// Takes the file with this number, opened for appending.
    pub(in crate::record) fn new(dir: &RunDir, number: u32, file: File) -> io::Result<Self> {
        Ok(Self {
            dir: dir.clone(),
            number,
            place: FilePlace::of(&file)?,
            length: file.metadata()?.len(),
            file,
            full: failpoint::full_bytes().unwrap_or(sealing::FULL_BYTES),
            sealing: None,
        })
    }

    /// Fails if it is not there any more, or if somebody else has cut it or written into it: rows that were acknowledged may
    /// be gone, and the next one would be appended to whatever is there.
    pub(in crate::record) fn check(&self) -> Result<(), RecordError> {
        self.place.check()?;
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(RecordError::io("look at the rows"))?;
        if metadata.len() == self.length {
            return Ok(());
        }
        Err(RecordError::Lost {
            path: self.file.path().to_owned(),
        })
    }

    /// Appends whole lines, which are on disk then.
    pub(in crate::record) fn append(&mut self, lines: &[u8]) -> Result<(), RecordError> {
        if self.length >= self.full {
            self.begin_next()
                .map_err(RecordError::io("begin the next file of rows"))?;
        }
        self.write(lines).map_err(RecordError::io("write rows"))?;
        self.length += lines.len() as u64;
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        failpoint::pass("row", "begin")?;
        self.file.write_all(lines)?;
        failpoint::pass("row", "written")?;
        durable::sync(&self.file)?;
        failpoint::pass("row", "synced")
    }

    /// Begins the next file. All that is in this one is on disk.
    fn begin_next(&mut self) -> io::Result<()> {
        failpoint::pass("rows", "begin")?;
        let path = self.dir.row_file(self.number + 1);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        let file = modes::set(&mut options, &path).open(&path)?;
        failpoint::pass("rows", "created")?;
        // Before a row is acknowledged that is in it.
        durable::sync_parent(&path)?;
        failpoint::pass("rows", "synced")?;
        let full = self.number;
        self.number += 1;
        self.place = FilePlace::of(&file)?;
        self.file = file;
        self.length = 0;
        if let Some(sealing) = self.sealing.take() {
            note(sealing.wait());
        }
        match Sealing::start(&self.dir, full) {
            Ok(sealing) => self.sealing = Some(sealing),
            Err(error) => note(Err(error)),
        }
        Ok(())
    }

    /// Cuts off what is not acknowledged.
    pub(in crate::record) fn cut_back(&self) -> io::Result<()> {
        self.file.set_len(self.length)
    }

    /// Writes nothing more.
    pub(in crate::record) fn end(&mut self) {
        if let Some(sealing) = self.sealing.take() {
            note(sealing.end());
        }
    }
}

/// Rows are rows without a seal, and the next session makes it.
fn note(sealed: io::Result<()>) {
    if let Err(error) = sealed {
        tracing::warn!("cannot seal a file of rows: {error}");
    }
}
