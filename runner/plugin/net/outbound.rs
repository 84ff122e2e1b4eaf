//! [`Outbound`]: what one attempt sends, whichever interface it comes by.
//!
//! A request is decided on before anything of it leaves, and counted.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use url::Url;
use wasmtime_wasi_http::WasiBody;

use super::{
    failure::{Failure, MAX_HEAD},
    headers,
    network::Network,
    policy::{RequestRefusal, origin, read_url},
    response::Incoming,
    traffic::Traffic,
    wire::Wire,
};
use crate::{
    model::{Limits, quoted_text},
    plugin::{redact::redactor::Redactor, secrets::Secrets},
};

/// The longest of the registered methods has 17 characters.
pub(super) const MAX_METHOD_BYTES: usize = 32;

/// What one attempt sends.
#[derive(Clone)]
pub(in crate::plugin) struct Outbound {
    /// None while a plugin describes itself.
    network: Option<Network>,
    max_requests: u64,
    max_response: u64,
    pub(super) traffic: Arc<Traffic>,
}

/// What a request carries.
pub(super) enum RequestBody {
    Whole(Bytes),
    /// Comes while it is sent.
    Streamed(WasiBody),
}

/// A request that is admitted and has everything but a body.
pub(super) struct Admitted {
    network: Network,
    origin: String,
    /// The host and port, as anybody may see them.
    pub(super) peer: String,
    pub(super) method: Method,
    uri: Uri,
    pub(super) headers: HeaderMap,
    /// Takes secrets out of the response that its guest never knows.
    unseen: Option<Arc<Redactor>>,
}

impl Outbound {
    /// For a guest that may send nothing.
    pub(in crate::plugin) fn closed(limits: &Limits) -> Self {
        Self {
            network: None,
            max_requests: limits.http_requests,
            max_response: limits.http_response,
            traffic: Arc::default(),
        }
    }

    /// For a guest that may send what is granted.
    pub(in crate::plugin) fn open(limits: &Limits, network: &Network) -> Self {
        Self {
            network: Some(network.clone()),
            ..Self::closed(limits)
        }
    }

    /// Counts anew; what is still under way is counted by whoever began it.
    pub(in crate::plugin) fn restart(&mut self) {
        self.traffic = Arc::default();
    }

    pub(in crate::plugin) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Decides on a request, fills secrets into its headers and counts it. Nothing is filled in before: a secret is for
    /// nobody else than those whom the scenario names.
    pub(super) fn admit(
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
        let peer = match secrets.has_any() {
            false => peer(&url),
            // Below a granted domain a guest makes up names, and may put a secret into one.
            true => granted_peer(&network, &url),
        };
        self.traffic.count_request(self.max_requests)?;
        Ok(Admitted {
            network,
            origin: origin(&url),
            peer,
            method,
            uri,
            headers,
            unseen,
        })
    }

    /// Sends a request, waits for the head of its response, and tells meanwhile when there is a connection. Dropping
    /// the future ends it. A request that may be repeated is, where its connection was a used one that has been closed.
    pub(super) fn send(
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
            peer: _,
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
    pub(super) fn note(&self, failure: &Failure) {
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
                "{} is not a method that can be sent; there are `GET`, `POST`, …",
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

pub(super) fn read_uri(url: &Url) -> Result<Uri, Failure> {
    Uri::try_from(url.as_str())
        .map_err(|error| Failure::Invalid(format!("the URL cannot be sent: {error}")))
}

fn peer(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// The same as the scenario names it.
fn granted_peer(network: &Network, url: &Url) -> String {
    let grant = network.0.policy.grant_of(url);
    let grant = grant.map(ToString::to_string).unwrap_or_default();
    let host = grant.split_once("://").map_or("", |(_, host)| host);
    host.to_owned()
}

fn refuse_description() -> Failure {
    Failure::Denied(RequestRefusal {
        message: "a plugin that describes itself has no network".to_owned(),
        denied: None,
    })
}
