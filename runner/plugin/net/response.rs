//! [`Incoming`]: the body of a response, which ends where its limit is.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{self, Body, Frame, SizeHint};

use super::{Failure, Traffic};

/// The body of a response. It counts what comes, and reads on no further than its limit.
pub(super) struct Incoming {
    body: body::Incoming,
    origin: String,
    limit: u64,
    /// How much may still come.
    left: u64,
    traffic: Arc<Traffic>,
}

impl Incoming {
    /// Takes a body, unless it says by itself that it is too large.
    pub(super) fn new(
        body: body::Incoming,
        origin: String,
        limit: u64,
        traffic: &Arc<Traffic>,
    ) -> Result<Self, Failure> {
        if body.size_hint().lower() > limit {
            return Err(Failure::large_body(&origin, limit));
        }
        Ok(Self {
            body,
            origin,
            limit,
            left: limit,
            traffic: Arc::clone(traffic),
        })
    }

    /// Reads all of it.
    pub(super) async fn read(mut self) -> Result<Vec<u8>, Failure> {
        let mut content = Vec::new();
        while let Some(frame) = self.frame().await {
            // Trailers are no data.
            if let Ok(data) = frame?.into_data() {
                content.extend_from_slice(&data);
            }
        }
        Ok(content)
    }

    fn take(&mut self, frame: &Frame<Bytes>) -> Result<(), Failure> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.traffic.count_in(bytes);
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| Failure::large_body(&self.origin, self.limit))?;
        Ok(())
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let frame = frame.map(|frame| {
            let frame = frame.map_err(|error| Failure::of_exchange(&self.origin, &error))?;
            self.take(&frame)?;
            Ok(frame)
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
