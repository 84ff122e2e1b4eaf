//! The login of a browser by the token.

use runner_report::VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::runs::Nothing;
use super::{Answer, HttpProblem, ProblemKind, Result, Route};
use crate::server::Server;

pub(super) fn routes() -> Vec<Route> {
    vec![Route::post("/login", "Exchange the token for a link that logs a browser in", login)]
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

fn login(server: &Server, _: &Nothing, request: &LoginRequest) -> Result<Answer<LoginLink>> {
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
