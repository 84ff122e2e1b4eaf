//! What several calls take: the name of a run, a filter, or nothing.

use axum::{
    extract::{FromRequestParts, Path, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

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

/// The names in a path; one that cannot be read is a problem like any other.
pub(super) struct NamedInPath<P>(pub(super) P);

impl<P: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for NamedInPath<P> {
    type Rejection = HttpProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpProblem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(PathRejection::FailedToDeserializePathParams(failed)) => {
                Err(HttpProblem::bad_request(match failed.kind() {
                    ErrorKind::InvalidUtf8InPathParam { key } => {
                        format!("`{key}` in the path is not valid UTF-8")
                    }
                    // Every other name is a text.
                    ErrorKind::ParseErrorAtKey { key, value, .. } => {
                        format!("`{key}` in the path is a number, and not `{value}`")
                    }
                    _ => failed.body_text(),
                }))
            }
            Err(other) => Err(HttpProblem::internal(other.body_text())),
        }
    }
}

/// Reads a filter, if there is one.
pub(super) fn filter(text: Option<&str>) -> Result<Option<Filter>, HttpProblem> {
    let text = text.filter(|text| !text.trim().is_empty());
    let filter = text.map(Filter::parse).transpose();
    filter.map_err(|error| HttpProblem::bad_text(&error))
}
