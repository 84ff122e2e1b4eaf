//! What several calls take: the name of a run, a filter, or nothing.

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::HttpProblem;
use crate::filter::Filter;

/// Nothing stands behind the `?`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// The names in the path of a run.
#[derive(Deserialize)]
pub(super) struct RunPath {
    pub(super) run: String,
}

/// Reads a filter, if there is one.
pub(super) fn filter(text: Option<&str>) -> Result<Option<Filter>, HttpProblem> {
    let text = text.filter(|text| !text.trim().is_empty());
    let filter = text.map(Filter::parse).transpose();
    filter.map_err(|error| HttpProblem::bad_text(&error))
}
