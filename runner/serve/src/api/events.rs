//! Events of a run, and of the results root.

use std::sync::Arc;

use axum::{http::HeaderMap, response::Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpProblem, Result, Route, keys::RunName};
use crate::events::{RunCursor, follow_run, start};
use crate::server::Server;

const MEDIA_TYPE: &str = "text/event-stream";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::bytes("/events", "Changes of all runs and of the queue", MEDIA_TYPE, root)
            .refusing(&[503]),
        Route::bytes("/runs/{run}/events", "Progress of a run", MEDIA_TYPE, run).refusing(&[503]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RootKeys {
    /// Id of the last event that was received, if the header `Last-Event-ID` is absent.
    after: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunKeys {
    /// Id of the last event that was received, if the header `Last-Event-ID` is absent.
    after: Option<String>,
    /// With `full`, each row is an event, too.
    rows: Option<RowEvents>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RowEvents {
    Full,
}

/// Returns the id of the last event that the client has. A browser that reconnects repeats its first address, so the header takes
/// precedence.
fn last_id(headers: &HeaderMap, after: Option<&String>) -> Option<String> {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    header.map(str::to_owned).or_else(|| after.cloned()).filter(|id| !id.is_empty())
}

fn root(server: &Arc<Server>, _: &(), keys: &RootKeys, headers: &HeaderMap) -> Result<Response> {
    let after = last_id(headers, keys.after.as_ref());
    let watch = server.watch.clone();
    start(&server.streams, move |stream| watch.follow(after, stream))
}

fn run(
    server: &Arc<Server>,
    name: &RunName,
    keys: &RunKeys,
    headers: &HeaderMap,
) -> Result<Response> {
    let run = server.run(&name.run)?;
    let after = last_id(headers, keys.after.as_ref()).unwrap_or_else(|| "0".into());
    let after = after.parse().map_err(|_| {
        HttpProblem::invalid("`after` is not the id of an event of a run: use a whole number")
    })?;
    let cursor = RunCursor { after, sends_rows: keys.rows.is_some() };
    let states = server.run_states.clone();
    start(&server.streams, move |stream| follow_run(run, cursor, states, stream))
}
