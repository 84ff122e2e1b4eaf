//! [`Network`]: the HTTP requests of guests, whichever interface they come by, under their provider's grants.
//!
//! A request is admitted by its URL before anything leaves ([`policy`]), and again by the address that its host turns
//! out to have ([`connect`]), which is the one that is connected to. Redirects are returned and not followed, proxies
//! of the environment are not used, nothing is stored and nothing is decompressed.

mod address;
mod connect;
mod failure;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod headers;
mod policy;
mod response;
mod send;
mod unsent;
mod wasi;
mod wire;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use url::Url;
use wasmtime_wasi_http::WasiBody;

pub(super) use self::unsent::shadow as bound_unsent;
use self::{
    connect::{Connector, Lookup, system_lookup},
    failure::{Failure, MAX_HEAD, MAX_HEADERS},
    policy::{NetPolicy, RequestRefusal, origin, read_url},
    response::Incoming,
    wire::Wire,
};
use super::{access::Access, redact::Redactor, sandbox::host::MAX_DENIED, secrets::Secrets};
use crate::model::{Denied, Limits, NetGrant, quoted_text};

/// How long a connection is kept that nobody uses.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);
/// The longest of the registered methods has 17 characters.
const MAX_METHOD_BYTES: usize = 32;

/// Where the HTTP requests of a provider's attempts may go, and the connections that they share; its clones are one.
///
/// One per provider, so that no provider ever uses a connection that it was not granted. The default goes nowhere.
#[derive(Clone)]
pub struct Network(Arc<ProviderNetwork>);

struct ProviderNetwork {
    policy: Arc<NetPolicy>,
    client: Client<Connector, WasiBody>,
}

/// What one attempt sends.
#[derive(Clone)]
pub(super) struct Outbound {
    /// None while a plugin describes itself.
    network: Option<Network>,
    max_requests: u64,
    max_response: u64,
    traffic: Arc<Traffic>,
}

/// What one attempt has sent and received until now, in the background too.
#[derive(Default)]
pub(super) struct Traffic {
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    denied: Mutex<Vec<Denied>>,
}

/// What a request carries.
enum RequestBody {
    Whole(Bytes),
    /// Comes while it is sent.
    Streamed(WasiBody),
}

/// A request that is admitted and has everything but a body.
struct Admitted {
    network: Network,
    origin: String,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// Takes secrets out of the response that its guest never knows.
    unseen: Option<Arc<Redactor>>,
}

impl Network {
    /// Makes a network of its own for one provider.
    pub fn new(grants: Vec<NetGrant>) -> Self {
        Self::with_lookup(grants, system_lookup)
    }

    fn with_lookup(grants: Vec<NetGrant>, lookup: Lookup) -> Self {
        let policy = Arc::new(NetPolicy::new(grants));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE_TIME)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .build(Connector::new(Arc::clone(&policy), lookup));
        Self(Arc::new(ProviderNetwork { policy, client }))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl From<Vec<NetGrant>> for Network {
    fn from(grants: Vec<NetGrant>) -> Self {
        Self::new(grants)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Network")
            .field(&self.0.policy)
            .finish()
    }
}

impl Outbound {
    /// For a guest that may send nothing.
    pub(super) fn closed(limits: &Limits) -> Self {
        Self {
            network: None,
            max_requests: limits.http_requests,
            max_response: limits.http_response,
            traffic: Arc::default(),
        }
    }

    /// For a guest that may send what is granted.
    pub(super) fn open(limits: &Limits, access: &Access) -> Self {
        Self {
            network: Some(access.net.clone()),
            ..Self::closed(limits)
        }
    }

    /// Counts anew; what is still under way is counted by whoever began it.
    pub(super) fn restart(&mut self) {
        self.traffic = Arc::default();
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Decides on a request, fills secrets into its headers and counts it. Nothing is filled in before: a secret is for
    /// nobody else than those whom the scenario names.
    fn admit(
        &self,
        method: &str,
        url: &str,
        mut headers: HeaderMap,
        secrets: &Secrets,
    ) -> Result<Admitted, Failure> {
        let method = read_method(method)?;
        let url = read_url(url).map_err(Failure::Invalid)?;
        let network = self.network.clone().ok_or_else(refuse_description)?;
        network.0.policy.admit(&method, &url)?;
        headers::fill(&mut headers, secrets, &url)?;
        let unseen = secrets.unseen().map(Arc::clone);
        if unseen.is_some() {
            headers::ask_plainly(&mut headers);
        }
        let uri = read_uri(&url)?;
        self.traffic.count_request(self.max_requests)?;
        Ok(Admitted {
            network,
            origin: origin(&url),
            method,
            uri,
            headers,
            unseen,
        })
    }

    /// Sends a request, waits for the head of its response, and tells meanwhile when there is a connection. Dropping
    /// the future ends it. A request that may be repeated is, where its connection was a used one that has been closed.
    fn send(
        &self,
        admitted: Admitted,
        mut content: RequestBody,
    ) -> (
        impl Future<Output = Result<Response<Incoming>, Failure>>,
        CaptureConnection,
    ) {
        let Admitted {
            network,
            origin,
            method,
            uri,
            headers,
            unseen,
        } = admitted;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let connected = capture_connection(&mut request);
        let (request, ()) = request.into_parts();

        let receive = async move {
            let response = loop {
                let is_repeatable = request.method.is_idempotent();
                let copy = content.copy().filter(|_| is_repeatable);
                let sent = Request::from_parts(request.clone(), content.into_body());
                match (network.0.client.request(sent).await, copy) {
                    (Err(error), Some(copy)) if Wire::is_stale(&error) => content = copy,
                    (sent, _) => break sent,
                }
            };
            let response = response.map_err(|error| Failure::of_client(&origin, &error))?;
            Wire::worked(&response);
            let (mut head, body) = response.into_parts();
            // The client's own bound lets pass what it reads in one piece.
            if headers::size(&head.headers) > MAX_HEAD {
                return Err(Failure::large_head(&origin));
            }
            if let Some(unseen) = &unseen {
                if headers::is_encoded(&head.headers) {
                    return Err(Failure::Garbage(format!(
                        "`{origin}` answers in a compressed form, where a secret that the plugin may not know could not be found"
                    )));
                }
                headers::redact(&mut head.headers, unseen);
            }
            let body = Incoming::new(body, origin, self.max_response, &self.traffic, unseen)?;
            Ok(Response::from_parts(head, body))
        };
        (receive, connected)
    }

    /// Keeps a failure that the user can do something about.
    fn note(&self, failure: &Failure) {
        if let Failure::Denied(RequestRefusal {
            denied: Some(denied),
            ..
        }) = failure
        {
            self.traffic.deny(denied);
        }
    }
}

impl RequestBody {
    /// The same once more, which a stream has not.
    fn copy(&self) -> Option<Self> {
        match self {
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Streamed(body) => body.is_end_stream().then(|| Self::Whole(Bytes::new())),
        }
    }

    fn into_body(self) -> WasiBody {
        match self {
            Self::Whole(bytes) => Full::new(bytes)
                .map_err(|never| match never {})
                .boxed_unsync(),
            Self::Streamed(body) => body,
        }
    }
}

impl Traffic {
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// What was refused.
    pub(super) fn denied(&self) -> Vec<Denied> {
        let denied = self.denied.lock().expect("nobody panics while holding it");
        denied.clone()
    }

    /// Counts a request, unless there were as many as there may be.
    fn count_request(&self, limit: u64) -> Result<(), Failure> {
        let count = |count| (count < limit).then_some(count + 1);
        let counted = self
            .requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        counted.map(drop).map_err(Failure::TooMany)
    }

    fn count_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn deny(&self, denial: &Denied) {
        let mut denied = self.denied.lock().expect("nobody panics while holding it");
        if denied.len() < MAX_DENIED && !denied.contains(denial) {
            denied.push(denial.clone());
        }
    }
}

fn read_method(text: &str) -> Result<Method, Failure> {
    let method = Method::from_bytes(text.as_bytes());
    match method {
        Ok(method) if is_sendable(&method) && text.len() <= MAX_METHOD_BYTES => Ok(method),
        Ok(_) | Err(_) => {
            let mut shown: String = text.chars().take(MAX_METHOD_BYTES).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            Err(Failure::Invalid(format!(
                "{} is no method that can be sent; there are `GET`, `POST`, …",
                quoted_text(&shown)
            )))
        }
    }
}

/// `CONNECT` is for proxies, and by `TRACE`, which some call `TRACK`, a server tells a guest what the host has put into its
/// request.
fn is_sendable(method: &Method) -> bool {
    let refused = ["CONNECT", "TRACE", "TRACK"];
    !refused
        .iter()
        .any(|refused| method.as_str().eq_ignore_ascii_case(refused))
}

fn read_uri(url: &Url) -> Result<Uri, Failure> {
    Uri::try_from(url.as_str())
        .map_err(|error| Failure::Invalid(format!("the URL cannot be sent: {error}")))
}

fn refuse_description() -> Failure {
    Failure::Denied(RequestRefusal {
        message: "a plugin that describes itself has no network".to_owned(),
        denied: None,
    })
}

#[cfg(test)]
mod tests;
