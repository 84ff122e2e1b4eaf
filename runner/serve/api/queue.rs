//! The queue of the results root: what waits until there is room.

use schemars::JsonSchema;
use serde::Deserialize;

use super::route::ApiAnswer;
use crate::{
    serve::{
        problem::HttpProblem,
        request::NoQuery,
        server::{Server, store},
    },
    session::{self, QueuePlace},
    view::{QueueChange, RunQueue},
};

/// The names in the path of a request that waits.
#[derive(Deserialize)]
pub(super) struct RequestPath {
    request: String,
}

/// Where a request waits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// By this priority; before all others where it is not said.
    #[serde(default)]
    priority: Option<i64>,
    /// Right before this request, by its id; others get a greater priority where it takes that.
    #[serde(default)]
    before: Option<String>,
}

/// Nothing is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

pub(super) fn list(
    server: &Server,
    (): &(),
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RunQueue>, HttpProblem> {
    Ok(session::list_queue(&store(server)?, &server.host)?.into())
}

pub(super) fn reorder(
    server: &Server,
    path: &RequestPath,
    body: &MoveBody,
) -> Result<ApiAnswer<QueueChange>, HttpProblem> {
    let place = match (body.priority, body.before.as_deref()) {
        (None, None) => QueuePlace::First,
        (Some(priority), None) => QueuePlace::Priority(priority),
        (None, Some(other)) => QueuePlace::Before(other),
        (Some(_), Some(_)) => {
            return Err(HttpProblem::bad_request(
                "`priority` and `before` exclude each other",
            ));
        }
    };
    let moved = session::move_queued(&store(server)?, &path.request, place, &server.host)?;
    Ok(moved.into())
}

pub(super) fn remove(
    server: &Server,
    path: &RequestPath,
    NoBody {}: &NoBody,
) -> Result<ApiAnswer<QueueChange>, HttpProblem> {
    let removed = session::remove_queued(&store(server)?, &path.request, &server.host)?;
    Ok(removed.into())
}
