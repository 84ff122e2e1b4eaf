//! [`channel`]: the body of a response that a thread or a task writes piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces that wait for a slow reader. One, because a piece with a long row has 1 MiB, and hundreds of readers may be slow.
const MAX_WAITING: usize = 1;

/// Writes the pieces of a body, each of at most 64 KiB. An error ends the connection, so that no client takes a part for the whole.
pub(crate) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// Creates a body, and the sender of its pieces. The body ends when the sender is dropped.
pub(crate) fn channel() -> (Pieces, Body) {
    let (pieces, received) = mpsc::channel(MAX_WAITING);
    (pieces, Body::new(Received(received)))
}

struct Received(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
