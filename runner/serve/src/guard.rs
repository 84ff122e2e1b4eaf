//! [`Guard`]: checks each request before it is routed, and adds headers to each answer. [`Connections`]: the open connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, body::Body};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::service::{Service as _, service_fn};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{self, AbortHandle};
use tokio::time::timeout;

use crate::access::{is_api, is_page};
use crate::api::{self, HttpProblem, ProblemKind};
use crate::{pages, server::Server, timed_stream::TimedStream};

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 256;
/// Maximum number of connections without a valid token or cookie.
const MAX_UNAUTHENTICATED: usize = 192;
/// Time for the headers of a request. Also ends connections without requests.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Size of hyper's buffer. hyper can read more than its limit, so [`crate::access`] checks the size of headers.
const HEADER_BUFFER: usize = 64 << 10;
/// Time for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Time in which a client must read the next bytes of an answer. Otherwise, a few clients that read nothing would keep all
/// connections.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Bytes of a body. 250 connections can send one at the same time.
const MAX_BODY: usize = 256 << 10;
/// Bytes of a body without a valid token.
const MAX_UNAUTHENTICATED_BODY: usize = 4 << 10;
/// Bytes of a refused body that are read and dropped, and the time for them.
const MAX_DROPPED: usize = 4 << 20;
const DROP_TIME: Duration = Duration::from_secs(2);
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The open connections, oldest first. Some are reserved for holders of the token.
#[derive(Default)]
pub(crate) struct Connections(Mutex<VecDeque<Connection>>);

struct Connection {
    /// Whether a request on it had a valid token or cookie.
    is_authenticated: bool,
    task: AbortHandle,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is room for another connection. If there are too many, ends the oldest one without a token: a
    /// caller with a token sends it at once, while connections that only take room get older.
    pub fn make_room(&self) -> bool {
        let mut open = self.lock();
        open.retain(|connection| !connection.task.is_finished());
        let others = open.iter().filter(|connection| !connection.is_authenticated).count();
        if others < MAX_UNAUTHENTICATED && open.len() < MAX_CONNECTIONS {
            return true;
        }
        let oldest = open.iter().position(|connection| !connection.is_authenticated);
        let ended = oldest.and_then(|place| open.remove(place));
        ended.map(|oldest| oldest.task.abort()).is_some()
    }

    /// Adds the task of a connection.
    pub fn add(&self, task: AbortHandle) {
        self.lock().push_back(Connection { is_authenticated: false, task });
    }

    /// Keeps the connection of the current task, because a request on it had a valid token or cookie.
    pub fn keep(&self) {
        let own = task::id();
        if let Some(own) = self.lock().iter_mut().find(|connection| connection.task.id() == own) {
            own.is_authenticated = true;
        }
    }
}

pub(crate) struct Guard {
    server: Arc<Server>,
    router: TowerToHyperService<Router>,
    connections: Connections,
}

impl Guard {
    pub fn new(server: Arc<Server>) -> Self {
        let router = TowerToHyperService::new(api::router(Arc::clone(&server)));
        Self { server, router, connections: Connections::default() }
    }

    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Answers the requests of a connection. The current task must be in [`Guard::connections`].
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer =
            service_fn(|request| async move { Ok::<_, Infallible>(self.answer(request).await) });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(HEADER_BUFFER)
            .serve_connection(TokioIo::new(TimedStream::new(stream, WRITE_TIME)), answer);
        // A client that disconnected or was cut off connects again if it needs more.
        let _ = served.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response {
        let (head, mut body) = request.into_parts();
        // Such a client sends no body before an answer asks for it.
        let waits = head.headers.contains_key(header::EXPECT);
        let answer = self.check_and_route(head, &mut body).await;
        if !waits {
            drop_rest(body).await;
        }
        let mut answer = answer.unwrap_or_else(HttpProblem::into_response);
        add_headers(answer.headers_mut());
        answer
    }

    async fn check_and_route(
        &self,
        head: Parts,
        body: &mut Incoming,
    ) -> Result<Response, HttpProblem> {
        let access = &self.server.access;
        let is_authenticated = access.check(&head)?;
        if is_authenticated {
            self.connections.keep();
        }
        if is_page(head.uri.path())
            && let Some((address, cookie)) = access.redeem(&head)
        {
            return Ok(redirect(address, cookie));
        }
        if !is_api(head.uri.path()) {
            return pages::answer(&head);
        }
        let limit = if is_authenticated { MAX_BODY } else { MAX_UNAUTHENTICATED_BODY };
        let body = read(body, limit).await?;
        let request = Request::from_parts(head, Body::from(body));
        self.router.call(request).await.map_err(|never| match never {})
    }
}

/// Reads what is left of the body of a refused request: a client that is still sending it would get an error in place of the answer,
/// because the connection is closed then.
async fn drop_rest(body: Incoming) {
    let mut rest = Limited::new(body, MAX_DROPPED);
    let read = async { while let Some(Ok(_)) = rest.frame().await {} };
    let _ = timeout(DROP_TIME, read).await;
}

async fn read(body: &mut Incoming, limit: usize) -> Result<Bytes, HttpProblem> {
    match timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let detail =
                format!("the body of the request has more than {limit} bytes, or ended early");
            Err(HttpProblem::new(ProblemKind::BODY, &detail))
        }
        Err(_) => {
            let detail =
                format!("the body of the request took longer than {} s", BODY_TIME.as_secs());
            Err(HttpProblem::new(ProblemKind::SLOW, &detail))
        }
    }
}

/// Redirects a browser from a link to the same page without the secret.
fn redirect(address: String, cookie: Option<String>) -> Response {
    let cookie = cookie.map(|cookie| [(header::SET_COOKIE, cookie)]);
    // A path may have bytes that are not ASCII.
    let location = [(header::LOCATION, address.into_bytes())];
    (StatusCode::SEE_OTHER, location, cookie, ()).into_response()
}

/// Adds the default headers that an answer lacks.
fn add_headers(headers: &mut HeaderMap) {
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
