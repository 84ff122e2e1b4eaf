//! The calls of the API, in one table. The router and the OpenAPI document are made from it, so the document has every call.

mod actions;
mod command_words;
mod documents;
mod events;
mod files;
mod keys;
mod logs;
mod numbers;
mod openapi;
mod preview;
mod problem;
mod queue;
mod route;
mod runs;
mod scenarios;
mod start;
mod trials;

use std::sync::Arc;

use axum::Router;
use runner_report::VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::keys::Nothing;
pub(crate) use self::problem::{HttpProblem, ProblemKind, Result};
use self::route::BASE;
pub(crate) use self::route::{HttpAnswer, Route};
use crate::server::Server;

/// Returns all calls.
fn routes() -> Vec<Route> {
    [
        vec![Route::post("/login", "Exchange the token for a link that logs a browser in", login)],
        events::routes(),
        vec![Route::get("/openapi.json", "This document", description)],
        runs::routes(),
        trials::routes(),
        documents::routes(),
        files::routes(),
        logs::routes(),
        scenarios::routes(),
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
    let router = router
        .fallback(|| async {
            let problem = HttpProblem::not_found("the API has no such call");
            problem.with_help(format!("list all calls: GET {BASE}/openapi.json"))
        })
        .method_not_allowed_fallback(|| async { HttpProblem::method() });
    router.with_state(server)
}

/// Returns the OpenAPI 3.1 document of the API.
pub fn openapi() -> serde_json::Value {
    openapi::document(&routes())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    /// The server's token.
    token: String,
    /// Address of the page to open with the link. `None` for the first page.
    page: Option<String>,
}

/// A link that logs one browser in.
#[derive(Serialize, JsonSchema)]
struct LoginLink {
    /// Always [`VERSION`].
    v: u8,
    /// Address to open within five minutes.
    link: String,
}

fn login(server: &Server, _: &Nothing, request: &LoginRequest) -> Result<HttpAnswer<LoginLink>> {
    if !server.access.token.is(request.token.trim()) {
        let detail = "this is not the token of the server";
        return Err(HttpProblem::new(ProblemKind::UNAUTHORIZED, detail)
            .with_help("`runner serve --link` prints a link that needs no token"));
    }
    let link = match &request.page {
        Some(page) => server.access.link_of_page(page),
        None => Some(server.access.link()),
    };
    let link =
        link.ok_or_else(|| HttpProblem::invalid("`page` is not an address of this server"))?;
    Ok(LoginLink { v: VERSION, link }.into())
}
