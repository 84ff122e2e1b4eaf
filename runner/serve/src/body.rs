//! The body of a response that a thread or a task writes piece by piece.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces that wait for a slow reader. One, because a piece with a long row has 1 MiB, and hundreds of readers may be slow.
const MAX_WAITING: usize = 1;

/// Bytes of a written piece.
const PIECE: usize = 64 << 10;

/// Sends the pieces of a body. An error ends the connection early, so that clients notice that the body is incomplete.
pub(crate) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// Creates a body, and the sender of its pieces. The body ends when the sender is dropped.
pub(crate) fn channel() -> (Pieces, Body) {
    let (pieces, received) = mpsc::channel(MAX_WAITING);
    (pieces, Body::new(PieceBody(received)))
}

struct PieceBody(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for PieceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Creates a body that `write` writes on a thread that may block. Must run in a runtime.
pub(crate) fn write_body(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Body {
    let (pieces, body) = channel();
    tokio::task::spawn_blocking(move || {
        let mut writer = BufWriter::with_capacity(PIECE, PieceWriter(&pieces));
        if let Err(error) = write(&mut writer).and_then(|()| writer.flush()) {
            // The client may be gone.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    body
}

struct PieceWriter<'a>(&'a Pieces);

impl Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let length = piece.len();
        let sent = self.0.blocking_send(Ok(piece));
        sent.map(|()| length).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
