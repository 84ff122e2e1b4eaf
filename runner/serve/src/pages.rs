//! Answers with the files of the pages.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{Method, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use runner_model::digest;
use runner_report::WEB;

use crate::api::HttpProblem;

const INDEX: &str = "index.html";

/// Tags of [`WEB`]. Browsers request each file again, and get it only if its tag has changed: another version of the server
/// may use the same address.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    WEB.iter().map(|(_, bytes)| format!("\"{}\"", &digest(bytes).to_string()[..16])).collect()
});

/// Answers with a file of `/web/`, or else with the page, which reads the address itself.
pub(crate) fn answer(request: &Parts) -> Result<Response, HttpProblem> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(HttpProblem::method());
    }
    let path = request.uri.path();
    let name = path.strip_prefix("/web/").unwrap_or(INDEX);
    let place = WEB.iter().position(|(known, _)| *known == name);
    let place = place.ok_or_else(|| HttpProblem::not_found(&format!("no file `{path}`")))?;
    let tag = TAGS[place].as_str();
    let cache = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache")];
    if request
        .headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return Ok((StatusCode::NOT_MODIFIED, cache).into_response());
    }
    let media_type = [(header::CONTENT_TYPE, media_type(name))];
    let content = Body::from(Bytes::from_static(WEB[place].1));
    Ok((cache, media_type, content).into_response())
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}
