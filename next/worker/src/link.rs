//! The socket between a worker and its supervisor: frames in, and frames out in one buffer that is used again.

use std::{
    io::{self, ErrorKind, Write as _},
    os::unix::net::UnixStream,
};

use runner_model::{
    TaskId,
    protocol::{FrameBuffer, FromWorker, ToWorker, encode_report},
};

use crate::report::AttemptReport;

/// Bytes that may wait for others.
const MOST_WAITING: usize = 1 << 20;

/// Reads what the supervisor says.
pub struct Incoming {
    stream: UnixStream,
    frames: FrameBuffer<ToWorker>,
}

/// Writes what the worker says.
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

    /// The socket, whose read timeout decides how long [`Self::next`] waits.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The next frame; `None` if none has come before the socket's read timeout.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` at the end; a frame that cannot be; a socket that cannot be read.
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

    /// Sends a frame, and all that waits before it.
    pub fn say(&mut self, message: &FromWorker) -> io::Result<()> {
        message.encode(&mut self.buffer);
        self.send()
    }

    /// Adds a report to those that wait, and sends them if they are as many as `batch`, or large.
    pub fn report(&mut self, task: TaskId, report: &AttemptReport, batch: usize) -> io::Result<()> {
        let head = report.head(task);
        encode_report(&head, &report.row, &report.said, &mut self.buffer);
        self.waiting += 1;
        if self.waiting >= batch || self.buffer.len() > MOST_WAITING {
            self.send()?;
        }
        Ok(())
    }

    /// Sends the reports that wait.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting > 0 {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        self.waiting = 0;
        let sent = self.stream.write_all(&self.buffer);
        self.buffer.clear();
        // One large artifact needs no memory for ever.
        self.buffer.shrink_to(2 * MOST_WAITING);
        sent
    }
}
