//! Messages over a socket, one piece at a time.

use std::{io, sync::Arc};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use tokio::net::UnixStream;

use super::wire::FrameBuffer;

/// How much is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// One end of the socket between the runner and a worker.
pub(super) struct Socket {
    pub(super) stream: Arc<UnixStream>,
    piece: Box<[u8]>,
}

impl Socket {
    /// Needs a runtime around it.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be waited for.
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: Arc::new(UnixStream::from_std(stream)?),
            piece: vec![0; PIECE_BYTES].into(),
        })
    }

    /// Waits for something to come; `false` says that nothing more will. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// Fails if the other side is gone.
    pub(super) async fn fill(&mut self, buffer: &mut FrameBuffer) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.piece) {
                Ok(read) => {
                    buffer.fill(&self.piece[..read]);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends all of a message, or of several.
///
/// # Errors
///
/// Fails if the other side is gone.
pub(super) async fn send(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The same without the runtime, for who has nothing else to do meanwhile.
///
/// # Errors
///
/// Fails if the other side is gone.
pub(super) fn send_now(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(stream, PollFlags::OUT)];
                match rustix::event::poll(&mut room, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
