//! The calls of the API, as one table. The router and the OpenAPI document are made from it, so no call is outside of the contract.

mod problem;
mod route;
mod runs;

use std::sync::Arc;

use axum::Router;

pub(crate) use self::problem::HttpProblem;
pub(crate) use self::route::{Answer, Route};
use crate::server::Server;

/// The start of all paths of the API.
pub(crate) const BASE: &str = "/api/v1";

/// Returns all calls.
fn routes() -> Vec<Route> {
    [runs::routes()].into_iter().flatten().collect()
}

/// Returns the router of the API.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(&format!("{BASE}{}", route.path), route.handler);
    }
    router.with_state(server)
}

/// Returns the OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    serde_json::json!({ "paths": routes().iter().map(|route| route.path).collect::<Vec<_>>() })
}
