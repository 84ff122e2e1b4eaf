//! [`CountedStream`]: a stream into a file that counts all writes.

use std::{fs::File, io, sync::Arc};

use bytes::Bytes;
use runner_model::HostFault;
use rustix::io::Errno;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::quota::{Quota, cost};
use crate::host_fault::fault_in;

/// Bytes of one write. The host holds them for each open stream of a guest.
const MAX_WRITE: usize = 64 * 1024;

/// A stream into a file.
pub(super) struct CountedStream {
    inner: DynOutputStream,
    file: Arc<File>,
    /// Position of the next byte. `None` for a stream that appends.
    position: Option<u64>,
    quota: Quota,
    is_closed: bool,
}

impl CountedStream {
    /// Wraps a stream into `file` that writes at `position`, or always at the end.
    pub(super) fn new(
        inner: DynOutputStream,
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
        self.count(bytes.len() as u64)?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.inner.ready().await;
        self.count(bytes.len() as u64)?;
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.note_full_disk(written)
    }

    fn flush(&mut self) -> StreamResult<()> {
        let flushed = self.inner.flush();
        self.note_full_disk(flushed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.is_closed {
            return Err(StreamError::Closed);
        }
        let room = self.inner.check_write().map(|room| room.min(MAX_WRITE));
        self.note_full_disk(room)
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
