//! What runs come to beside each other: matrices, charts, comparisons, histories.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{route::ApiAnswer, runs::glob};
use crate::serve::{
    request::{NoQuery, RunPath, filter},
    server::{Server, find, store},
};
use crate::{
    serve::problem::HttpProblem,
    session::{self, AskedTrends, Compare},
    view::{Comparison, RunMetrics, RunSeries, TestTrends, TrialMatrix},
};

/// How many tests a matrix has at most, and where nobody says so.
const MAX_TESTS: usize = 1_000;
const TESTS: usize = 200;
/// Over how many runs a history goes at most, and where nobody says so.
const MAX_RUNS: usize = 1_000;
const RUNS: usize = 20;

/// Which tests are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MatrixQuery {
    /// How many to pass over.
    offset: Option<usize>,
    /// How many: 200 where it is not said, 1,000 at most.
    limit: Option<usize>,
}

pub(super) fn matrix(
    server: &Server,
    path: &RunPath,
    query: &MatrixQuery,
) -> Result<ApiAnswer<TrialMatrix>, HttpProblem> {
    let run = find(server, &path.run)?;
    let followed = server.runs.followed(&run.dir)?;
    let limit = query.limit.unwrap_or(TESTS).clamp(1, MAX_TESTS);
    let matrix = followed.list().matrix(query.offset.unwrap_or(0), limit)?;
    Ok(matrix.into())
}

pub(super) fn series(
    server: &Server,
    path: &RunPath,
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunSeries>, HttpProblem> {
    let run = find(server, &path.run)?;
    let followed = server.runs.followed(&run.dir)?;
    let series = followed.list().series();
    Ok(series.into())
}

pub(super) fn metrics(
    server: &Server,
    path: &RunPath,
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunMetrics>, HttpProblem> {
    let run = find(server, &path.run)?;
    let followed = server.runs.followed(&run.dir)?;
    let metrics = followed.list().metrics()?;
    Ok(metrics.into())
}

/// What is compared.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareQuery {
    /// The run that is compared with.
    base: String,
    /// The run that is compared; the same one where two providers of it are.
    new: Option<String>,
    /// Two names of providers, separated by a comma.
    providers: Option<String>,
    /// Only tests of which this filter means a trial.
    filter: Option<String>,
}

pub(super) fn compare(
    server: &Server,
    (): &(),
    query: &CompareQuery,
) -> Result<ApiAnswer<Comparison>, HttpProblem> {
    let base = find(server, &query.base)?.dir;
    let new = match &query.new {
        Some(new) => find(server, new)?.dir,
        None => base.clone(),
    };
    let pair = |text: &String| {
        let pair = text
            .split_once(',')
            .map(|(a, b)| (a.to_owned(), b.to_owned()));
        pair.ok_or_else(|| {
            HttpProblem::bad_request("`providers` are two names, separated by a comma")
        })
    };
    let asked = Compare {
        base,
        new,
        providers: query.providers.as_ref().map(pair).transpose()?,
        filter: filter(query.filter.as_deref())?,
    };
    Ok(session::compare(&asked, |_| ())?.into())
}

/// Which tests of which runs are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Runs of scenarios whose name matches this glob.
    scenario: Option<String>,
    /// Tests whose id matches this glob.
    test: Option<String>,
    /// Trials that this filter means.
    filter: Option<String>,
    /// Over how many of the newest runs: 20 where it is not said, 1,000 at most.
    last: Option<usize>,
}

pub(super) fn history(
    server: &Server,
    (): &(),
    query: &HistoryQuery,
) -> Result<ApiAnswer<TestTrends>, HttpProblem> {
    if query.last == Some(0) {
        return Err(HttpProblem::bad_request("`last` is at least 1"));
    }
    let asked = AskedTrends {
        scenario: query.scenario.as_deref().map(glob).transpose()?,
        test: query.test.as_deref().map(glob).transpose()?,
        filter: filter(query.filter.as_deref())?,
        last: query.last.unwrap_or(RUNS).clamp(1, MAX_RUNS),
    };
    Ok(session::trends(&store(server)?, &asked)?.trends.into())
}
