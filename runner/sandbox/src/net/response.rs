//! [`Incoming`]: the body of a response, up to its limit.

use std::task::{Context, Poll};
use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{self, Body, Frame, SizeHint};

use super::{failure::Failure, headers, network::Traffic};
use crate::{Redactor, Stream, interrupt::Guard};

/// The body of a response. Counts its bytes, and fails at its limit.
pub(super) struct Incoming {
    body: body::Incoming,
    origin: String,
    limit: u64,
    /// Bytes until the limit.
    left: u64,
    traffic: Traffic,
    /// Redacts the secrets that the guest never sees.
    stream: Option<Stream>,
    /// Trailers, while data before them is held back.
    trailers: Option<HeaderMap>,
    is_over: bool,
    timeout: Option<ReadTimeout>,
}

/// The guest's timeout for each part of a body.
struct ReadTimeout {
    duration: Duration,
    guard: Guard,
    /// Created when the guest has to wait. Resolves after `duration`.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Incoming {
    /// Wraps a body, unless its length is beyond the limit.
    pub(super) fn new(
        body: body::Incoming,
        origin: String,
        limit: u64,
        traffic: Traffic,
        unseen: Option<&Arc<Redactor>>,
    ) -> Result<Self, Failure> {
        if body.size_hint().lower() > limit {
            return Err(Failure::large_body(&origin, limit));
        }
        Ok(Self {
            body,
            origin,
            limit,
            left: limit,
            traffic,
            stream: unseen.map(Redactor::stream),
            trailers: None,
            is_over: false,
            timeout: None,
        })
    }

    /// Sets the guest's timeout for each part.
    pub(super) fn with_timeout(mut self, guard: &Guard, duration: Option<Duration>) -> Self {
        self.timeout =
            duration.map(|duration| ReadTimeout { duration, guard: guard.clone(), end: None });
        self
    }

    /// Resolves when the guest's timeout has passed.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(ReadTimeout { duration, guard, end }) = &mut self.timeout else {
            return Poll::Pending;
        };
        let end = end.get_or_insert_with(|| {
            let guard = guard.clone();
            let duration = *duration;
            Box::pin(async move { guard.sleep(duration).await })
        });
        end.as_mut().poll(context)
    }

    /// Returns the held data and then the trailers, after the end of the body.
    fn rest(&mut self) -> Option<Frame<Bytes>> {
        let held = self.stream.as_mut().map(Stream::end).unwrap_or_default();
        if !held.is_empty() {
            return Some(Frame::data(held.into()));
        }
        self.trailers.take().map(Frame::trailers)
    }

    fn poll_part(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if self.is_over {
                return Poll::Ready(self.rest().map(Ok));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    return self.poll_timeout(context).map(|()| Some(Err(Failure::Timeout)));
                }
            };
            if let Some(timeout) = &mut self.timeout {
                timeout.end = None;
            }
            let Some(frame) = frame else {
                self.is_over = true;
                continue;
            };
            let frame = frame.map_err(|error| Failure::from_exchange(&self.origin, &error))?;
            self.count(&frame)?;
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(Some(Ok(frame)));
            };
            match frame.into_data() {
                Ok(data) => {
                    let data = stream.push(&data);
                    // All of it may be held back.
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data.into()))));
                    }
                }
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        headers::redact(&mut trailers, stream.redactor());
                        self.trailers = Some(trailers);
                    }
                    self.is_over = true;
                }
            }
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) -> Result<(), Failure> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.traffic.counts().bytes_in += bytes;
        let left = self.left.checked_sub(bytes);
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
        let polled = self.poll_part(context);
        if let Poll::Ready(Some(Err(failure))) = &polled {
            let timeout = self.timeout.as_ref().map(|timeout| timeout.duration);
            self.traffic.note_end(Err(failure), timeout);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let holds = self.stream.as_ref().is_some_and(Stream::holds);
        !holds && self.trailers.is_none() && (self.is_over || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self.stream {
            // A mark may be shorter or longer than its secret, so the length is unknown.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
