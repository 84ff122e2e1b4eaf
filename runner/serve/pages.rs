//! The dashboard's files, as they are written: no build step, no library.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use super::problem::HttpProblem;
use crate::model::Digest;

/// A file of the dashboard.
struct WebFile {
    /// Its name below `/web/`.
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! web {
    ($($name:literal),* $(,)?) => {
        &[$(WebFile { name: $name, bytes: include_bytes!(concat!("web/", $name)) }),*]
    };
}

/// Every file but the shell. Cargo sees that one of them has changed, as it does not of a folder that is included as a whole.
static FILES: &[WebFile] = web![
    "about.js",
    "actions.js",
    "activity.js",
    "api.js",
    "chart.js",
    "compare.js",
    "diff.js",
    "files.js",
    "first.js",
    "history.js",
    "keys.js",
    "lines.js",
    "live.js",
    "log.js",
    "main.js",
    "matrix.js",
    "pages.css",
    "problem.js",
    "queue.js",
    "retention.js",
    "rows.js",
    "run.js",
    "runs.js",
    "start.js",
    "style.css",
    "text.js",
    "trial.js",
    "trials.js",
    "ui.js",
    "visible.js",
    "words.js",
];

/// The page in which all addresses of people are shown: what is there is decided by a script of ours.
static SHELL: WebFile = WebFile {
    name: "index.html",
    bytes: include_bytes!("web/index.html"),
};

/// What tells one version of each file from another.
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|file| tag(file.bytes)).collect());

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", Digest::of(bytes))
}

/// Names the state that all files have together. Browsers keep what is below it for ever: 30 answers of "it has not
/// changed" would take longer than everything else that a page needs.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Vec::new();
    for file in FILES {
        all.extend_from_slice(file.bytes);
    }
    Digest::of(&all).to_string()[..16].to_owned()
});

/// The shell as it is sent.
struct Shell {
    text: String,
    tag: String,
}

/// The shell with the files of this state, for the list of all runs and for any other page: a browser asks for what the page
/// asks first while it reads the scripts.
static SHELLS: LazyLock<[Shell; 2]> = LazyLock::new(|| {
    let text = String::from_utf8_lossy(SHELL.bytes);
    let text = text.replace("\"/web/", &format!("\"/web/{}/", *VERSION));
    // What takes longest goes first, on the connection that is there already.
    [&["/runs?limit=100", "/server"][..], &["/server"]].map(|asked| {
        let asked = asked.iter().map(|path| {
            format!("<link rel=\"preload\" as=\"fetch\" crossorigin href=\"/api/v1{path}\">\n")
        });
        let text = text.replace("<title>", &format!("{}<title>", asked.collect::<String>()));
        let tag = tag(text.as_bytes());
        Shell { text, tag }
    })
});

/// Tells whether a person may open an address.
pub(super) fn is_page(path: &str) -> bool {
    ["/", "/runs", "/start", "/queue", "/compare", "/history"].contains(&path)
        || path.starts_with("/runs/")
}

/// Answers with a file, or with the page that shows an address.
pub(super) async fn page(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if let Some(asked) = path.strip_prefix("/web/") {
        // A page that was opened before the server was another one still gets what there is.
        let (version, name) = asked.rsplit_once('/').unwrap_or(("", asked));
        if let Some(place) = FILES.iter().position(|file| file.name == name) {
            let keep = match version == *VERSION {
                true => "private, max-age=31536000, immutable",
                false => "no-cache",
            };
            return answer(kind(name), FILES[place].bytes, &TAGS[place], keep, &headers);
        }
    }
    if is_page(path) {
        let is_list = ["/", "/runs"].contains(&path) && uri.query().is_none();
        let shell = &SHELLS[usize::from(!is_list)];
        let (kind, text) = (kind(SHELL.name), shell.text.as_bytes());
        return answer(kind, text, &shell.tag, "no-cache", &headers);
    }
    HttpProblem::not_found("there is no such page")
        .with_help("`/runs` has all runs")
        .into_response()
}

/// A file, unless the browser has it. `keep` says whether it asks each time, because another version of the runner may be
/// there.
fn answer(
    kind: &'static str,
    bytes: &'static [u8],
    tag: &'static str,
    keep: &'static str,
    headers: &HeaderMap,
) -> Response {
    let known = headers.get(header::IF_NONE_MATCH);
    let status = match known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        true => StatusCode::NOT_MODIFIED,
        false => StatusCode::OK,
    };
    let answer = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, keep),
        (header::ETAG, tag),
    ];
    match status {
        StatusCode::OK => (answer, bytes).into_response(),
        _ => (status, answer).into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FILES, SHELL};

    #[test]
    fn every_file_of_the_folder_is_served_and_used() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runner/serve/web");
        let entries = fs_err::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut served: Vec<_> = FILES.iter().chain([&SHELL]).map(|file| file.name).collect();
        served.sort_unstable();
        assert_eq!(names, served);
        let shell = std::str::from_utf8(SHELL.bytes).unwrap();
        for file in FILES {
            let address = format!("\"/web/{}\"", file.name);
            let imports = format!("'./{}'", file.name);
            let is_imported = FILES.iter().any(|other| {
                let text = std::str::from_utf8(other.bytes).unwrap();
                text.contains(&imports)
            });
            let count = shell.matches(&address).count();
            assert!(count == 1 || (count == 0 && is_imported), "{}", file.name);
        }
    }

    #[test]
    fn no_script_makes_markup_or_code_of_text() {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "srcdoc",
            "eval(",
            "Function(",
            "cssText",
        ];
        for file in FILES.iter().chain([&SHELL]) {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for word in forbidden {
                assert!(!text.contains(word), "{} has `{word}`", file.name);
            }
            assert!(!file.name.ends_with(".js") || text.starts_with("// @ts-check\n"));
        }
        let shell = std::str::from_utf8(SHELL.bytes).unwrap();
        assert!(!shell.contains(" style=") && !shell.contains("<style"));
    }

    #[test]
    fn the_files_are_small() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        // Compressed, they have about a third of that; `cargo test --test readers` bounds it.
        assert!(bytes < 256 * 1024, "{bytes} bytes");
    }
}
