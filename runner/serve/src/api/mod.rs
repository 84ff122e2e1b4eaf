//! The calls of the API, in one table. The router and the OpenAPI document are made from it, so the document has every call.

mod actions;
mod command_words;
mod documents;
mod events;
mod files;
mod login;
mod openapi;
mod preview;
mod problem;
mod queue;
mod route;
mod runs;
mod scenario_list;
mod scenarios;
mod start;
mod trials;

use std::sync::Arc;

use axum::Router;

pub(crate) use self::problem::{HttpProblem, ProblemKind, Result};
use self::route::BASE;
pub(crate) use self::route::{Answer, Route};
use self::runs::Nothing;
use crate::server::Server;

/// Returns all calls.
fn routes() -> Vec<Route> {
    [
        login::routes(),
        events::routes(),
        vec![Route::get("/openapi.json", "This document", description)],
        runs::routes(),
        trials::routes(),
        documents::routes(),
        files::routes(),
        scenario_list::routes(),
        actions::routes(),
        start::routes(),
        queue::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn description(_: &Server, _: &(), _: &Nothing) -> Result<serde_json::Value> {
    Ok(openapi())
}

/// Returns the router of the API.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(&format!("{BASE}{}", route.path), route.handler);
    }
    let missing = || async {
        let problem = HttpProblem::not_found("the API has no such call");
        problem.with_help(format!("list all calls: GET {BASE}/openapi.json"))
    };
    let router =
        router.fallback(missing).method_not_allowed_fallback(|| async { HttpProblem::method() });
    router.with_state(server)
}

/// Returns the OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    openapi::document(&routes())
}
