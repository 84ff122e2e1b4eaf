//! The socket between a worker and its supervisor: frames in, and frames out in one buffer that is used again.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use runner_model::{
    TaskId,
    protocol::{FromWorker, PREFIX, Sender, ToWorker, encode_report, read_prefix},
};

use crate::report::Report;

/// Bytes that one read takes off the socket.
const READ: usize = 64 << 10;
/// Bytes that may wait for others.
const MOST_WAITING: usize = 1 << 20;

/// Reads what the supervisor says.
pub struct Incoming {
    stream: UnixStream,
    /// What has come and was not taken.
    bytes: Vec<u8>,
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
        Self { stream, bytes: Vec::new() }
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
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let length = self.bytes.len();
            self.bytes.resize(length + READ, 0);
            let read = self.stream.read(&mut self.bytes[length..]);
            self.bytes.truncate(length + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a frame that is there as a whole.
    fn take(&mut self) -> io::Result<Option<ToWorker>> {
        let bad = |error| io::Error::new(ErrorKind::InvalidData, error);
        let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let (kind, length) = read_prefix(*prefix, Sender::Supervisor).map_err(bad)?;
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        let message = ToWorker::decode(kind, content).map_err(bad)?;
        self.bytes.drain(..PREFIX + length);
        Ok(Some(message))
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
    pub fn report(&mut self, task: TaskId, report: &Report, batch: usize) -> io::Result<()> {
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
