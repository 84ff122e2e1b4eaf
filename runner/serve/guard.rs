//! [`guard`]: what is done with every request before it is routed, and with every answer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{problem::HttpProblem, server::Server};

/// How long a request may take to say what it wants, once its headers are there.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Bytes of a request's body.
const MAX_BODY: usize = 1024 * 1024;

/// Stands before every route, those of files included.
pub(super) async fn guard(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let access = &server.access;
    let mut response = match access.check(&request) {
        Err(problem) => problem.into_response(),
        Ok(()) => match access.redirect(&request) {
            Some(elsewhere) => elsewhere,
            None => answer(request, next).await,
        },
    };
    add_headers(response.headers_mut());
    response
}

/// Reads what a request has to say, within bounds, and answers it.
async fn answer(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let reading = axum::body::to_bytes(body, MAX_BODY);
    let body = match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let problem = HttpProblem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "/problems/too-large",
                "the request is too large",
                format!("a body has at most {MAX_BODY} bytes, and comes whole"),
            );
            return problem.into_response();
        }
        Err(_) => {
            let problem = HttpProblem::new(
                StatusCode::REQUEST_TIMEOUT,
                "/problems/too-slow",
                "the request is too slow",
                format!("a body comes within {} s", BODY_TIME.as_secs()),
            );
            return problem.into_response();
        }
    };
    next.run(Request::from_parts(head, body.into())).await
}

/// What browsers are told of every answer: that nothing in it runs but our own files.
fn add_headers(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
        require-trusted-types-for 'script'; trusted-types 'none'";
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(POLICY));
}
