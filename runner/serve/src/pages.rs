//! The files of the pages, from the folder `web`.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{Method, StatusCode, header, request::Parts};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use runner_model::digest;

use crate::api::HttpProblem;

const INDEX: &str = "index.html";

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../web/", $name)).as_slice())),*]
    };
}

/// Files by their path below `web`. A test compares the list with the folder.
static FILES: &[(&str, &[u8])] = &files! {
    "app.css"
    "base/actions.js"
    "base/api.js"
    "base/chart.js"
    "base/dialog.js"
    "base/diff.js"
    "base/json.js"
    "base/keys.js"
    "base/live.js"
    "base/pages.js"
    "base/problem.js"
    "base/router.js"
    "base/rows.js"
    "base/ui.js"
    "base/visible.js"
    "base/words.js"
    "index.html"
    "main.js"
    "pages.css"
    "pages/about.js"
    "pages/activity.js"
    "pages/compare.js"
    "pages/failures.js"
    "pages/history.js"
    "pages/log.js"
    "pages/matrix.js"
    "pages/overview.js"
    "pages/queue.js"
    "pages/run.js"
    "pages/runs.js"
    "pages/start.js"
    "pages/tables.js"
    "pages/trial.js"
    "pages/trials.js"
};

/// Tags of [`FILES`]. Browsers request each file again, and get it only if its tag has changed: another version of the server
/// may use the same address.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    FILES.iter().map(|(_, bytes)| format!("\"{}\"", &digest(bytes).to_string()[..16])).collect()
});

/// Answers with a file of `/web/`, or else with the page, which reads the address itself.
pub(crate) fn answer(request: &Parts) -> Result<Response, HttpProblem> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(HttpProblem::method());
    }
    let path = request.uri.path();
    let name = path.strip_prefix("/web/").unwrap_or(INDEX);
    let place = FILES.iter().position(|(known, _)| *known == name);
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
    let content = Body::from(Bytes::from_static(FILES[place].1));
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{collections::BTreeSet, fs};

    use super::FILES;

    fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                found.insert(path);
            }
        }
    }

    #[test]
    fn all_files_of_the_folder_are_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = BTreeSet::new();
        files(&folder, &mut found);
        let served = FILES.iter().map(|(name, _)| folder.join(name)).collect();
        assert_eq!(found, served);
    }
}
