//! Documents about one or more runs, which commands print, too.

use runner_record::{RunDir, now};
use runner_report::{
    ComparisonDocument, FailuresPage, HistoryDocument, HistoryGroups, HistoryQuery, LivePage,
    MatrixPage, RunCharts, RunIndex, RunPage, SincePrevious,
};
use runner_scenario::IdGlob;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

use super::keys::{Nothing, RunName, present, since};
use super::trials::{filter, index};
use super::{HttpProblem, Result, Route};
use crate::server::Server;

/// Bins of a chart: default and maximum.
const BINS: usize = 40;
const MAX_BINS: usize = 1000;
/// Tests of a page of the matrix: default and maximum.
const TESTS: usize = 200;
const MAX_TESTS: usize = 1000;
/// Runs of a history: default and maximum.
const RUNS: usize = 20;
const MAX_RUNS: usize = 1000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/runs/{run}", "A run without its rows", run_page),
        Route::get("/runs/{run}/summary", "Durations, and results over time", charts),
        Route::get("/runs/{run}/failures", "Trials that did not pass, by reason", failures),
        Route::get("/runs/{run}/matrix", "Results of each test on each provider", matrix),
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
struct MatrixKeys {
    /// Tests before the page.
    #[schemars(range(max = u32::MAX))]
    offset: Option<u64>,
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
}

/// Calls `work` with a run and its index.
fn indexed<T>(
    server: &Server,
    names: &RunName,
    work: impl FnOnce(&RunDir, &mut RunIndex) -> Result<T>,
) -> Result<T> {
    let run = server.run(&names.run)?;
    index(server, &run)?.with(&run, |index| work(&run, index))
}

fn run_page(server: &Server, names: &RunName, _: &Nothing) -> Result<RunPage> {
    let (run, is_read_only) = (server.run(&names.run)?, server.settings.is_read_only);
    let manifest = run.manifest()?;
    let slot = server.indexes.of(&run, manifest.metadata.planned_trial_count);
    let read = |index: Option<&mut RunIndex>| {
        Ok(RunPage::read(&server.root, &run, index, is_read_only, now())?)
    };
    if slot.is_ready_soon(&run, manifest.counts.done()) {
        slot.with(&run, |index| read(Some(index)))
    } else {
        read(None)
    }
}

fn charts(server: &Server, names: &RunName, keys: &ChartKeys) -> Result<RunCharts> {
    let bins = keys.bins.unwrap_or(BINS);
    indexed(server, names, |_, index| Ok(index.charts(bins)))
}

fn failures(server: &Server, names: &RunName, _: &Nothing) -> Result<Arc<FailuresPage>> {
    indexed(server, names, |run, index| Ok(index.failures(&server.root, &run.truth()?)?))
}

fn matrix(server: &Server, names: &RunName, keys: &MatrixKeys) -> Result<MatrixPage> {
    let limit = keys.limit.unwrap_or(TESTS) as u64;
    let offset = keys.offset.unwrap_or(0);
    indexed(server, names, |run, index| Ok(index.matrix(&run.manifest()?, (offset, limit))?))
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
    let (test, provider) = (glob(&keys.test)?, glob(&keys.provider)?);
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
    let query = HistoryQuery {
        is_wanted: &|of, on| is_in(&test, of) && is_in(&provider, on),
        since: present(&keys.since).map(since).transpose()?,
        limit: keys.limit.unwrap_or(RUNS),
        by: &match present(&keys.by).unwrap_or("run") {
            "run" => HistoryGroups::Run,
            "day" => HistoryGroups::Day,
            label => HistoryGroups::Label(label.to_owned()),
        },
    };
    let path = newest.scenario_path.as_ref();
    Ok(HistoryDocument::read(&server.root, &newest.scenario, path, &query, &mut || {})?)
}
