//! The socket between a worker and its supervisor: frames in, and frames out through one reused buffer.

use std::io::{self, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;

use runner_model::TaskId;
use runner_model::protocol::{FrameBuffer, FromWorker, ToWorker, encode_report};

use crate::report::AttemptReport;

/// Bytes of reports that may wait in one batch.
const MAX_WAITING: usize = 1 << 20;

/// Receives frames from the supervisor.
pub struct Incoming {
    stream: UnixStream,
    frames: FrameBuffer<ToWorker>,
}

/// Sends frames to the supervisor.
pub struct Outgoing {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Reports in the buffer.
    waiting: usize,
}

impl Incoming {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, frames: FrameBuffer::default() }
    }

    /// Returns the socket. Its read timeout bounds [`Self::next`].
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Receives the next frame. `None` if the socket's read timeout has passed.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` at the socket's end, a bad frame, or a failed read.
    pub fn next(&mut self) -> io::Result<Option<ToWorker>> {
        loop {
            let next = self.frames.next();
            if let Some(message) =
                next.map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?
            {
                return Ok(Some(message));
            }
            match self.frames.fill(&self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Outgoing {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), waiting: 0 }
    }

    /// Sends the batched reports, then a frame.
    pub fn send(&mut self, message: &FromWorker) -> io::Result<()> {
        message.encode(&mut self.buffer);
        self.write()
    }

    /// Adds a report to the batch. Sends the batch once it has `batch` reports or more than 1 MiB.
    pub fn report(&mut self, task: TaskId, report: &AttemptReport, batch: usize) -> io::Result<()> {
        let head = report.head(task);
        encode_report(&head, &report.row, &report.said, &mut self.buffer);
        self.waiting += 1;
        if self.waiting >= batch || self.buffer.len() > MAX_WAITING {
            self.write()?;
        }
        Ok(())
    }

    /// Sends the batched reports.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting > 0 {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.waiting = 0;
        let written = self.stream.write_all(&self.buffer);
        self.buffer.clear();
        // Otherwise one large frame would occupy its memory until the worker ends.
        self.buffer.shrink_to(2 * MAX_WAITING);
        written
    }
}
