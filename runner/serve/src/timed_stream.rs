//! [`TimedStream`]: a connection that ends if its reader takes no bytes for some time.

use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll, ready};
use std::{pin::Pin, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(crate) struct TimedStream<S> {
    stream: S,
    /// Time in which the reader must take the next bytes.
    limit: Duration,
    /// The end of the current wait for the reader.
    wait: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedStream<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, wait: None }
    }

    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.wait = None;
            return result;
        }
        let limit = self.limit;
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(wait.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.bounded(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::sleep;

    use super::TimedStream;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Writes 8 bytes to a reader that takes one of them each `pause`.
    fn write(pause: Duration) -> Result<(), ErrorKind> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = duplex(1);
            let reader = tokio::spawn(async move {
                while far.read_u8().await.is_ok() {
                    sleep(pause).await;
                }
            });
            let written = TimedStream::new(near, LIMIT).write_all(b"12345678").await;
            reader.abort();
            written.map_err(|error| error.kind())
        })
    }

    #[test]
    fn only_readers_that_take_nothing_are_cut_off() {
        assert_eq!(write(Duration::from_secs(600)), Err(ErrorKind::TimedOut));
        // All bytes together take longer than the limit. A machine that stands still looks like a reader that takes nothing.
        assert!((0..5).any(|_| write(LIMIT / 4) == Ok(())));
    }
}
