//! The list of runs, and the document of a run.

use runner_report::RunList;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpProblem, Route};
use crate::server::Server;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/runs", "The runs of the results root, newest first", list)]
}

/// A path without names, or a query without keys.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

fn list(server: &Server, _: &(), _: &Nothing) -> Result<RunList, HttpProblem> {
    Ok(RunList::read(&server.root)?)
}
