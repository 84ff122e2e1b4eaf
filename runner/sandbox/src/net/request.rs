//! [`Outbound`]: the requests of one attempt, over either interface. [`post`] posts the document of a
//! webhook, outside of any guest.
//!
//! A request is decided on before any part of it is sent, in this order: method, URL, grant,
//! secrets, URI, count. No secret is filled in, and no request counted, before a grant matches.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use http_body_util::{BodyExt as _, Full};
use hyper::body;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use runner_model::protocol::{PostAnswer, PostRequest};
use runner_model::{Limits, Time, visible::visible_line};
use tokio::time::timeout;
use url::Url;
use wasmtime_wasi_http::WasiBody;

use super::exchanges::Timed;
use super::failure::{Failure, MAX_HEAD};
use super::journal::{Answer, Answered, Asked};
use super::network::{Counts, Network, Traffic};
use super::policy::{Refusal, origin, read_url};
use super::{headers, response::Incoming, retry_after::RetryAfter, wire::Wire};
use crate::store::determinism::Determinism;
use crate::{
    Redactor, Secrets, contract::runner::provider::http as contract, interrupt::Guard,
    interrupt::UsedUp,
};

/// The longest registered method has 17 characters.
pub(super) const MAX_METHOD_BYTES: usize = 32;
/// Requests that are refused because a limit is used up, before the guest is ended. Requests in flight and retries of an honest
/// guest fit.
const MAX_REFUSED: u32 = 20;
/// Bytes of a webhook's response that are read for its reason, and the time for them.
const MAX_REASON: usize = 4 << 10;
const REASON_TIME: Duration = Duration::from_secs(1);

/// The network of one attempt. Clones share it, and may be used in the background.
#[derive(Clone)]
pub(crate) struct Outbound {
    /// `None` during `describe`.
    network: Option<Network>,
    secrets: Arc<Secrets>,
    pub(super) guard: Guard,
    max_requests: u64,
    max_response: u64,
    pub(super) traffic: Traffic,
}

/// An admitted request without its body.
pub(super) struct Admitted {
    network: Network,
    origin: String,
    /// Host and port, without secrets.
    pub(super) peer: String,
    pub(super) head: request::Parts,
    /// Redacts the response: the secrets that the guest never sees.
    unseen: Option<Arc<Redactor>>,
    /// Whether the response is searched for secrets, which neither the guest nor the journal may receive.
    is_searched: bool,
}

impl Outbound {
    /// For a guest without network.
    pub(crate) fn closed(limits: &Limits, guard: Guard) -> Self {
        Self {
            network: None,
            secrets: Arc::default(),
            guard,
            max_requests: limits.http_requests,
            max_response: limits.http_response,
            traffic: Traffic::default(),
        }
    }

    /// For a guest with the grants of `network`.
    pub(crate) fn open(
        limits: &Limits,
        network: Network,
        secrets: Arc<Secrets>,
        guard: Guard,
    ) -> Self {
        Self { network: Some(network), secrets, ..Self::closed(limits, guard) }
    }

    /// Resets the counts, for the next call of a kept instance. Requests that are still open count
    /// for the call that sent them.
    pub(crate) fn restart(&mut self, guard: Guard) {
        self.guard = guard;
        self.traffic = Traffic::default();
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.traffic.counts()
    }

    /// Implements `http.send` of the contract: sends a request and waits for the whole response, at
    /// most for the request's `timeout`. The deadline of the attempt and a stop end it by dropping
    /// this future.
    pub(crate) async fn http_send(
        &self,
        request: contract::Request,
    ) -> Result<contract::Response, contract::HttpError> {
        let answer = self.exchange(request).await;
        self.guard.halt_if_ended().await;
        answer.map_err(|failure| {
            self.record_denial(&failure);
            failure.into()
        })
    }

    async fn exchange(&self, request: contract::Request) -> Result<contract::Response, Failure> {
        let timeout = request.timeout.map(|ms| Duration::from_millis(ms.into()));
        let headers = headers::read(&request.headers)?;
        let body = Bytes::from(request.body.unwrap_or_default());
        let exchanges = self.guard.determinism.as_ref().map(|one| &one.exchanges);
        let asked = exchanges.map(|exchanges| {
            let redactor = exchanges.redactor();
            let mut asked = Asked::new(&request.method, &request.url, &headers, redactor);
            asked.set_body(&body, redactor);
            (exchanges, asked)
        });
        let mut admitted = self.admit(&request.method, &request.url, headers)?;
        announce_length(&mut admitted.head, &body);
        self.counts().bytes_out += body.len() as u64;

        // On the heap: passed on by value, it would take hundreds of KiB of the guest's stack.
        let live = Box::pin(async {
            let _open = self.guard.activity.open_request(admitted.peer.clone());
            let (response, _) = self.send(admitted, whole(body.clone()), Some(body));
            let whole = async { self.read_whole(response.await?).await };
            let timeout = timeout.into_iter().chain(self.guard.rest_of_tool()).min();
            within(&self.guard, timeout, whole).await.unwrap_or(Err(Failure::Timeout))
        });
        let answer = match asked {
            Some((exchanges, asked)) => exchanges.exchange(asked, self.timed(live)).await,
            None => self.timed(live).await.answer,
        };
        self.note_answer(&answer, timeout);
        let answered = answer?;
        Ok(contract::Response {
            status: answered.status.as_u16(),
            headers: headers::write(&answered.headers),
            body: answered.body.into(),
            duration_ms: answered.took.0 as f64 / 1000.0,
            extra: None,
        })
    }

    /// Reads the body of a response. Ends a deterministic call whose responses have more bytes than its journal may have.
    pub(super) async fn read_whole(&self, response: Response<Incoming>) -> Whole {
        let (mut head, mut body) = response.into_parts();
        if self.guard.determinism.is_some() {
            headers::remove_of_connection(&mut head.headers);
        }
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            // Frames without data are trailers, which guests do not receive.
            if let Ok(data) = frame?.into_data() {
                content.extend_from_slice(&data);
            }
            if let Some(Determinism { exchanges, .. }) = &self.guard.determinism {
                let arrived = self.counts().bytes_in;
                exchanges.check_arrived(arrived).await;
            }
        }
        Ok((head.status, head.headers, content.into()))
    }

    /// Measures the time until an answer.
    pub(super) async fn timed(&self, live: impl Future<Output = Whole>) -> Timed {
        let started = self.guard.elapsed().duration;
        let whole = live.await;
        let used = self.guard.elapsed().duration;
        let took = used.saturating_sub(started).into();
        let answer = whole.map(|(status, headers, body)| Answered { status, headers, body, took });
        Timed { answer, took, used: used.into() }
    }

    /// Notes the end of a request, as [`Traffic::note_end`] does. Of a deterministic call, also the wait that the response requests,
    /// by the guest's clock.
    pub(super) fn note_answer(&self, answer: &Answer, timeout: Option<Duration>) {
        self.traffic.note_end(answer.as_ref().map(|answered| answered.status), timeout);
        if let (Ok(answered), Some(one)) = (answer, &self.guard.determinism) {
            let Answered { status, headers, .. } = answered;
            self.counts().retry_after = RetryAfter::read(*status, headers, one.clock.wall());
        }
    }

    /// Decides on a request, fills in secrets and counts it.
    pub(super) fn admit(
        &self,
        method: &str,
        url: &str,
        mut headers: HeaderMap,
    ) -> Result<Admitted, Failure> {
        let method = read_method(method)?;
        let url = read_url(url).map_err(Failure::Invalid)?;
        let network = self.network.clone().ok_or_else(|| Refusal {
            message: "there is no network during `describe`".to_owned(),
            denied: None,
        })?;
        network.0.policy.admit(&method, &url)?;
        // A replay sends nothing, so it needs no secrets.
        if !self.guard.is_replay() {
            headers::fill(&mut headers, &self.secrets, &url)?;
        }
        let unseen = self.secrets.unseen_redactor().map(Arc::clone);
        let determinism = self.guard.determinism.as_ref();
        let is_recorded = determinism.is_some_and(|one| one.exchanges.is_recorded());
        let is_searched = unseen.is_some() || is_recorded && self.secrets.redactor().is_some();
        if is_searched || determinism.is_some() {
            headers::request_plain_response(&mut headers);
        }
        let mut head = Request::new(()).into_parts().0;
        (head.method, head.uri, head.headers) = (method, read_uri(&url)?, headers);
        let peer = peer(&network, &self.secrets, &url);
        self.count()?;
        Ok(Admitted { network, origin: origin(&url), peer, head, unseen, is_searched })
    }

    /// Counts a request. Refuses it if a limit is used up, and ends a guest that ignores that.
    fn count(&self) -> Result<(), Failure> {
        let used_up = self.used_up();
        let mut counts = self.counts();
        let Some(key) = used_up else {
            counts.requests += 1;
            return Ok(());
        };
        let most = self.max_requests;
        let reason = counts.used_up.as_ref().map(|(_, reason)| reason.clone());
        let reason = reason.unwrap_or_else(|| {
            format!(
                "the attempt has made {most} requests, and `limits.http_requests` allows no more"
            )
        });
        counts.refused += 1;
        if counts.refused > MAX_REFUSED {
            let message = format!("{reason}; ended after {MAX_REFUSED} refused requests");
            self.guard.end(UsedUp { key, message });
        }
        Err(Failure::UsedUp(reason))
    }

    /// Returns the key of the limit that is used up.
    pub(crate) fn used_up(&self) -> Option<&'static str> {
        let counts = self.counts();
        let of_usage = counts.used_up.as_ref().map(|(key, _)| *key);
        of_usage.or((counts.requests >= self.max_requests).then_some("http_requests"))
    }

    /// Sends a request and waits for the head of its response. Dropping the future ends the
    /// request. The second value resolves once there is a connection. If a reused connection turns
    /// out to be closed, an idempotent request is sent again with the body `again`.
    pub(super) fn send(
        &self,
        admitted: Admitted,
        mut body: WasiBody,
        again: Option<Bytes>,
    ) -> (impl Future<Output = Result<Response<Incoming>, Failure>>, CaptureConnection) {
        let Admitted { network, origin, peer: _, head, unseen, is_searched } = admitted;
        let mut request = Request::from_parts(head, ());
        let connected = capture_connection(&mut request);
        let (request, ()) = request.into_parts();

        let receive = async move {
            let again = again.filter(|_| request.method.is_idempotent());
            let response = loop {
                let sent = Request::from_parts(request.clone(), body);
                match (network.0.client.request(sent).await, &again) {
                    (Err(error), Some(bytes)) if Wire::is_stale(&error) => {
                        body = whole(bytes.clone());
                    }
                    (sent, _) => break sent,
                }
            };
            let response = response.map_err(|error| Failure::from_client(&origin, &error))?;
            Wire::mark_working(&response);
            let (mut head, body) = response.into_parts();
            // The client's own bound ignores bytes that it reads in one piece.
            if headers::size(&head.headers) > MAX_HEAD {
                return Err(Failure::large_head(&origin));
            }
            if is_searched && headers::is_encoded(&head.headers) {
                return Err(Failure::Garbage(format!(
                    "`{origin}` sent a compressed response, in which secrets cannot be found"
                )));
            }
            if let Some(unseen) = &unseen {
                headers::redact(&mut head.headers, unseen);
            }
            let now = Time::from(SystemTime::now());
            self.counts().retry_after = RetryAfter::read(head.status, &head.headers, now);
            let traffic = self.traffic.clone();
            let body = Incoming::new(body, origin, self.max_response, traffic, unseen.as_ref())?;
            Ok(Response::from_parts(head, body))
        };
        (receive, connected)
    }

    /// Records a denied request.
    pub(super) fn record_denial(&self, failure: &Failure) {
        let Failure::Denied(Refusal { denied: Some(denied), .. }) = failure else {
            return;
        };
        self.counts().denied.add((**denied).clone());
    }
}

/// A whole response.
pub(super) type Whole = Result<(StatusCode, HeaderMap, Bytes), Failure>;

/// Posts a document. Follows no redirect. The reason in the answer is the start of the body, unless the status is 2xx.
///
/// # Errors
///
/// The reason why there is no response. Of the address it has only scheme, host and port.
pub async fn post(request: PostRequest) -> Result<PostAnswer, String> {
    let url = read_url(&request.url)?;
    let mut builder = Request::post(read_uri(&url).map_err(|error| error.to_string())?);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let sent = builder.body(whole(Bytes::from(request.body)));
    let sent = sent.map_err(|error| error.to_string())?;
    let network = Network::of_webhook(request.private);
    match network.0.client.request(sent).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let now = Time::from(SystemTime::now());
            let retry_after = match RetryAfter::read(head.status, &head.headers, now) {
                Some(RetryAfter::Wait(wait)) => Some(wait.into()),
                _ => None,
            };
            let is_plain = !head.headers.contains_key(header::CONTENT_ENCODING);
            let reason = match head.status.is_success() {
                false if is_plain => Some(start_of(body).await),
                _ => None,
            };
            Ok(PostAnswer::Response { status: head.status.as_u16(), reason, retry_after })
        }
        Err(error) => match Failure::from_client(&origin(&url), &error) {
            Failure::Denied(Refusal { denied: Some(denied), .. }) => Ok(PostAnswer::Denied(
                format!("{} is allowed only with `private = true`", denied.what),
            )),
            failure => Err(failure.to_string()),
        },
    }
}

/// Reads the start of a body. Returns the bytes so far if the body breaks off or is late.
async fn start_of(mut body: body::Incoming) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < MAX_REASON
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    };
    let _ = timeout(REASON_TIME, read).await;
    bytes.truncate(MAX_REASON);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Creates a body in one piece.
pub(super) fn whole(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The contract has no case for too many requests. `other` fits better than `too-large`, which is
/// about sizes, and `denied`, which is about grants.
impl From<Failure> for contract::HttpError {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Denied(_) => Self::Denied(text),
            Failure::Invalid(_) => Self::InvalidRequest(text),
            Failure::Unreachable { .. } => Self::Unreachable(text),
            Failure::Timeout => Self::Timeout,
            Failure::LargeHead(_) | Failure::LargeBody { .. } => Self::TooLarge(text),
            Failure::UsedUp(_) | Failure::Garbage(_) => Self::Other(text),
        }
    }
}

/// Waits for `future`, but at most for `time` on the call's clock. `None` after that.
pub(super) async fn within<T>(
    guard: &Guard,
    time: Option<Duration>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let Some(time) = time else {
        return Some(future.await);
    };
    tokio::select! {
        biased;
        result = future => Some(result),
        () = guard.sleep(time) => None,
    }
}

fn read_method(text: &str) -> Result<Method, Failure> {
    // No part of it: redaction would not find the start of a secret.
    if text.len() > MAX_METHOD_BYTES {
        return Err(Failure::Invalid(format!("invalid method of {} bytes", text.len())));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if is_sendable(&method) => Ok(method),
        Ok(_) | Err(_) => Err(Failure::Invalid(format!(
            "invalid method `{}`; use `GET`, `POST`, …",
            visible_line(text)
        ))),
    }
}

/// Refuses `CONNECT`, which is for proxies, and `TRACE`, also called `TRACK`, which would return
/// the secrets that the host has filled in.
fn is_sendable(method: &Method) -> bool {
    let refused = ["CONNECT", "TRACE", "TRACK"];
    !refused.iter().any(|refused| method.as_str().eq_ignore_ascii_case(refused))
}

pub(super) fn read_uri(url: &Url) -> Result<Uri, Failure> {
    Uri::try_from(url.as_str()).map_err(|error| Failure::Invalid(format!("invalid URL: {error}")))
}

/// Sets a length of 0. Servers require a length for these methods, and the client sets none for an
/// empty body.
fn announce_length(head: &mut request::Parts, body: &[u8]) {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
    if has_body && body.is_empty() {
        let zero = HeaderValue::from_static("0");
        head.headers.insert(header::CONTENT_LENGTH, zero);
    }
}

/// Returns host and port without secrets. Below a granted domain a guest may put a secret into a
/// name, so the grant is shown instead.
fn peer(network: &Network, secrets: &Secrets, url: &Url) -> String {
    if let (Some(_), Some(grant)) = (secrets.redactor(), network.0.policy.grant_of(url)) {
        let grant = grant.to_string();
        return grant.split_once("://").map_or("", |(_, host)| host).into();
    }
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
