//! `wasi:http`, with the policy, client, counts and limits of `http.send`, and with bounds on
//! unsent requests.

use std::sync::atomic::Ordering::Relaxed;
use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Body as _;
use hyper_util::client::legacy::connect::CaptureConnection;
use wasmtime::component::{Linker, Resource};
use wasmtime::{StoreContextMut, format_err};
use wasmtime_wasi::p2::{
    DynOutputStream, OutputStream, Pollable, StreamError, StreamResult, pipe::ClosedOutputStream,
};
use wasmtime_wasi::{WasiView as _, async_trait};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks, WasiHttpView,
    p2::{
        bindings::http::outgoing_handler::Host as _,
        bindings::http::types::{
            ErrorCode, Host as _, HostOutgoingBody as _, HostOutgoingRequest as _, Method,
        },
        body::HostOutgoingBody,
        types::HostOutgoingRequest as Unsent,
    },
};

use super::exchanges::{Exchanges, Ticket};
use super::failure::{Failure, MAX_HEAD, Step};
use super::request::{Admitted, MAX_METHOD_BYTES, Outbound, whole, within};
use super::{headers, journal::Asked};
use crate::{interrupt::Guard, store::Sandbox};

/// The interface, in the version of wasmtime's own functions.
const TYPES: &str = "wasi:http/types@0.2.12";
const OUTGOING: &str = "wasi:http/outgoing-handler@0.2.12";
const TYPES_0_3: &str = "wasi:http/types@0.3.0";
/// Bytes of one write to a request's body. The host holds twice as many for each body, and a guest
/// may have hundreds of bodies.
const MAX_CHUNK: usize = 8 * 1024;
/// Chunks of a body whose size has another bound.
const MAX_CHUNKS: usize = 1 << 24;
/// Bytes that a chunk takes in addition to its content.
const CHUNK_BYTES: u64 = 64;
/// Bytes of host and port of an unsent request. Long enough for all that the policy refuses with a
/// reason.
const MAX_AUTHORITY_BYTES: usize = 1024;
/// Bytes of path and query of an unsent request. Servers accept 8 KiB.
const MAX_PATH_BYTES: usize = 8 * 1024;

type Sent = Result<(Response<WasiBody>, Background), Error>;
/// Work during the reading of a body. Our client needs none.
type Background = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Replaces wasmtime's setters by ones that refuse long values. The host keeps a request until the
/// guest sends or drops it, a guest may have hundreds, and the policy checks none of them before. A
/// scheme has at most 64 bytes anyway.
pub(crate) fn shadow<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, T>, (request, method): (Resource<Unsent>, Method)| {
            if matches!(&method, Method::Other(text) if text.len() > MAX_METHOD_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, T>,
         (request, authority): (Resource<Unsent>, Option<String>)| {
            if authority.as_ref().is_some_and(|text| text.len() > MAX_AUTHORITY_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, T>, (request, path): (Resource<Unsent>, Option<String>)| {
            if path.as_ref().is_some_and(|text| text.len() > MAX_PATH_BYTES) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_path_with_query(request, path)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Replaces wasmtime's function that sends a request. It consumes the options of the request and leaves them in the guest's table,
/// so that a guest would run out of resources after some 250 requests.
pub(crate) fn shadow_handle<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(OUTGOING)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, T>,
         (request, options): (Resource<Unsent>, Option<Resource<RequestOptions>>)| {
            let mut http = store.data_mut().http();
            let consumed = options.as_ref().map(|options| Resource::new_own(options.rep()));
            let handled = http.handle(request, options);
            if let Some(options) = consumed {
                http.table.delete::<RequestOptions>(options)?;
            }
            Ok((match handled {
                Ok(response) => Ok(response),
                Err(error) => Err(http.convert_error_code(error)?),
            },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Like [`shadow`], for WASI 0.3.
pub(crate) fn shadow_0_3(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    use wasmtime_wasi_http::p3::Request;
    use wasmtime_wasi_http::p3::bindings::http::types::{HostRequest, Method};
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES_0_3)?;
    types.func_wrap(
        "[method]request.set-method",
        |mut store: StoreContextMut<'_, Sandbox>,
         (request, method): (Resource<Request>, Method)| {
            if matches!(&method, Method::Other(text) if text.len() > MAX_METHOD_BYTES) {
                return Ok((Err(()),));
            }
            Ok((HostRequest::set_method(&mut store.data_mut().http(), request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-authority",
        |mut store: StoreContextMut<'_, Sandbox>,
         (request, authority): (Resource<Request>, Option<String>)| {
            if authority.as_ref().is_some_and(|text| text.len() > MAX_AUTHORITY_BYTES) {
                return Ok((Err(()),));
            }
            Ok((HostRequest::set_authority(&mut store.data_mut().http(), request, authority)?,))
        },
    )?;
    types.func_wrap(
        "[method]request.set-path-with-query",
        |mut store: StoreContextMut<'_, Sandbox>,
         (request, path): (Resource<Request>, Option<String>)| {
            if path.as_ref().is_some_and(|text| text.len() > MAX_PATH_BYTES) {
                return Ok((Err(()),));
            }
            Ok((HostRequest::set_path_with_query(&mut store.data_mut().http(), request, path)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Replaces wasmtime's function that creates the stream of a request's body, for deterministic guests.
pub(crate) fn shadow_bodies(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(TYPES)?.func_wrap(
        "[method]outgoing-body.write",
        |mut store: StoreContextMut<'_, Sandbox>, (body,): (Resource<HostOutgoingBody>,)| {
            let sandbox = store.data_mut();
            let stream = sandbox.http().write(body)?;
            if let (Ok(stream), Some(one)) = (&stream, &sandbox.host.guard.determinism) {
                let exchanges = one.exchanges.clone();
                let place = sandbox.wasi.ctx().table.get_mut(stream)?;
                let inner = mem::replace(place, Box::new(ClosedOutputStream));
                *place = Box::new(CountedBody { inner, exchanges });
            }
            Ok((stream,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The stream of a request's body of a deterministic guest. Its writes never depend on how far the host is.
struct CountedBody {
    inner: DynOutputStream,
    exchanges: Exchanges,
}

impl OutputStream for CountedBody {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let length = bytes.len() as u64 + CHUNK_BYTES;
        let subtract = |left: u64| left.checked_sub(length);
        match self.exchanges.unsent().fetch_update(Relaxed, Relaxed, subtract) {
            Ok(_) => self.inner.write(bytes),
            Err(_) => Err(StreamError::LastOperationFailed(format_err!(
                "the requests have more bytes than `limits.journal` allows"
            ))),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }
}

#[async_trait]
impl Pollable for CountedBody {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

impl WasiHttpHooks for Outbound {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| headers::FORBIDDEN.contains(name))
    }

    /// The client sets it, from the URL as the policy has parsed it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _unread: Background,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.counts().calls += 1;
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        let exchanges = self.guard.determinism.as_ref().map(|one| one.exchanges.clone());
        let asked = exchanges.as_ref().map(|exchanges| {
            Asked::new(head.method.as_str(), &url, &head.headers, exchanges.redactor())
        });
        let admitted = self.admit(head.method.as_str(), &url, head.headers);
        let outbound = self.clone();
        let options = options.unwrap_or_default();
        if let (Some(exchanges), Some(asked)) = (exchanges, asked) {
            let ticket = exchanges.start(admitted.is_err(), asked);
            // Dropped now if it is refused: the guest sees that at its next write.
            let parts = admitted.map(|admitted| (admitted, body));
            return Box::new(async move {
                outbound.guard.halt_if_ended().await;
                let answer = answer(&outbound, ticket, parts, options).await;
                outbound.finish(answer)
            });
        }
        let open = admitted.as_ref().ok().map(|admitted| {
            let activity = &self.guard.activity;
            activity.open_request(admitted.peer.clone())
        });
        Box::new(async move {
            let _open = open;
            outbound.guard.halt_if_ended().await;
            let sent = match admitted {
                Ok(admitted) => send(&outbound, admitted, body, options).await,
                Err(failure) => Err(failure),
            };
            outbound.finish(sent)
        })
    }

    /// Unsent bytes count for no limit of memory, so there is one chunk. A deterministic guest always has room for another
    /// one, and its [`CountedBody`] bounds all.
    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        if self.guard.determinism.is_some() { MAX_CHUNKS } else { 1 }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        ErrorCode::InternalError(Some(error.to_string()))
    }
}

impl Outbound {
    fn finish<T>(&self, sent: Result<T, Failure>) -> Result<T, Error> {
        sent.map_err(|failure| {
            self.record_denial(&failure);
            failure.into()
        })
    }
}

/// Answers a request of a deterministic call: it is sent once its body is complete, and the guest sees a whole response.
async fn answer(
    outbound: &Outbound,
    mut ticket: Ticket,
    parts: Result<(Admitted, WasiBody), Failure>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Background), Failure> {
    let (admitted, body) = match parts {
        Ok(parts) => parts,
        Err(failure) => {
            ticket.due().await;
            return Err(failure);
        }
    };
    let body = body.collect().await.map(Collected::to_bytes);
    ticket.set_body(body.as_deref().unwrap_or_default());
    let live = async {
        let body = body.map_err(|_| Failure::Invalid("the request's body ended early".into()))?;
        let _open = outbound.guard.activity.open_request(admitted.peer.clone());
        outbound.counts().bytes_out += body.len() as u64;
        let whole = whole(body.clone());
        let (sent, connected) = outbound.send(admitted, whole, Some(body));
        let response = tokio::select! {
            biased;
            response = sent => response?,
            () = wait(&outbound.guard, connected, &options) => return Err(Failure::Timeout),
        };
        let between = options.between_bytes_timeout;
        outbound.read_whole(response.map(|body| body.with_timeout(&outbound.guard, between))).await
    };
    let live = async {
        let rest = outbound.guard.rest_of_tool();
        within(&outbound.guard, rest, live).await.unwrap_or(Err(Failure::Timeout))
    };
    let answer = ticket.answer(outbound.timed(live)).await;
    outbound.note_answer(&answer, shortest(&options));
    let answered = answer?;
    let mut response = Response::new(whole(answered.body));
    (*response.status_mut(), *response.headers_mut()) = (answered.status, answered.headers);
    Ok((response, Box::new(async { Ok(()) })))
}

async fn send(
    outbound: &Outbound,
    admitted: Admitted,
    body: WasiBody,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Background), Failure> {
    // Only a request without a body can be sent twice: the stream of a body is read once.
    let again = body.is_end_stream().then(Bytes::new);
    let traffic = outbound.traffic.clone();
    let counted = body.map_frame(move |frame| {
        traffic.counts().bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
        frame
    });
    let (sent, connected) = outbound.send(admitted, counted.boxed_unsync(), again);
    let response = tokio::select! {
        biased;
        response = sent => response,
        () = wait(&outbound.guard, connected, &options) => Err(Failure::Timeout),
    };
    outbound.traffic.note_end(response.as_ref().map(Response::status), shortest(&options));
    let response = response?.map(|body| {
        let body = body.with_timeout(&outbound.guard, options.between_bytes_timeout);
        body.map_err(Error::from).boxed_unsync()
    });
    Ok((response, Box::new(async { Ok(()) })))
}

/// Returns the shortest of the guest's own timeouts.
fn shortest(options: &RequestOptions) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options;
    [*connect_timeout, *first_byte_timeout, *between_bytes_timeout].into_iter().flatten().min()
}

/// Waits for the guest's own timeouts: first for the connection, then for the head of the response.
/// Never resolves without them.
async fn wait(guard: &Guard, mut connected: CaptureConnection, options: &RequestOptions) {
    let metadata = connected.wait_for_connection_metadata();
    let is_connected = within(guard, options.connect_timeout, metadata).await.is_some();
    if is_connected {
        match options.first_byte_timeout {
            Some(time) => guard.sleep(time).await,
            None => std::future::pending().await,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Denied(_) => Self::HttpRequestDenied,
            Failure::Unreachable { step, .. } => match step {
                Step::Lookup => Self::DnsError { rcode: Some(text), info_code: None },
                Step::Connect => Self::ConnectionRefused,
                Step::Tls => Self::TlsCertificateError,
                Step::Exchange => Self::ConnectionTerminated,
            },
            Failure::Timeout => Self::HttpResponseTimeout,
            Failure::LargeHead(_) => {
                Self::HttpResponseHeaderSectionSize(u32::try_from(MAX_HEAD).ok())
            }
            Failure::LargeBody { limit, .. } => Self::HttpResponseBodySize(Some(limit)),
            // There are no codes for these, and a text helps more than a wrong code.
            Failure::Invalid(_) | Failure::UsedUp(_) | Failure::Garbage(_) => {
                Self::InternalError(Some(text))
            }
        }
    }
}
