//! The server, the list of runs, and the page of a run.

use runner_model::status::{RunState, RunVerdict};
use runner_model::{Reason, RunStatus, Time, units::parse_age};
use runner_record::now;
use runner_report::{RunList, RunsPage, RunsQuery, ServerDocument, VERSION};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpProblem, Route};
use crate::server::Server;

/// Runs of a page: default and maximum.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/server", "The server", server),
        Route::get("/runs", "The runs of the results root, newest first", list),
    ]
}

/// A query without keys, or an empty body.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The name of a run in a path.
#[derive(Deserialize)]
pub(crate) struct RunName {
    pub run: String,
}

/// Selection of runs. Several words of a key are joined by commas.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListKeys {
    /// States, such as `failed,incomplete`.
    state: Option<String>,
    status: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
    /// `KEY=VALUE`, or `KEY` for any value.
    label: Option<String>,
    /// The scenario's name.
    scenario: Option<String>,
    /// Part of an id, a scenario's name, a user's name, a message or a label.
    q: Option<String>,
    /// Only runs that started since an age such as `7d`, or a time such as `2026-11-20T09:30:00Z`.
    since: Option<String>,
    /// Id of the last run of the page before.
    before: Option<String>,
    /// Runs of the page, up to 1000.
    limit: Option<usize>,
}

fn server(server: &Server, _: &(), _: &Nothing) -> Result<ServerDocument, HttpProblem> {
    Ok(ServerDocument {
        v: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now(),
        read_only: server.settings.is_read_only,
        root: server.root.path().to_string_lossy().into_owned(),
        scenarios: !server.settings.scenarios.is_empty(),
    })
}

fn list(server: &Server, _: &(), keys: &ListKeys) -> Result<RunsPage, HttpProblem> {
    let label = |text: &str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    let query = RunsQuery {
        states: words("state", &keys.state, RunState::ALL, RunState::as_str)?,
        statuses: words("status", &keys.status, RunStatus::ALL, RunStatus::as_str)?,
        verdicts: words("verdict", &keys.verdict, RunVerdict::ALL, RunVerdict::as_str)?,
        reasons: words("reason", &keys.reason, Reason::ALL, Reason::as_str)?,
        label: present(&keys.label).map(label),
        scenario: present(&keys.scenario).map(str::to_owned),
        text: present(&keys.q).map(str::to_owned),
        since: present(&keys.since).map(since).transpose()?,
        before: present(&keys.before).map(str::to_owned),
        limit: limit(keys.limit, PAGE, MAX_PAGE)?,
    };
    let list = RunList::read(&server.root)?;
    Ok(RunsPage::new(list, &query, server.settings.is_read_only, now()))
}

/// Returns the value of a key. `None` for an empty value, such as that of an empty field of a form.
pub(crate) fn present(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

/// Returns the number of items of a page, from 1 to `most`.
pub(crate) fn limit(
    limit: Option<usize>,
    default: usize,
    most: usize,
) -> Result<usize, HttpProblem> {
    match limit.unwrap_or(default) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(HttpProblem::invalid(&format!("`limit` must be from 1 to {most}"))),
    }
}

/// Parses an age before now, or a time.
pub(crate) fn since(text: &str) -> Result<Time, HttpProblem> {
    if let Ok(age) = parse_age(text) {
        return Ok(Time::from_millis(now().as_millis() - age.as_millis() as i64));
    }
    Time::parse(text).ok_or_else(|| {
        let problem = HttpProblem::invalid(&format!("`since` has no value `{text}`"));
        problem.with_help("use an age such as `7d`, or a time such as `2026-11-20T09:30:00Z`")
    })
}

/// Parses words with commas between them.
fn words<T: Copy>(
    key: &str,
    value: &Option<String>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Vec<T>, HttpProblem> {
    let parse = |text: &str| {
        let found = all.iter().find(|one| word(**one) == text).copied();
        found.ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|one| word(*one)).collect();
            let detail = format!("`{key}` has no value `{text}`");
            HttpProblem::invalid(&detail).with_help(format!("use {}", known.join(", ")))
        })
    };
    present(value).into_iter().flat_map(|text| text.split(',')).map(parse).collect()
}
