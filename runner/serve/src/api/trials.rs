//! The trials of a run, as pages and one by one.

use std::ops::Range;
use std::time::{Duration, Instant};

use runner_engine::resolve_filter_in;
use runner_model::TrialId;
use runner_record::RunDir;
use runner_report::{
    CallsDocument, ChangesDocument, PageStart, StepPlace, StepQuery, TranscriptDocument,
    TrialDocument, TrialPage, TrialsPage, find_trial_in, suite_line,
};
use runner_results::{PlannedTable, TrialOrder, TrialQuery};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use super::keys::{RunName, present};
use super::{HttpProblem, Result, Route};
use crate::server::Server;
use crate::tables::SharedTable;

/// Trials of a page: default and maximum.
const PAGE: usize = 200;
const MAX_PAGE: usize = 1000;
/// Calls, changes and steps of a page: default and maximum.
const CALLS: usize = 100;
const CHANGES: usize = 200;
const STEPS: u64 = 100;
/// Time limit of a search in texts.
const SEARCH_TIME: Duration = Duration::from_secs(5);
/// Columns of the problems of a filter.
const COLUMNS: usize = 100;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/runs/{run}/trials", "Trials of a run that match a filter", list),
        Route::get("/runs/{run}/trials/{trial}", "A trial with all its attempts", one),
        Route::get("/runs/{run}/trials/{trial}/calls", "Calls in an attempt's journal", calls),
        Route::get(
            "/runs/{run}/trials/{trial}/changes",
            "Changes in an attempt's workspace",
            changes,
        ),
        Route::get(
            "/runs/{run}/trials/{trial}/transcript",
            "Steps of an attempt's transcript",
            transcript,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListKeys {
    /// A filter, such as `outcome(failed)`. It names runs by id or `latest`.
    filter: Option<String>,
    /// Text in the id, a message or the output.
    q: Option<String>,
    /// Key of a kind or a group of failures in `/runs/{run}/failures`.
    group: Option<String>,
    /// `worst`, `plan`, `duration`, `score` or `attempts`; the last three with `-` for descending order.
    sort: Option<String>,
    /// Number of rows that the page is about, from an earlier page. By default, all.
    #[schemars(range(max = u64::MAX))]
    rev: Option<u64>,
    /// Trials before the page.
    #[schemars(range(max = u32::MAX))]
    offset: Option<usize>,
    /// Id of a trial. The page starts one trial before it, and is empty if the query does not select it.
    near: Option<String>,
    /// Trials of the page.
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<usize>,
}

/// The names in the path of a trial.
#[derive(Deserialize)]
pub(crate) struct TrialName {
    pub run: String,
    /// The trial's id, or its place in the plan.
    pub trial: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptKeys {
    /// The attempt. By default, the deciding one.
    #[schemars(range(min = 1, max = u32::MAX))]
    pub attempt: Option<u32>,
}

/// A page of calls or changes of an attempt, with up to `MOST` of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PartKeys<const MOST: usize> {
    /// The attempt. By default, the deciding one. For calls, the newest one if no attempt has a row.
    #[schemars(range(min = 1, max = u32::MAX))]
    attempt: Option<u32>,
    /// Calls or changes before the page.
    #[schemars(range(max = u32::MAX))]
    offset: Option<usize>,
    /// Calls or changes of the page.
    #[schemars(range(min = 1, max = MOST))]
    limit: Option<usize>,
}

impl<const MOST: usize> PartKeys<MOST> {
    fn page(&self) -> Range<usize> {
        let offset = self.offset.unwrap_or(0);
        offset..offset + self.limit.unwrap_or(MOST)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepKeys {
    /// The attempt. By default, the deciding one.
    #[schemars(range(min = 1, max = u32::MAX))]
    attempt: Option<u32>,
    /// Name of a tool. Only steps that call it.
    tool: Option<String>,
    /// Steps before the page.
    #[schemars(range(max = u32::MAX))]
    offset: Option<u64>,
    /// Number of a step. The page starts up to five steps before it.
    #[schemars(range(max = u32::MAX))]
    near: Option<u64>,
    /// Steps of the page.
    #[schemars(range(min = 1, max = STEPS))]
    limit: Option<u64>,
}

fn list(server: &Server, names: &RunName, keys: &ListKeys) -> Result<TrialsPage> {
    let run = server.run(&names.run)?;
    let order = present(&keys.sort).unwrap_or("worst");
    let order = TrialOrder::parse(order).ok_or_else(|| {
        let problem = HttpProblem::invalid(&format!("`sort` has no value `{order}`"));
        problem
            .with_help("use worst, plan, duration, -duration, score, -score, attempts, -attempts")
    })?;
    let mut query = TrialQuery {
        filter: filter(server, present(&keys.filter))?,
        text: present(&keys.q).unwrap_or_default().to_owned(),
        rows: None,
        order,
        until: Instant::now() + SEARCH_TIME,
    };
    let near = present(&keys.near).map(|id| {
        TrialId::parse(id)
            .map_err(|_| HttpProblem::invalid(&format!("`near` is not the id of a trial: `{id}`")))
    });
    let start = match near.transpose()? {
        Some(trial) => PageStart::Before(trial),
        None => PageStart::Offset(keys.offset.unwrap_or(0)),
    };
    let limit = keys.limit.unwrap_or(PAGE);
    let manifest = run.truth()?;
    let slot = server.tables.of(&run, manifest.metadata.planned_trial_count);
    let group = present(&keys.group);
    let is_whole = query.filter.is_none() && query.text.is_empty() && group.is_none();
    let is_first = is_whole && start == PageStart::Offset(0);
    if is_first && !slot.is_ready_soon(&run, manifest.counts.done()) {
        return Ok(TrialsPage::of_first_rows(&run, limit)?);
    }
    slot.with(&run, |table| {
        if keys.rev.is_some_and(|rev| rev > table.rev()) {
            let problem = HttpProblem::invalid("the run has fewer rows than `rev`");
            return Err(problem.with_help("read the first page again, without `rev`"));
        }
        let since = table.since_previous(&server.root, &manifest)?;
        let mut reason = None;
        if let Some(key) = group {
            let failures = table.failures(&server.root, &manifest)?;
            let (words, rows) = failures.group(key).ok_or_else(|| {
                let problem = format!("no failures of the run are in the group `{key}`");
                HttpProblem::invalid(&problem).with_help("read the groups: /runs/{run}/failures")
            })?;
            (reason, query.rows) = (Some(words), Some(rows.into()));
        }
        let live = run.live();
        let mut page = TrialsPage::read(
            &mut table.planned,
            &query,
            keys.rev,
            (&start, limit),
            Option::as_ref(&since),
            live.as_ref(),
        )?;
        page.reason = reason;
        Ok(page)
    })
}

/// Parses a filter, and looks up its runs in the root by their names.
pub(super) fn filter(server: &Server, text: Option<&str>) -> Result<Option<Filter>> {
    let Some(text) = text else { return Ok(None) };
    let mut filter = Filter::parse(text)
        .map_err(|problems| HttpProblem::invalid(&problems.render(false, COLUMNS)))?;
    resolve_filter_in(&mut filter, &server.root)?;
    Ok(Some(filter))
}

fn one(server: &Server, names: &TrialName, keys: &AttemptKeys) -> Result<TrialPage> {
    let run = server.run(&names.run)?;
    let mut document = read(server, &run, names, keys.attempt)?;
    document.read_history(&server.root, &run, &mut || {})?;
    Ok(TrialPage::new(document))
}

fn calls(server: &Server, names: &TrialName, keys: &PartKeys<CALLS>) -> Result<CallsDocument> {
    let run = server.run(&names.run)?;
    // An interrupted attempt has calls and no row, so it is not looked up among the rows.
    Ok(read(server, &run, names, None)?.calls(&run, keys.attempt, keys.page())?)
}

fn changes(
    server: &Server,
    names: &TrialName,
    keys: &PartKeys<CHANGES>,
) -> Result<ChangesDocument> {
    let run = server.run(&names.run)?;
    let document = read(server, &run, names, keys.attempt)?.changes(&run, keys.page())?;
    document.ok_or_else(|| HttpProblem::not_found("the attempt has no changes of a workspace"))
}

fn transcript(server: &Server, names: &TrialName, keys: &StepKeys) -> Result<TranscriptDocument> {
    let run = server.run(&names.run)?;
    let offset = StepPlace::Offset(keys.offset.unwrap_or(0));
    let query = StepQuery {
        tool: present(&keys.tool).map(str::to_owned),
        from: keys.near.map_or(offset, StepPlace::Near),
        limit: keys.limit.unwrap_or(STEPS),
        is_full: false,
    };
    let document = read(server, &run, names, keys.attempt)?.transcript(&run, query)?;
    document.ok_or_else(|| HttpProblem::not_found("the attempt has no transcript"))
}

/// Reads a trial. `attempt` selects the attempt that it shows.
pub(super) fn read(
    server: &Server,
    run: &RunDir,
    names: &TrialName,
    attempt: Option<u32>,
) -> Result<TrialDocument> {
    let mut document = table(server, run)?.with(run, |served| {
        let PlannedTable { table, order, .. } = &served.planned;
        let trial = find(&served.planned, &names.trial)?;
        let is_planned = order.place(table, &trial).is_some();
        let planned = order.suite.as_ref().and_then(|suite| suite_line(suite, &trial.test));
        let document = TrialDocument::read(&server.root, table, trial, planned)?;
        // After `--accept-changes`, a run may have rows of trials that its plan lacks.
        if document.rows.is_empty() && !is_planned {
            let problem = format!("run {} has no trial `{}`", run.id(), document.trial);
            return Err(HttpProblem::not_found(&problem));
        }
        Ok(document)
    })?;
    if let Some(attempt) = attempt {
        let shown = document.show_attempt(&server.root, attempt);
        shown.map_err(|problem| HttpProblem::not_found(&problem))?;
    }
    Ok(document)
}

/// Finds a trial by its id, its place in the plan, or a part of its id.
fn find(planned: &PlannedTable, name: &str) -> Result<TrialId> {
    let run = planned.table.run();
    if let Ok(trial) = TrialId::parse(name) {
        return Ok(trial);
    }
    if let Ok(place) = name.parse() {
        let found = planned.trial_id(place);
        let problem = format!("run {} has no trial with the number {place}", run.id());
        return found.ok_or_else(|| HttpProblem::not_found(&problem));
    }
    let found = find_trial_in(&planned.table, name).only(run.id(), name);
    found.map_err(|problem| HttpProblem::not_found(&problem))
}

/// Returns the table of a run.
pub(super) fn table(server: &Server, run: &RunDir) -> Result<SharedTable> {
    Ok(server.tables.of(run, run.manifest()?.metadata.planned_trial_count))
}
