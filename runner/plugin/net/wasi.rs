//! `wasi:http` for guests that import it: the same policy, client, counts and limits as those of `http.send`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
    p2::bindings::http::types::ErrorCode,
};

use super::{
    failure::{ExchangeStep, Failure, MAX_HEAD},
    headers,
    outbound::{Admitted, Outbound, RequestBody},
    response::Incoming,
};
use crate::plugin::{
    clock::{sleep, within},
    sandbox::host::AttemptHost,
};

/// Where the guest sets no time, its deadline does.
const FOREVER: Duration = Duration::MAX;
/// Bytes that a guest can write at once to the body of a request; the host holds two times that for each body, and a
/// guest can have hundreds of them.
const MAX_CHUNK: usize = 8 * 1024;

type Sent = Result<(Response<WasiBody>, Background), Error>;
/// What is left to do for a response while its body is read; nothing, as the client does it.
type Background = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for AttemptHost {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| headers::FORBIDDEN.contains(name))
    }

    /// The client does, with the URL as the policy has read it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _unread: Background,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.calls += 1;
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let admitted = self
            .outbound
            .admit(head.method.as_str(), &url, head.headers, &self.secrets);
        let outbound = self.outbound.clone();
        let options = options.unwrap_or_default();
        let open = admitted.as_ref().ok().and_then(|admitted| {
            let peer = || admitted.peer.clone();
            self.guard().activity.request(peer)
        });
        Box::new(async move {
            let _open = open;
            let sent = match admitted {
                Ok(admitted) => send(&outbound, admitted, body, options).await,
                Err(failure) => Err(failure),
            };
            sent.map_err(|failure| {
                outbound.note(&failure);
                failure.into()
            })
        })
    }

    /// What a guest has written and nobody has sent yet counts for no limit of memory, so there is little of it.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(error.to_string()))
    }
}

/// The body of a response whose guest waits only so long for each part.
struct TimedBody {
    body: Incoming,
    pause: Duration,
    /// Ends when the guest has waited for so long.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl TimedBody {
    fn new(body: Incoming, pause: Duration) -> Self {
        Self {
            body,
            pause,
            end: Box::pin(sleep(pause)),
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.end = Box::pin(sleep(this.pause));
            return Poll::Ready(frame);
        }
        this.end
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(Failure::Timeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Denied(_) => Self::HttpRequestDenied,
            Failure::Unreachable { step, .. } => match step {
                ExchangeStep::Lookup => Self::DnsError {
                    rcode: Some(text),
                    info_code: None,
                },
                ExchangeStep::Connect => Self::ConnectionRefused,
                ExchangeStep::Tls => Self::TlsCertificateError,
                ExchangeStep::Exchange => Self::ConnectionTerminated,
            },
            Failure::Timeout => Self::HttpResponseTimeout,
            Failure::LargeHead(_) => {
                Self::HttpResponseHeaderSectionSize(u32::try_from(MAX_HEAD).ok())
            }
            Failure::LargeBody { limit, .. } => Self::HttpResponseBodySize(Some(limit)),
            // There are no codes for these, but a text is better than a code.
            Failure::Invalid(_) | Failure::TooMany(_) | Failure::Garbage(_) => {
                Self::InternalError(Some(text))
            }
        }
    }
}

async fn send(
    outbound: &Outbound,
    admitted: Admitted,
    body: WasiBody,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Background), Failure> {
    let traffic = Arc::clone(&outbound.traffic);
    let counted = body.map_frame(move |frame| {
        traffic.count_out(frame.data_ref().map_or(0, Bytes::len));
        frame
    });
    let (sent, connected) = outbound.send(admitted, RequestBody::Streamed(counted.boxed_unsync()));
    let response = tokio::select! {
        biased;
        response = sent => response?,
        () = wait(connected, options) => return Err(Failure::Timeout),
    };

    let pause = options.between_bytes_timeout.unwrap_or(FOREVER);
    let response = response.map(|body| {
        TimedBody::new(body, pause)
            .map_err(Error::from)
            .boxed_unsync()
    });
    Ok((response, Box::new(async { Ok(()) })))
}

/// As long as the guest waits for a connection and then for the head of the response.
async fn wait(mut connected: CaptureConnection, options: RequestOptions) {
    let connecting = options.connect_timeout.unwrap_or(FOREVER);
    let connected = connected.wait_for_connection_metadata();
    if within(connecting, connected).await.is_some() {
        sleep(options.first_byte_timeout.unwrap_or(FOREVER)).await;
    }
}
