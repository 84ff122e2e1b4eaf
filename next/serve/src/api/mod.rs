//! The calls of the API, as one table. The router and the OpenAPI document are made from it, so no call is outside of the contract.

mod actions;
mod command_words;
mod documents;
mod files;
mod events;
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
use axum::http::StatusCode;

pub(crate) use self::problem::HttpProblem;
pub(crate) use self::route::{Answer, Route};
use crate::server::Server;

/// The start of all paths of the API.
pub(crate) const BASE: &str = "/api/v1";

/// Returns all calls.
fn routes() -> Vec<Route> {
    [login::routes(), events::routes(), runs::routes(), trials::routes(), documents::routes(), files::routes(), scenario_list::routes(), actions::routes(), start::routes(), queue::routes()].into_iter().flatten().collect()
}

/// Returns the router of the API.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(&format!("{BASE}{}", route.path), route.handler);
    }
    let missing = || async { HttpProblem::not_found("the API has no such call") };
    let router = router.fallback(missing).method_not_allowed_fallback(|| async { wrong_method() });
    router.with_state(server)
}

/// The problem of a request with another method than its call has.
pub(crate) fn wrong_method() -> HttpProblem {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    HttpProblem::new(status, "/problems/method", "wrong method", "the call has another method")
}

/// Returns the OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    openapi::document(&routes())
}
