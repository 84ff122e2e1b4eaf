//! [`MergedRows`]: the files of rows of the merged run.

use std::{
    io::{self, BufWriter, Write as _},
    panic::resume_unwind,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use fs_err::{File, OpenOptions};

use crate::{
    model::lines_of,
    record::{
        disk::{durable, layout::RunDir, modes},
        failpoint,
        writing::sealing,
    },
};

/// How much of the rows waits in memory to be written.
const WAITING_BYTES: usize = 1 << 20;
/// After how many bytes the disk is to begin with them: at the end nothing could be done meanwhile.
const SYNC_BYTES: u64 = 64 << 20;

/// Writes rows into one file after the other, as a session does.
pub(super) struct MergedRows {
    dir: RunDir,
    number: u32,
    file: BufWriter<File>,
    length: u64,
    full: u64,
    /// How much was written since the disk was told of it.
    unsynced: u64,
    syncing: Syncing,
}

impl MergedRows {
    pub(super) fn begin(dir: &RunDir) -> io::Result<Self> {
        Ok(Self {
            dir: dir.clone(),
            number: 1,
            file: create(dir, 1)?,
            length: 0,
            full: failpoint::full_bytes().unwrap_or(sealing::FULL_BYTES),
            unsynced: 0,
            syncing: Syncing::start()?,
        })
    }

    /// Adds lines, each with its newline.
    pub(super) fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length + lines.len() as u64 <= self.full {
            return self.write(lines);
        }
        for line in lines_of(lines) {
            if self.length >= self.full {
                self.begin_next()?;
            }
            self.write(line)?;
        }
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        self.number += 1;
        let next = create(&self.dir, self.number)?;
        self.syncing
            .sync(written(std::mem::replace(&mut self.file, next))?);
        (self.length, self.unsynced) = (0, 0);
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.length += lines.len() as u64;
        self.unsynced += lines.len() as u64;
        self.file.write_all(lines)?;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.syncing.begin(self.file.get_ref())?;
        }
        Ok(())
    }

    /// Makes sure that all of them are on disk, and seals those that are full.
    pub(super) fn finish(self) -> io::Result<()> {
        self.syncing.sync(written(self.file)?);
        self.syncing.finish()?;
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

fn written(file: BufWriter<File>) -> io::Result<File> {
    file.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Makes files durable on a thread of its own, while more rows are written.
struct Syncing {
    files: SyncSender<File>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncing {
    fn start() -> io::Result<Self> {
        let (files, waiting) = sync_channel::<File>(1);
        let sync = move || waiting.iter().try_for_each(|file| durable::sync(&file));
        let thread = thread::Builder::new().name("sync".into()).spawn(sync)?;
        Ok(Self { files, thread })
    }

    /// Begins with what is in a file, if nothing else waits.
    fn begin(&self, file: &File) -> io::Result<()> {
        // Whoever syncs the rest comes to the same.
        drop(self.files.try_send(file.try_clone()?));
        Ok(())
    }

    /// Syncs a file of which nothing more is written.
    fn sync(&self, file: File) {
        // Nobody takes it any more where a sync has failed, which `finish` tells.
        drop(self.files.send(file));
    }

    /// Waits until all is on disk.
    fn finish(self) -> io::Result<()> {
        drop(self.files);
        self.thread
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    }
}
