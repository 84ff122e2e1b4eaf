//! Documents about one or more runs, which commands print, too.

use runner_record::{Manifest, RecordError, RunDir, now};
use runner_report::{
    ComparisonDocument, FailuresPage, HistoryDocument, HistoryGroups, HistoryQuery, LivePage,
    MatrixPage, MatrixQuery, PageTables, RowSelection, RunCharts, RunPage, SincePrevious, Timeline,
};
use runner_scenario::IdGlob;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

use super::keys::{Nothing, RunName, present, since};
use super::trials::{filter, table};
use super::{HttpProblem, Result, Route};
use crate::{server::Server, tables::ServedTable};

/// Bins of a chart: default and maximum.
const BINS: usize = 40;
const MAX_BINS: usize = 1000;
/// Tests of a page of the matrix or the history: default and maximum.
const TESTS: usize = 200;
const MAX_TESTS: usize = 1000;
/// Tests of a page of the matrix with answers, which are read from disk: maximum.
const MAX_ANSWERED: usize = 25;
/// Runs of a history: default and maximum.
const RUNS: usize = 20;
const MAX_RUNS: usize = 1000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/runs/{run}", "A run without its rows", run_page),
        Route::get("/runs/{run}/summary", "Durations, and results over time", charts),
        Route::get("/runs/{run}/failures", "Trials that did not pass, by reason", failures),
        Route::get("/runs/{run}/matrix", "Results of each test on each provider", matrix),
        Route::get("/runs/{run}/timeline", "Attempts over time", timeline),
        Route::get("/runs/{run}/live", "Attempts that run now", live),
        Route::get("/compare", "Two runs, joined by test and provider", compare),
        Route::get("/history", "Results of tests over the runs of a scenario", history),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChartKeys {
    /// Bins of each chart.
    #[schemars(range(min = 1, max = MAX_BINS))]
    bins: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TimelineKeys {
    /// Milliseconds since the start of the run. By default, 0.
    #[schemars(range(max = u32::MAX))]
    from: Option<u64>,
    /// Milliseconds since the start of the run. By default, the end of the last attempt.
    #[schemars(range(max = u32::MAX))]
    to: Option<u64>,
    /// Only attempts of trials that match this filter, as in `exec --filter`.
    filter: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MatrixKeys {
    /// Only tests whose providers have different outcomes or scores.
    differs: Option<bool>,
    /// Tests with the most trials that did not pass first, and then those with the lowest score.
    worst_first: Option<bool>,
    /// Inputs of tests, and answers of providers. A page then has at most 25 tests.
    answers: Option<bool>,
    /// Tests before the page.
    #[schemars(range(max = u32::MAX))]
    offset: Option<usize>,
    /// Tests of the page.
    #[schemars(range(min = 1, max = MAX_TESTS))]
    limit: Option<usize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CompareKeys {
    /// The earlier run. By default, the previous run of the scenario.
    base: Option<String>,
    /// The later run. By default, the newest one.
    new: Option<String>,
    /// A filter that matches tests in one of the runs.
    filter: Option<String>,
    /// Two providers to compare, joined by a comma.
    providers: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HistoryKeys {
    /// The scenario's name. By default, that of the newest run.
    scenario: Option<String>,
    /// Glob of test ids.
    test: Option<String>,
    /// Glob of provider names.
    provider: Option<String>,
    /// An age such as `7d`, or a time.
    since: Option<String>,
    /// `run`, `day`, or the name of a label.
    by: Option<String>,
    /// Number of runs, the newest.
    #[schemars(range(min = 1, max = MAX_RUNS))]
    limit: Option<usize>,
    /// Tests before the page.
    #[schemars(range(max = u32::MAX))]
    tests_offset: Option<usize>,
    /// Tests of the page.
    #[schemars(range(min = 1, max = MAX_TESTS))]
    tests_limit: Option<usize>,
}

/// Calls `work` with a run and its table.
fn with_table<T>(
    server: &Server,
    names: &RunName,
    work: impl FnOnce(&RunDir, &mut ServedTable) -> Result<T>,
) -> Result<T> {
    let run = server.run(&names.run)?;
    table(server, &run)?.with(&run, |table| work(&run, table))
}

fn run_page(server: &Server, names: &RunName, _: &Nothing) -> Result<RunPage> {
    let run = server.run(&names.run)?;
    let is_read_only = server.settings.is_read_only;
    let manifest = run.manifest()?;
    let slot = server.tables.of(&run, manifest.metadata.planned_trial_count);
    let tables = |judged: &Manifest| -> std::result::Result<PageTables, RecordError> {
        slot.with(&run, |table| table.tables(&server.root, judged))
    };
    let tables = slot.is_ready_soon(&run, manifest.counts.done()).then_some(tables);
    Ok(RunPage::read(&server.root, &run, tables, is_read_only, now())?)
}

fn timeline(server: &Server, names: &RunName, keys: &TimelineKeys) -> Result<Timeline> {
    let which = filter(server, present(&keys.filter))?.map(RowSelection::Matching);
    with_table(server, names, |run, table| {
        let table = &table.planned.table;
        Ok(Timeline::read(table, &run.truth()?, keys.from, keys.to, which.as_ref())?)
    })
}

fn charts(server: &Server, names: &RunName, keys: &ChartKeys) -> Result<RunCharts> {
    let bins = keys.bins.unwrap_or(BINS);
    with_table(server, names, |run, table| {
        Ok(RunCharts::read(&table.planned.table, &run.manifest()?, bins)?)
    })
}

fn failures(server: &Server, names: &RunName, _: &Nothing) -> Result<Arc<FailuresPage>> {
    with_table(server, names, |run, table| Ok(table.failures(&server.root, &run.truth()?)?))
}

fn matrix(server: &Server, names: &RunName, keys: &MatrixKeys) -> Result<MatrixPage> {
    let [differs, is_worst_first, has_answers] =
        [keys.differs, keys.worst_first, keys.answers].map(Option::unwrap_or_default);
    let most = if has_answers { MAX_ANSWERED } else { MAX_TESTS };
    let offset = keys.offset.unwrap_or(0);
    let page = offset..offset + keys.limit.unwrap_or(TESTS).min(most);
    let query = MatrixQuery { differs, is_worst_first, has_answers, page };
    with_table(server, names, |run, table| {
        Ok(MatrixPage::read(&table.planned, &run.manifest()?, &query)?)
    })
}

fn live(server: &Server, names: &RunName, _: &Nothing) -> Result<LivePage> {
    Ok(LivePage::read(&server.run(&names.run)?)?)
}

fn compare(server: &Server, _: &(), keys: &CompareKeys) -> Result<ComparisonDocument> {
    let new = server.run(present(&keys.new).unwrap_or("latest"))?;
    let base = match present(&keys.base) {
        Some(base) => server.run(base)?,
        None => {
            let found = SincePrevious::base(&server.root, &new, &new.manifest()?)?;
            let problem =
                || HttpProblem::not_found("no earlier run of the scenario can be compared");
            found.ok_or_else(|| problem().with_help("name one: `base`"))?.0
        }
    };
    let providers = match present(&keys.providers).map(|names| names.split_once(',')) {
        Some(None) => return Err(HttpProblem::invalid("`providers` needs two names: `A,B`")),
        names => names.flatten().map(|(one, other)| [one.to_owned(), other.to_owned()]),
    };
    let filter = filter(server, present(&keys.filter))?;
    Ok(ComparisonDocument::read([&base, &new], providers.as_ref(), filter.as_ref())?)
}

fn history(server: &Server, _: &(), keys: &HistoryKeys) -> Result<HistoryDocument> {
    let glob = |text: &Option<String>| {
        let glob = present(text).map(IdGlob::new).transpose();
        glob.map_err(|problem| HttpProblem::invalid(&problem))
    };
    let test = glob(&keys.test)?;
    let provider = glob(&keys.provider)?;
    let is_in =
        |glob: &Option<IdGlob>, name: &str| glob.as_ref().is_none_or(|glob| glob.is_match(name));
    let newest = match present(&keys.scenario) {
        None => server.run("latest")?.manifest()?,
        Some(name) => {
            let mut runs = server.root.runs_of_user(Some(name))?.flatten();
            let found = runs.find_map(|run| run.manifest().ok());
            found.ok_or_else(|| HttpProblem::not_found(&format!("no run of scenario `{name}`")))?
        }
    };
    let offset = keys.tests_offset.unwrap_or(0);
    let query = HistoryQuery {
        is_wanted: &|of, on| is_in(&test, of) && is_in(&provider, on),
        since: present(&keys.since).map(since).transpose()?,
        limit: keys.limit.unwrap_or(RUNS),
        tests: offset..offset + keys.tests_limit.unwrap_or(TESTS),
        by: &match present(&keys.by).unwrap_or("run") {
            "run" => HistoryGroups::Run,
            "day" => HistoryGroups::Day,
            label => HistoryGroups::Label(label.to_owned()),
        },
    };
    let path = newest.scenario_path.as_ref();
    Ok(HistoryDocument::read(&server.root, &newest.scenario, path, &query, &mut || {})?)
}
