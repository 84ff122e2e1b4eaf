//! The server, and the list of runs.

use runner_model::status::{RunState, RunVerdict};
use runner_model::{Reason, Time};
use runner_record::now;
use runner_report::{RunList, RunsPage, RunsQuery, VERSION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::{Nothing, present, since, words};
use super::{Result, Route};
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

/// A server, for the pages that it serves.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ServerDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Version of the runner.
    pub version: String,
    /// The server's time, by which pages show ages.
    pub now: Time,
    /// Whether the server refuses every change.
    pub read_only: bool,
    /// The results root.
    pub root: String,
    /// Whether scenarios can be started.
    pub scenarios: bool,
}

/// Selection of runs. Several words of a key are joined by commas.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListKeys {
    /// Words of `runner list --status`, such as `failed,incomplete`.
    status: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
    /// `KEY=VALUE`, or `KEY` for any value.
    label: Option<String>,
    /// The scenario's name.
    scenario: Option<String>,
    /// Id of a group, or a part of it.
    group: Option<String>,
    /// Part of an id, also of a group, a scenario's name, a user's name, a message or a label.
    q: Option<String>,
    /// Only runs that started since an age such as `7d`, or a time such as `2026-11-20T09:30:00Z`.
    since: Option<String>,
    /// Id of the last run of the page before.
    before: Option<String>,
    /// Runs of the page.
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<usize>,
}

fn server(server: &Server, _: &(), _: &Nothing) -> Result<ServerDocument> {
    Ok(ServerDocument {
        v: VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now(),
        read_only: server.settings.is_read_only,
        root: server.root.path().to_string_lossy().into_owned(),
        scenarios: !server.settings.scenarios.is_empty(),
    })
}

fn states(keys: &ListKeys) -> Result<Vec<RunState>> {
    let all: Vec<_> = RunState::selectors().collect();
    let chosen = words("status", &keys.status, &all, |word| word)?;
    Ok(chosen.into_iter().filter_map(RunState::selected_by).flatten().copied().collect())
}

fn list(server: &Server, _: &(), keys: &ListKeys) -> Result<RunsPage> {
    let label = |text: &str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    let query = RunsQuery {
        states: states(keys)?,
        verdicts: words("verdict", &keys.verdict, RunVerdict::ALL, RunVerdict::as_str)?,
        reasons: words("reason", &keys.reason, Reason::ALL, Reason::as_str)?,
        label: present(&keys.label).map(label),
        scenario: present(&keys.scenario).map(str::to_owned),
        group: present(&keys.group).map(str::to_owned),
        text: present(&keys.q).map(str::to_owned),
        since: present(&keys.since).map(since).transpose()?,
        before: present(&keys.before).map(str::to_owned),
        limit: keys.limit.unwrap_or(PAGE),
    };
    let list = RunList::read(&server.root)?;
    Ok(RunsPage::new(&server.root, list, &query, server.settings.is_read_only, now()))
}
