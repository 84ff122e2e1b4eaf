//! [`CountedStream`]: a stream into a file with everything that is written counted. [`Listing`]: the names in a folder,
//! read a few at a time.

use std::{collections::VecDeque, ffi::CStr, fs::File, io, sync::Arc};

use bytes::Bytes;
use runner_model::HostFault;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use wasmtime_wasi::{
    async_trait,
    p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use super::{
    blocking,
    quota::{Quota, cost},
};
use crate::call::classify::host_fault::fault_in;

/// Bytes of one write into a stream. They are held until they are written, for each stream that a guest has open.
const MAX_WRITE: usize = 64 * 1024;
/// How many names of a folder are read at once.
const NAMES_AT_ONCE: usize = 64;

/// A stream into a file.
pub(super) struct CountedStream {
    inner: DynOutputStream,
    file: Arc<File>,
    /// Where the next byte goes; none where that is always the end.
    position: Option<u64>,
    quota: Quota,
    is_closed: bool,
}

/// A folder that is being read. It is one of a guest's open files.
///
/// wasmtime's own reads all names when a folder is opened for reading, and keeps them: a hundred open folders of a guest
/// would be gigabytes.
pub(super) struct Listing {
    /// None at the end, and while a thread reads.
    dir: Option<Dir>,
    read: VecDeque<io::Result<FolderEntry>>,
}

/// What is in a folder.
pub(super) struct FolderEntry {
    /// Whatever bytes the system allows.
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

impl CountedStream {
    /// Puts itself before a stream into `file`, in which the next byte goes to `position`, or always to the end.
    pub(super) fn new(
        inner: DynOutputStream,
        file: Arc<File>,
        position: Option<u64>,
        quota: Quota,
    ) -> Self {
        Self {
            inner,
            file,
            position,
            quota,
            is_closed: false,
        }
    }

    /// Notes a disk that is full.
    fn noted<T>(&self, result: StreamResult<T>) -> StreamResult<T> {
        if let Err(StreamError::LastOperationFailed(error)) = &result
            && fault_in(error) == Some(HostFault::Storage)
        {
            self.quota.disk_is_full();
        }
        result
    }

    /// Takes what the next `bytes` cost; without enough left the stream ends here.
    fn count(&mut self, bytes: u64) -> StreamResult<()> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let cost = match self.position {
            None => bytes,
            Some(position) => {
                let file = self.file.metadata().map_err(failed)?;
                cost(bytes, position, file.len())
            }
        };
        if !self.quota.charge(cost) {
            self.is_closed = true;
            return Err(failed(Errno::NOSPC.into()));
        }
        // Whether they arrive is seen later, and by the guest alone.
        self.quota.wrote(bytes);
        self.position = self.position.map(|position| position.saturating_add(bytes));
        Ok(())
    }
}

#[async_trait]
impl OutputStream for CountedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_WRITE {
            return Err(StreamError::Trap(wasmtime::format_err!(
                "a write of {} bytes where {MAX_WRITE} are allowed",
                bytes.len()
            )));
        }
        self.count(bytes.len() as u64)?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.inner.ready().await;
        self.count(bytes.len() as u64)?;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.noted(written)
    }

    fn flush(&mut self) -> StreamResult<()> {
        let flushed = self.inner.flush();
        self.noted(flushed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let room = self.inner.check_write().map(|room| room.min(MAX_WRITE));
        self.noted(room)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for CountedStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

impl Listing {
    /// Opens a folder for reading, from its beginning.
    pub(super) async fn open(folder: &Arc<File>) -> io::Result<Self> {
        let folder = Arc::clone(folder);
        let open = move || {
            // Not `Dir::read_from`: what a guest has open may be good for finding names alone.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Dir::new(openat(&*folder, ".", flags, Mode::empty())?)
        };
        Ok(Self {
            dir: Some(blocking(open).await?),
            read: VecDeque::new(),
        })
    }

    /// The next entry but `.` and `..`; none at the end.
    pub(super) async fn next(&mut self) -> Option<io::Result<FolderEntry>> {
        if self.read.is_empty()
            && let Some(dir) = self.dir.take()
        {
            (self.dir, self.read) = blocking(move || read_some(dir)).await;
        }
        self.read.pop_front()
    }
}

/// Reads the next entries; gives the folder back if there may be more.
fn read_some(mut dir: Dir) -> (Option<Dir>, VecDeque<io::Result<FolderEntry>>) {
    let mut read = VecDeque::new();
    while read.len() < NAMES_AT_ONCE {
        let entry = match dir.read() {
            None => return (None, read),
            Some(Err(error)) => {
                read.push_back(Err(error.into()));
                return (None, read);
            }
            Some(Ok(entry)) => entry,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not keep it beside the name.
            FileType::Unknown => kind(&dir, name),
            kind => kind,
        };
        read.push_back(Ok(FolderEntry {
            name: name.to_bytes().to_vec(),
            kind,
        }));
    }
    (Some(dir), read)
}

fn kind(dir: &Dir, name: &CStr) -> FileType {
    let found = dir
        .fd()
        .and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW));
    found.map_or(FileType::Unknown, |found| {
        FileType::from_raw_mode(found.st_mode)
    })
}
