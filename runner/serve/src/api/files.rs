//! Files of a run, whole or a range of their bytes.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::{slice, sync::Arc};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use runner_model::{row::is_file_name, tree::LeftEntry};
use runner_report::{
    Form, FormOptions, RowSelection, RunDocument, sections_text, write_diff, write_report,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::keys::{Nothing, RunName, present};
use super::trials::{AttemptKeys, TrialName, filter, read};
use super::{HttpProblem, ProblemKind, Result, Route};
use crate::body::write_body;
use crate::server::Server;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Bytes up to which a file is compared with its digest before the answer, which can then be a problem. Larger files are compared
/// while they are sent, because a few GiB take seconds.
const CHECKED_FIRST: u64 = 1 << 20;
/// Media type of the OpenAPI document for answers with several media types.
const ANY: &str = "*/*";
/// Policy of files of guests, which browsers must not run.
const SANDBOX: &str = "sandbox; default-src 'none'";
/// First bytes of images that a page may show.
const IMAGES: [(&[u8], &str); 4] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::ranges("/runs/{run}/log", "`runner.log`", TEXT, log),
        Route::ranges("/runs/{run}/rows", "`index.jsonl`", "application/x-ndjson", rows),
        Route::bytes("/runs/{run}/report", "A report of a run", ANY, report),
        Route::ranges(
            "/runs/{run}/trials/{trial}/log",
            "Log and output of an attempt",
            TEXT,
            attempt_log,
        ),
        Route::ranges(
            "/runs/{run}/trials/{trial}/attempts/{attempt}/calls/{call}",
            "A call in an attempt's journal",
            TEXT,
            call,
        ),
        Route::ranges(
            "/runs/{run}/trials/{trial}/attempts/{attempt}/changes/{number}",
            "A change in an attempt's workspace, as a diff",
            TEXT,
            change,
        ),
        Route::ranges(
            "/runs/{run}/trials/{trial}/attempts/{attempt}/steps/{number}",
            "A step of an attempt's transcript",
            TEXT,
            step,
        ),
        Route::ranges(
            "/runs/{run}/trials/{trial}/attempts/{attempt}/files/{name}",
            "A file that an attempt left",
            ANY,
            artifact,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReportKeys {
    #[schemars(description = format!("{}.", Form::words()))]
    form: Option<String>,
    /// A filter that matches the reported trials.
    filter: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    /// `1` shows an image instead of downloading it.
    #[schemars(range(max = 1))]
    inline: Option<u8>,
}

/// The names in the path of a part of an attempt.
#[derive(Deserialize)]
struct PartName<T> {
    #[serde(flatten)]
    trial: TrialName,
    attempt: u32,
    /// Id of a call, place in the list of changes, from 0, number of a step, from 1, or name of a file.
    #[serde(alias = "call", alias = "number")]
    name: T,
}

fn log(
    server: &Arc<Server>,
    names: &RunName,
    _: &Nothing,
    headers: &HeaderMap,
) -> Result<Response> {
    send(server.run(&names.run)?.open_log()?, headers, TEXT)
}

fn rows(
    server: &Arc<Server>,
    names: &RunName,
    _: &Nothing,
    headers: &HeaderMap,
) -> Result<Response> {
    let mut response = send(server.run(&names.run)?.open_rows()?, headers, "application/x-ndjson")?;
    make_download(&mut response, "rows.jsonl");
    Ok(response)
}

fn attempt_log(
    server: &Arc<Server>,
    names: &TrialName,
    keys: &AttemptKeys,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&names.run)?;
    let document = read(server, &run, names, keys.attempt)?;
    let row = document.row().ok_or_else(|| HttpProblem::not_found("the trial has no attempt"))?;
    answer_text(document.log_text(&row).into(), headers)
}

fn call(
    server: &Arc<Server>,
    PartName { trial, attempt, name }: &PartName<String>,
    _: &Nothing,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&trial.run)?;
    // An interrupted attempt has calls and no row.
    let (document, sections) = read(server, &run, trial, None)?.call(&run, Some(*attempt), name)?;
    if document.calls.is_empty() {
        return Err(HttpProblem::not_found(&document.missing(name)));
    }
    answer_text(sections_text(&sections).into(), headers)
}

fn change(
    server: &Arc<Server>,
    PartName { trial, attempt, name: number }: &PartName<usize>,
    _: &Nothing,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&trial.run)?;
    let workspace = read(server, &run, trial, Some(*attempt))?.workspace(&run)?;
    let files = workspace.map(|(_, files)| files);
    let change = files.as_ref().and_then(|files| files.tree.changes.get(*number));
    let (Some(files), Some(change)) = (&files, change) else {
        let problem = format!("the attempt has no change with the number {number}");
        return Err(HttpProblem::not_found(&problem));
    };
    let (read, lines) = (|left: &LeftEntry| files.read(left), server.settings.changed_lines);
    let mut text = Vec::new();
    write_diff(slice::from_ref(change), &read, lines, &mut |_, line| {
        text.extend_from_slice(line);
        text.push(b'\n');
    })?;
    answer_text(text, headers)
}

fn step(
    server: &Arc<Server>,
    PartName { trial, attempt, name: number }: &PartName<u64>,
    _: &Nothing,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&trial.run)?;
    let text = read(server, &run, trial, Some(*attempt))?.step_text(&run, *number)?;
    let missing = || HttpProblem::not_found(&format!("the attempt has no step {number}"));
    answer_text(text.ok_or_else(missing)?.into(), headers)
}

fn artifact(
    server: &Arc<Server>,
    PartName { trial, attempt, name }: &PartName<String>,
    keys: &FileKeys,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&trial.run)?;
    let document = read(server, &run, trial, Some(*attempt))?;
    let row = document.row();
    let mut files = row.iter().flat_map(|row| &row.artifacts);
    let found = files.find(|file| *file.name == **name && is_file_name(&file.name));
    let missing = || HttpProblem::not_found(&format!("the attempt left no file `{name}`"));
    let found = found.ok_or_else(missing)?;
    let file = run.open_artifact(found)?;
    let image = (keys.inline == Some(1)).then(|| image(file.unchecked())).flatten();
    let media_type = image.unwrap_or(BYTES);
    let mut response = if found.bytes <= CHECKED_FIRST {
        send(run.artifact(&found.sha256)?, headers, media_type)?
    } else {
        answer(found.bytes, headers, media_type, |range, body| copy(file, range, body))?
    };
    make_download(&mut response, if image.is_some() { "" } else { name });
    Ok(response)
}

fn report(
    server: &Arc<Server>,
    names: &RunName,
    keys: &ReportKeys,
    _: &HeaderMap,
) -> Result<Response> {
    let word = present(&keys.form).unwrap_or("html");
    let form = Form::parse(word).ok_or_else(|| {
        let problem = HttpProblem::invalid(&format!("`form` has no value `{word}`"));
        problem.with_help(format!("use {}", Form::words()))
    })?;
    let run = server.run(&names.run)?;
    let which =
        filter(server, present(&keys.filter))?.map_or(RowSelection::All, RowSelection::Matching);
    let document = RunDocument::read(&server.root, &run, &which)?;
    let changed_lines = Some(server.settings.changed_lines);
    let options = FormOptions { changed_lines, ..FormOptions::default() };
    let body = write_body(move |body| {
        let written = write_report(form, &document, options, body);
        written.map_err(|error| io::Error::other(error.to_string()))
    });
    let mut response = ([(header::CONTENT_TYPE, form.media_type())], body).into_response();
    make_download(&mut response, &format!("{}.{}", run.id(), form.extension()));
    Ok(response)
}

/// Makes an answer a download with this name, which no browser runs. An empty name is for an image that is shown.
fn make_download(response: &mut Response, name: &str) {
    let disposition = if name.is_empty() {
        "inline".to_owned()
    } else {
        // Names of files have no quotes or control characters, but may have letters of all languages.
        let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("attachment; filename*=UTF-8''{}", encoded.replace('+', "%20"))
    };
    let headers =
        [(header::CONTENT_DISPOSITION, &*disposition), (header::CONTENT_SECURITY_POLICY, SANDBOX)];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Returns the media type of an image by its first bytes.
fn image(file: &File) -> Option<&'static str> {
    let mut start = [0; 12];
    let length = file.read_at(&mut start, 0).ok()?;
    let is_it = |(mark, kind): &&(&[u8], &str)| {
        start[..length].starts_with(mark) && (*kind != "image/webp" || start[8..] == *b"WEBP")
    };
    IMAGES.iter().find(is_it).map(|(_, kind)| *kind)
}

/// Answers with a file, or the requested range of it. A file that grows is sent up to its length at the start.
fn send(mut file: File, headers: &HeaderMap, media_type: &'static str) -> Result<Response> {
    let failed = |error: io::Error| HttpProblem::storage(&format!("cannot read the file: {error}"));
    let length = file.metadata().map_err(failed)?.len();
    answer(length, headers, media_type, move |Range { start, end }, body| {
        file.seek(SeekFrom::Start(start))?;
        copy(file.take(end - start), 0..end - start, body)
    })
}

/// Answers with a text, or the requested range of it.
fn answer_text(text: Vec<u8>, headers: &HeaderMap) -> Result<Response> {
    answer(text.len() as u64, headers, TEXT, move |range, body| copy(&*text, range, body))
}

/// Answers with content, or the requested range of it, which `copy` writes.
fn answer(
    length: u64,
    headers: &HeaderMap,
    media_type: &'static str,
    copy: impl FnOnce(Range<u64>, &mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<Response> {
    let requested = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    // Browsers log an error for a refusal, although an empty answer is what they need.
    let requested = requested.filter(|_| length > 0);
    let range = match requested.and_then(|range| parse_range(range, length)) {
        Some(None) => {
            let problem = HttpProblem::new(ProblemKind::RANGE, "the file ends before this range");
            let content_range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((content_range, problem).into_response());
        }
        range => range.flatten(),
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let content_range =
        range.as_ref().map(|Range { start, end }| format!("bytes {start}-{}/{length}", end - 1));
    let range = range.unwrap_or(0..length);
    let fixed = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_LENGTH, (range.end - range.start).to_string()),
    ];
    let content_range = content_range.map(|range| [(header::CONTENT_RANGE, range)]);
    let body = write_body(move |body| copy(range, body));
    Ok((status, fixed, content_range, body).into_response())
}

/// Parses a range of bytes. `None` if it is ignored, `Some(None)` if the file has no bytes in it.
fn parse_range(text: &str, length: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = if first.is_empty() {
        length.saturating_sub(last.parse().ok()?)..length
    } else {
        let last =
            if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)? };
        first.parse().ok()?..last.min(length)
    };
    Some(Some(range).filter(|range| range.start < range.end))
}

/// Writes a range of content. The last byte follows once all content has been read. If the content is damaged, reading its end
/// fails, so the connection ends early and clients notice that the file is incomplete.
fn copy(mut content: impl Read, range: Range<u64>, body: &mut dyn Write) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let mut last = [0];
    io::copy(&mut content.by_ref().take(range.start), &mut io::sink())?;
    io::copy(&mut content.by_ref().take(range.end - range.start - 1), body)?;
    content.read_exact(&mut last)?;
    io::copy(&mut content, &mut io::sink())?;
    body.write_all(&last)
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_within_the_file() {
        for (text, range) in [
            ("bytes=0-3", Some(Some(0..4))),
            ("bytes=4-", Some(Some(4..10))),
            ("bytes=4-99", Some(Some(4..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-99", Some(Some(0..10))),
            ("bytes=10-", Some(None)),
            ("bytes=5-4", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=0-18446744073709551615", None),
            ("bytes=0-1,4-5", None),
            ("lines=1-2", None),
            ("bytes=-", None),
        ] {
            assert_eq!(parse_range(text, 10), range, "{text}");
        }
    }
}
