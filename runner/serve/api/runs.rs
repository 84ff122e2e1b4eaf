//! Runs: the list, one of them, what its rows come to.

use std::path::PathBuf;

use globset::GlobMatcher;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::route::ApiAnswer;
use crate::serve::{
    request::{NoQuery, RunPath},
    server::{Server, find, store},
};
use crate::{
    error::Error,
    model::{Reason, RunStatus, Verdict},
    record::{RunEntry, words},
    serve::problem::HttpProblem,
    session::{self, List, Show},
    view::{
        DocumentVersion, FailedPath, RunAction, RunOpened, RunPage, RunSummary, RunWaiting,
        RunsPage,
    },
};

/// How many runs a page has where nobody says so, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// Which runs are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunsQuery {
    /// Those with one of these, separated by commas: `running`, `completed`, `failed`, `incomplete`, `cancelled`.
    status: Option<String>,
    /// Those with this verdict: `passed`, `failed` or `none`.
    verdict: Option<String>,
    /// Those that have ended for this reason.
    reason: Option<String>,
    /// Those of scenarios whose name matches this glob.
    scenario: Option<String>,
    /// Those whose id or scenario has this in it.
    q: Option<String>,
    /// Those that began then or later: an instant such as `2026-01-31T12:00:00Z`.
    since: Option<String>,
    /// `newest` (the default), `oldest`, `longest` or `scenario`.
    sort: Option<String>,
    /// The id of a run: those that come behind it.
    after: Option<String>,
    /// How many: 100 where it is not said, 1,000 at most.
    limit: Option<usize>,
}

pub(super) fn list(
    server: &Server,
    (): &(),
    query: &RunsQuery,
) -> Result<ApiAnswer<RunsPage>, HttpProblem> {
    let asked = query.asked()?;
    let reason: Option<Reason> = query
        .reason
        .as_deref()
        .map(|text| word(text, "reason"))
        .transpose()?;
    let order = query.order()?;
    let now = (server.host.now)();
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let store = store(server)?;
    if query.is_first_page() {
        let newest = store.newest_runs(limit).map_err(Error::record)?;
        let runs: Vec<&RunEntry> = newest.runs.iter().map(|run| &**run).collect();
        let page = page(&runs, newest.count > runs.len(), &newest.unreadable, now);
        return Ok(RunsPage {
            count: newest.count,
            all: newest.count,
            ..page
        }
        .into());
    }
    let listed = store.shared_runs().map_err(Error::record)?;
    let mut runs: Vec<&RunEntry> = listed.runs.iter().map(|run| &**run).collect();
    runs.retain(|run| {
        let has = |text: &String| {
            run.id.as_str().contains(text.as_str()) || run.scenario.contains(text.as_str())
        };
        asked.is_wanted(run)
            && reason.is_none_or(|reason| run.reason == Some(reason))
            && query.q.as_ref().is_none_or(has)
    });
    order(&mut runs, now);
    let count = runs.len();
    if let Some(after) = &query.after {
        let place = runs.iter().position(|run| run.id.as_str() == after);
        let place = place.ok_or_else(|| {
            HttpProblem::bad_request(format!("`after`: no run `{after}` is one of these"))
        })?;
        runs.drain(..=place);
    }
    let has_more = runs.len() > limit;
    runs.truncate(limit);
    let page = page(&runs, has_more, &listed.unreadable, now);
    Ok(RunsPage {
        count,
        all: listed.runs.len(),
        ..page
    }
    .into())
}

/// A page of these runs, as if there were no others.
fn page(
    runs: &[&RunEntry],
    has_more: bool,
    unreadable: &[(PathBuf, String)],
    now: Timestamp,
) -> RunsPage {
    let last = runs.last().map(|run| run.id.to_string());
    let unreadable = unreadable.iter().map(|(path, error)| FailedPath {
        path: path.clone(),
        error: error.clone(),
    });
    RunsPage {
        v: DocumentVersion,
        runs: runs.iter().map(|run| RunSummary::new(run, now)).collect(),
        count: runs.len(),
        all: runs.len(),
        next: last.filter(|_| has_more),
        unreadable: unreadable.collect(),
        now,
    }
}

/// Puts runs into an order, as they stand at a moment; they come newest first.
type Sort = fn(&mut Vec<&RunEntry>, Timestamp);

impl RunsQuery {
    /// Tells whether it asks for the newest of all runs, which is what the dashboard opens with.
    fn is_first_page(&self) -> bool {
        let chosen = [&self.status, &self.verdict, &self.reason, &self.scenario];
        let others = [&self.q, &self.since, &self.after];
        let is_newest = matches!(self.sort.as_deref(), None | Some("newest"));
        is_newest && chosen.iter().chain(&others).all(|key| key.is_none())
    }

    fn asked(&self) -> Result<List, HttpProblem> {
        let words = self.status.iter().flat_map(|all| all.split(','));
        let statuses: Result<Vec<RunStatus>, _> = words.map(|text| word(text, "status")).collect();
        let verdict: Option<Verdict> = self
            .verdict
            .as_deref()
            .map(|text| word(text, "verdict"))
            .transpose()?;
        Ok(List {
            statuses: statuses?,
            verdict,
            scenario: self.scenario.as_deref().map(glob).transpose()?,
            since: match &self.since {
                Some(text) => text.parse().map_err(|_| {
                    HttpProblem::bad_request(format!("`since`: `{text}` is not an instant"))
                })?,
                None => Timestamp::MIN,
            },
            ..List::default()
        })
    }

    fn order(&self) -> Result<Sort, HttpProblem> {
        Ok(match self.sort.as_deref() {
            None | Some("newest") => |_, _| {},
            Some("oldest") => |runs, _| runs.reverse(),
            Some("longest") => |runs, now| {
                runs.sort_by_cached_key(|run| std::cmp::Reverse(RunSummary::elapsed(run, now)));
            },
            Some("scenario") => |runs, _| runs.sort_by(|a, b| a.scenario.cmp(&b.scenario)),
            Some(other) => {
                return Err(HttpProblem::bad_request(format!(
                    "`sort` is `newest`, `oldest`, `longest` or `scenario`, and not `{other}`"
                )));
            }
        })
    }
}

/// Reads a word of one of our own lists.
fn word<T: words::Word>(text: &str, key: &str) -> Result<T, HttpProblem> {
    words::parse(text)
        .ok_or_else(|| HttpProblem::bad_request(format!("`{key}`: there is no `{text}`")))
}

/// Reads a glob.
pub(super) fn glob(text: &str) -> Result<GlobMatcher, HttpProblem> {
    let glob =
        globset::Glob::new(text).map_err(|error| HttpProblem::bad_request(error.to_string()))?;
    Ok(glob.compile_matcher())
}

pub(super) fn show(
    server: &Server,
    path: &RunPath,
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunPage>, HttpProblem> {
    let now = (server.host.now)();
    let found = find(server, &path.run)?;
    let manifest = session::manifest(&found.dir)?;
    let run = RunSummary::new(&found, now);
    Ok(RunPage {
        v: DocumentVersion,
        actions: match server.access.is_read_only() {
            true => Vec::new(),
            false => RunAction::all(&run),
        },
        run,
        manifest,
        now,
    }
    .into())
}

pub(super) fn waiting(
    server: &Server,
    path: &RunPath,
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunWaiting>, HttpProblem> {
    let run = find(server, &path.run)?;
    let now = (server.host.now)();
    Ok(RunWaiting {
        v: DocumentVersion,
        activity: session::waiting(&run.dir, now)?,
        now,
    }
    .into())
}

pub(super) fn summary(
    server: &Server,
    path: &RunPath,
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunOpened>, HttpProblem> {
    let now = (server.host.now)();
    let run = find(server, &path.run)?;
    let (shown, _) = session::show(&run.dir, &Show::default(), |_| (), now)?;
    let denials = shown.denials.by_provider().flat_map(|(provider, denials)| {
        denials.iter().map(move |denial| {
            let what = &denial.denied.what;
            let grant = denial
                .denied
                .grant
                .as_ref()
                .map(|grant| format!(", which `{grant}` grants"));
            let times = match denial.count {
                1 => String::new(),
                count => format!(", {count} times"),
            };
            format!("{provider}: {what}{times}{}", grant.unwrap_or_default())
        })
    });
    Ok(RunOpened {
        v: DocumentVersion,
        denials: denials.collect(),
        providers: shown.providers,
        live: shown.detail.live,
    }
    .into())
}
