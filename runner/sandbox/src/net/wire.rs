//! [`Wire`]: a connection that remembers whether it has ever worked.
//!
//! hyper repeats a request only if it knows that the server has read nothing of it. Servers often
//! close an idle connection while the next request is being written, so idempotent requests are
//! sent again over a new connection. A POST is not.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{Extensions, Response};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, Connection},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type HttpStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection that remembers whether it has ever worked.
pub(super) struct Wire {
    stream: HttpStream,
    has_worked: HasWorked,
    /// `None` if the connection is closed after its first response.
    kept: Option<OwnedSemaphorePermit>,
}

/// Whether a response has come over a connection. hyper attaches it to responses and errors.
#[derive(Clone, Default)]
struct HasWorked(Arc<AtomicBool>);

impl Wire {
    /// Wraps a connection. It is kept for further requests if `kept` has a permit.
    pub(super) fn new(stream: HttpStream, kept: Arc<Semaphore>) -> Self {
        Self { stream, has_worked: HasWorked::default(), kept: kept.try_acquire_owned().ok() }
    }

    /// Records that the connection of this response works.
    pub(super) fn mark_working<T>(response: &Response<T>) {
        if let Some(HasWorked(has_worked)) = response.extensions().get() {
            has_worked.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether a request failed because its connection had worked before and was closed
    /// meanwhile. The client notices most of those itself, but not those that are closed while it
    /// writes.
    pub(super) fn is_stale(error: &legacy::Error) -> bool {
        let mut known = Extensions::new();
        if let Some(connected) = error.connect_info() {
            connected.get_extras(&mut known);
        }
        let has_worked = known.get().is_some_and(|HasWorked(it)| it.load(Ordering::Relaxed));
        let cause = error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>());
        has_worked
            && cause.is_some_and(|cause| {
                let is_io = cause.source().is_some_and(|cause| cause.is::<io::Error>());
                cause.is_incomplete_message() || is_io
            })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected().extra(self.has_worked.clone());
        if self.kept.is_none() {
            connected.poison();
        }
        connected
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }
}
