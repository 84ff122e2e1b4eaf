//! Sealing the files of rows that are full: how many lines they have, and what they hash to, is written down beside them.

use std::{
    io::{self, Read as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    model::Digest,
    record::{
        disk::{durable, layout::RunDir, regular},
        format::row_seal::RowSeal,
    },
};

/// How many bytes a file of rows gets before the next one is begun.
pub(in crate::record) const FULL_BYTES: u64 = 1 << 30;
/// How much of a file is hashed between two looks at whether anybody waits.
const BLOCK_BYTES: usize = 1 << 20;
/// How long the end of a session waits for a seal; the next session makes what is missing.
const PATIENCE: Duration = Duration::from_millis(100);

/// Seals those files of a run before the last one that are not; nobody else may write in it.
pub(in crate::record) fn seal_all(dir: &RunDir, last: u32) -> io::Result<()> {
    for number in 1..last {
        if !dir.row_seal(number).exists() {
            seal(dir, number, &AtomicBool::new(false))?;
        }
    }
    Ok(())
}

/// What a file of rows is; `None` if it `is_enough` meanwhile.
pub(in crate::record) fn look(path: &Path, is_enough: &AtomicBool) -> io::Result<Option<RowSeal>> {
    let mut file = regular::open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut hasher = Sha256::new();
    let (mut lines, mut bytes) = (0, 0);
    loop {
        if is_enough.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(Some(RowSeal::new(lines, bytes, Digest::finish(hasher))));
        }
        let block = &block[..read];
        hasher.update(block);
        lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        bytes += read as u64;
    }
}

fn seal(dir: &RunDir, number: u32, is_enough: &AtomicBool) -> io::Result<()> {
    match look(&dir.row_file(number), is_enough)? {
        Some(seal) => durable::replace(&dir.row_seal(number), &seal.encode(), "seal"),
        None => Ok(()),
    }
}

/// A file that is being sealed while rows go into the next one.
pub(in crate::record) struct Sealing {
    thread: Option<JoinHandle<()>>,
    sealed: Receiver<io::Result<()>>,
    is_enough: Arc<AtomicBool>,
}

impl Sealing {
    pub(in crate::record) fn start(dir: &RunDir, number: u32) -> io::Result<Self> {
        let is_enough = Arc::new(AtomicBool::new(false));
        let (sender, sealed) = channel();
        let (dir, enough) = (dir.clone(), Arc::clone(&is_enough));
        let thread = thread::Builder::new()
            .name("seal".into())
            // Nobody hears of it who has gone.
            .spawn(move || drop(sender.send(seal(&dir, number, &enough))))?;
        Ok(Self {
            thread: Some(thread),
            sealed,
            is_enough,
        })
    }

    /// Waits until it is sealed.
    pub(in crate::record) fn wait(self) -> io::Result<()> {
        self.sealed.recv().unwrap_or(Ok(()))
    }

    /// Waits a moment for it, and no longer: rows need no seal.
    pub(in crate::record) fn end(self) -> io::Result<()> {
        self.sealed.recv_timeout(PATIENCE).unwrap_or(Ok(()))
    }
}

/// Nothing is written once this is dropped.
impl Drop for Sealing {
    fn drop(&mut self) {
        self.is_enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that seals rows has panicked");
        }
    }
}
