//! [`CountedStream`]: a stream into a file that counts all writes. [`FileReader`]: a stream from a
//! file that is always ready.

use std::sync::{Arc, PoisonError};
use std::{fs::File, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use runner_model::HostFault;
use rustix::io::Errno;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use super::quota::{Quota, cost};
use super::workspace::attempt::SharedFile;
use crate::host_fault::fault_in;

/// Bytes of one write. The host holds them for each open stream of a guest.
pub(super) const MAX_WRITE: usize = 64 * 1024;

/// Bytes of one read.
pub(super) const MAX_READ: usize = 64 * 1024;

/// A stream into a file.
pub(super) struct CountedStream {
    /// `None` to write within the guest's call.
    inner: Option<DynOutputStream>,
    file: Arc<File>,
    /// Position of the next byte. `None` for a stream that appends.
    position: Option<u64>,
    quota: Quota,
    is_closed: bool,
}

impl CountedStream {
    /// Wraps a stream into `file` that writes at `position`, or always at the end.
    pub(super) fn new(
        inner: Option<DynOutputStream>,
        file: Arc<File>,
        position: Option<u64>,
        quota: Quota,
    ) -> Self {
        Self { inner, file, position, quota, is_closed: false }
    }

    /// Records a full disk.
    fn note_full_disk<T>(&self, result: StreamResult<T>) -> StreamResult<T> {
        if let Err(StreamError::LastOperationFailed(error)) = &result
            && fault_in(error) == Some(HostFault::Storage)
        {
            self.quota.set_disk_full();
        }
        result
    }

    /// Charges and writes `bytes` within the guest's call.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> StreamResult<()> {
        let at = self.position;
        self.count(bytes.len() as u64)?;
        let written = match at {
            Some(at) => self.file.write_all_at(bytes, at),
            // Only this guest writes to its files.
            None => {
                let end = self.file.metadata().map(|file| file.len());
                end.and_then(|end| self.file.write_all_at(bytes, end))
            }
        };
        self.is_closed = written.is_err();
        self.note_full_disk(written.map_err(failed))
    }

    /// Charges the next `bytes`. Without enough quota, the stream ends here.
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
        // A later failure is reported to the guest only.
        self.quota.add_written(bytes);
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
        if self.inner.is_none() {
            return self.write_now(&bytes);
        }
        self.count(bytes.len() as u64)?;
        self.inner.as_mut().map_or(Ok(()), |inner| inner.write(bytes))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        if self.inner.is_none() {
            return self.write_now(&bytes);
        }
        self.count(bytes.len() as u64)?;
        let Some(inner) = &mut self.inner else { return Ok(()) };
        let written = inner.blocking_write_and_flush(bytes).await;
        self.note_full_disk(written)
    }

    fn flush(&mut self) -> StreamResult<()> {
        let flushed = self.inner.as_mut().map_or(Ok(()), |inner| inner.flush());
        self.note_full_disk(flushed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let room = self.inner.as_mut().map_or(Ok(MAX_WRITE), |inner| inner.check_write());
        let room = room.map(|room| room.min(MAX_WRITE));
        self.note_full_disk(room)
    }

    async fn cancel(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.cancel().await;
        }
    }
}

#[async_trait]
impl Pollable for CountedStream {
    async fn ready(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.ready().await;
        }
    }
}

/// A stream from a file, which reads within the guest's call.
pub(super) struct FileReader {
    file: SharedFile,
    position: u64,
    is_closed: bool,
}

impl FileReader {
    pub(super) fn new(file: SharedFile, position: u64) -> Self {
        Self { file, position, is_closed: false }
    }
}

#[async_trait]
impl InputStream for FileReader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let mut bytes = vec![0; size.min(MAX_READ)];
        let file = Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner));
        let read = file.read_at(&mut bytes, self.position);
        self.is_closed = size > 0 && !matches!(read, Ok(1..));
        let read = read.map_err(failed)?;
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        bytes.truncate(read);
        self.position += read as u64;
        Ok(bytes.into())
    }
}

#[async_trait]
impl Pollable for FileReader {
    async fn ready(&mut self) {}
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}
