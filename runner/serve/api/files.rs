//! What is handed out as bytes: files of guests, rows, logs, reports. Browsers run none of it.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::trials;
use crate::serve::{
    request::{NamedInPath, RunPath, filter},
    server::{Server, blocking, find},
};
use crate::{
    error::Error,
    record::{RowFiles, RunReader},
    report::{self, ReportFormat},
    serve::problem::HttpProblem,
    session::{self, OpenPart},
};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The names in the path of a part of an attempt.
#[derive(Deserialize)]
pub(super) struct PartPath {
    run: String,
    trial: String,
    attempt: u32,
    file: String,
}

/// Bytes that are handed out, and what is said of them.
struct HandedOut {
    source: HandedSource,
    length: u64,
    media_type: &'static str,
    disposition: String,
}

/// Where bytes are that are handed out.
enum HandedSource {
    Bytes(Vec<u8>),
    Files(Arc<dyn ReadAt>),
}

/// What is read without a cursor.
trait ReadAt: Send + Sync {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for fs_err::File {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file().read_exact_at(bytes, at)
    }
}

impl ReadAt for RowFiles {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        Self::read_exact_at(self, bytes, at)
    }
}

impl From<OpenPart> for HandedSource {
    fn from(part: OpenPart) -> Self {
        match part {
            OpenPart::Bytes(bytes) => Self::Bytes(bytes),
            OpenPart::File(file, _) => Self::Files(Arc::new(file)),
        }
    }
}

/// A part of an attempt. Pictures are known by their first bytes, and everything else is a download.
pub(super) async fn part(
    State(server): State<Arc<Server>>,
    NamedInPath(path): NamedInPath<PartPath>,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let handed = blocking(server, move |server| {
        let page = trials::page(server, &path.run, &path.trial, Some(path.attempt))?;
        let source = session::open_part(&page, &path.file).map_err(|error| match error.status {
            crate::error::ExitStatus::NothingSelected => HttpProblem::not_found(error.to_string()),
            _ => error.into(),
        })?;
        let mut first = [0; PICTURE_BYTES];
        let (first, length) = match &source {
            OpenPart::Bytes(bytes) => (&bytes[..], bytes.len() as u64),
            OpenPart::File(file, length) => {
                let read = file.file().read_at(&mut first, 0);
                let count = read.map_err(|error| HttpProblem::internal(error.to_string()))?;
                (&first[..count], *length)
            }
        };
        let picture = picture(first);
        Ok(HandedOut {
            length,
            media_type: picture.unwrap_or("application/octet-stream"),
            disposition: match picture {
                Some(_) => "inline".to_owned(),
                None => attachment(&path.file),
            },
            source: source.into(),
        })
    })
    .await?;
    handed.answer(&headers)
}

/// What a browser may do with what a guest has written.
const GUEST_POLICY: &str = "sandbox; default-src 'none'";

/// By how many first bytes a picture is known.
const PICTURE_BYTES: usize = 12;

/// The media type of a picture that shows itself and does nothing; SVG can do things.
fn picture(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

/// A download with a name that is safe in a header.
fn attachment(name: &str) -> String {
    let safe = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || "-_.".contains(letter) => letter,
        _ => '_',
    };
    let name: String = name.chars().take(100).map(safe).collect();
    format!("attachment; filename=\"{name}\"")
}

pub(super) async fn rows(
    State(server): State<Arc<Server>>,
    NamedInPath(path): NamedInPath<RunPath>,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    const ROWS: &str = "application/jsonl";
    file(
        server,
        path,
        headers,
        |reader| {
            let rows = reader.open_rows()?;
            let length = rows.length()?;
            Ok((Arc::new(rows), length))
        },
        "rows.jsonl",
        ROWS,
    )
    .await
}

pub(super) async fn log(
    State(server): State<Arc<Server>>,
    NamedInPath(path): NamedInPath<RunPath>,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let open = |reader: &RunReader| -> io::Result<(Arc<dyn ReadAt>, u64)> {
        let (log, length) = reader.open_log()?;
        Ok((Arc::new(log), length))
    };
    file(server, path, headers, open, "log.txt", TEXT).await
}

/// Opens a file of a run, or several that are read as one, and says how long that is.
type OpenFile = fn(&RunReader) -> io::Result<(Arc<dyn ReadAt>, u64)>;

/// A file of a run, or a part of it. It grows meanwhile, so the length is that of this moment.
async fn file(
    server: Arc<Server>,
    path: RunPath,
    headers: HeaderMap,
    open: OpenFile,
    name: &'static str,
    media_type: &'static str,
) -> Result<Response, HttpProblem> {
    let (file, length) = blocking(server, move |server| {
        let run = find(server, &path.run)?;
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        open(&reader).map_err(|error| HttpProblem::not_found(error.to_string()))
    })
    .await?;
    let handed = HandedOut {
        source: HandedSource::Files(file),
        length,
        media_type,
        disposition: attachment(name),
    };
    handed.answer(&headers)
}

impl HandedOut {
    /// All of it, or the part that is asked for.
    fn answer(self, headers: &HeaderMap) -> Result<Response, HttpProblem> {
        let length = self.length;
        let asked = headers
            .get(header::RANGE)
            .and_then(|range| range.to_str().ok());
        let (status, from, to) = match asked.map(|range| part_of(range, length)) {
            None | Some(AskedRange::Unknown) => (StatusCode::OK, 0, length),
            Some(AskedRange::Part(from, to)) => (StatusCode::PARTIAL_CONTENT, from, to),
            Some(AskedRange::Nothing) => {
                let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
                let problem = HttpProblem::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "/problems/range",
                    "the file is not that long",
                    format!("it has {length} bytes"),
                );
                return Ok((range, problem).into_response());
            }
        };
        let answer = [
            (header::CONTENT_TYPE, self.media_type.to_owned()),
            (header::CONTENT_DISPOSITION, self.disposition),
            (header::CONTENT_SECURITY_POLICY, GUEST_POLICY.to_owned()),
            (header::CONTENT_LENGTH, (to - from).to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        let body = match self.source {
            HandedSource::Bytes(bytes) => Body::from(part_bytes(bytes, from, to)),
            HandedSource::Files(files) => Body::from_stream(pieces(files, from, to)),
        };
        let mut response = (status, answer, body).into_response();
        if status == StatusCode::PARTIAL_CONTENT {
            let last = to.saturating_sub(1);
            let range = HeaderValue::from_str(&format!("bytes {from}-{last}/{length}"));
            let range = range.map_err(|error| HttpProblem::internal(error.to_string()))?;
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        Ok(response)
    }
}

/// The bytes from one to before another, both of which are not behind the end.
fn part_bytes(bytes: Vec<u8>, from: u64, to: u64) -> Bytes {
    let place = |at| usize::try_from(at).unwrap_or(bytes.len()).min(bytes.len());
    let (from, to) = (place(from), place(to));
    Bytes::from(bytes).slice(from..to)
}

/// Which part of a file is asked for.
enum AskedRange {
    /// From a byte to before another.
    Part(u64, u64),
    /// None that it has.
    Nothing,
    /// Several, or something else that may be passed over.
    Unknown,
}

fn part_of(range: &str, length: u64) -> AskedRange {
    let Some((from, to)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return AskedRange::Unknown;
    };
    let part = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => (from, length),
        (Err(_), Ok(last)) if from.is_empty() => (length.saturating_sub(last), length),
        _ => return AskedRange::Unknown,
    };
    match part {
        (from, to) if from < to => AskedRange::Part(from, to),
        _ => AskedRange::Nothing,
    }
}

/// A part of files, read where that keeps no other request waiting.
fn pieces(
    files: Arc<dyn ReadAt>,
    from: u64,
    to: u64,
) -> impl futures::Stream<Item = io::Result<Bytes>> {
    futures::stream::try_unfold((files, from), move |(files, at)| async move {
        if at >= to {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let most = usize::try_from(to - at)
                .unwrap_or(PIECE_BYTES)
                .min(PIECE_BYTES);
            let mut bytes = vec![0; most];
            files.read_exact_at(&mut bytes, at)?;
            Ok(Some((Bytes::from(bytes), (files, at + most as u64))))
        });
        read.await.map_err(io::Error::other)?
    })
}

/// In which form a report is asked for, and of which trials.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    /// `html`, `junit`, `markdown`, `csv` or `jsonl`.
    format: String,
    /// Only the trials that this filter means.
    filter: Option<String>,
}

pub(super) async fn report(
    State(server): State<Arc<Server>>,
    NamedInPath(path): NamedInPath<RunPath>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Response, HttpProblem> {
    const NAMES: [&str; 5] = ["html", "junit", "markdown", "csv", "jsonl"];
    let Query(query) = query.map_err(|error| HttpProblem::bad_request(error.body_text()))?;
    let named = NAMES.iter().position(|name| *name == query.format);
    let format = named.map(|place| ReportFormat::ALL[place]).ok_or_else(|| {
        HttpProblem::bad_request(format!("`format` is one of {}", NAMES.join(", ")))
    })?;
    let filter = filter(query.filter.as_deref())?;
    blocking(server, move |server| {
        let run = find(server, &path.run)?;
        let made = session::report(&run.dir, filter.as_ref(), |_| ())?;
        let mut bytes = Vec::new();
        report::write(&made, format, &mut bytes)
            .map_err(|error| HttpProblem::internal(error.to_string()))?;
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (
                header::CONTENT_DISPOSITION,
                attachment(&format!("{}.{}", run.id, format.extension())),
            ),
            (header::CONTENT_SECURITY_POLICY, GUEST_POLICY.to_owned()),
        ];
        Ok((headers, bytes).into_response())
    })
    .await
}
