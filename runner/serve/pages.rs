//! The dashboard's files, as they are written: no build step, no library.

use axum::{
    http::{Uri, header},
    response::{IntoResponse as _, Response},
};

use super::problem::HttpProblem;

/// A file of the dashboard.
struct WebFile {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! web {
    ($($path:literal $kind:literal $file:literal),* $(,)?) => {
        [$(WebFile { path: $path, kind: $kind, bytes: include_bytes!($file) }),*]
    };
}

static FILES: [WebFile; 6] = web![
    "/web/style.css" "text/css; charset=utf-8" "web/style.css",
    "/web/main.js" "text/javascript; charset=utf-8" "web/main.js",
    "/web/dom.js" "text/javascript; charset=utf-8" "web/dom.js",
    "/web/api.js" "text/javascript; charset=utf-8" "web/api.js",
    "/web/runs.js" "text/javascript; charset=utf-8" "web/runs.js",
    "/web/run.js" "text/javascript; charset=utf-8" "web/run.js",
];

/// The page in which all addresses of people are shown: what is there is decided by a script of ours.
const SHELL: &[u8] = include_bytes!("web/index.html");

/// Tells whether a person may open an address.
pub(super) fn is_page(path: &str) -> bool {
    ["/", "/runs", "/start", "/compare", "/history"].contains(&path) || path.starts_with("/runs/")
}

/// Answers with a file, or with the page that shows an address.
pub(super) async fn page(uri: Uri) -> Response {
    let path = uri.path();
    if let Some(file) = FILES.iter().find(|file| file.path == path) {
        let headers = [
            (header::CONTENT_TYPE, file.kind),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        return (headers, file.bytes).into_response();
    }
    if is_page(path) {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        return (headers, SHELL).into_response();
    }
    HttpProblem::not_found("there is no such page")
        .with_help("`/runs` has all runs")
        .into_response()
}
