//! The API under `/api/v1`, and the pages beside it.

mod actions;
mod deletion;
mod files;
mod insight;
mod openapi;
mod queue;
mod route;
mod runs;
mod start;
mod trials;

use std::sync::Arc;

use axum::{Json, Router, middleware};
use serde_json::Value;

use self::route::{ApiAnswer, Route};
use super::{events, guard, pages, problem::HttpProblem, request::NoQuery, server::Server};
use crate::view::{DocumentVersion, ServerInfo};

/// All calls of the API.
fn routes() -> Vec<Route> {
    vec![
        Route::read("/server", "What the server is", about),
        Route::read(
            "/scenarios",
            "The scenarios that can be started",
            start::scenarios,
        ),
        Route::read("/runs", "The runs, the newest first", runs::list),
        Route::write_once(
            "/runs",
            "Starts a run in a process of its own",
            start::start,
        )
        .answering(&[201, 202])
        .refusing(&[404, 409, 422]),
        Route::write(
            "/runs/plan",
            "Says what a start would run, and starts nothing",
            start::plan,
        )
        .refusing(&[404, 422]),
        Route::read(
            "/runs/{run}",
            "A run, and what can be done with it",
            runs::show,
        ),
        Route::delete(
            "/runs/{run}",
            "Deletes a run that is not running and not pinned",
            deletion::delete,
        ),
        Route::read(
            "/runs/{run}/summary",
            "What the rows of a run come to",
            runs::summary,
        ),
        Route::read(
            "/runs/{run}/waiting",
            "What the attempts of a run are doing, and what its trials wait for",
            runs::waiting,
        ),
        Route::read(
            "/runs/{run}/trials",
            "The trials that have a final row",
            trials::list,
        )
        .refusing(&[400, 422]),
        Route::read(
            "/runs/{run}/trials/{trial}",
            "A trial, with all of its attempts",
            trials::show,
        )
        .refusing(&[409, 422]),
        Route::bytes::<NoQuery, _>(
            "/runs/{run}/trials/{trial}/attempts/{attempt}/files/{file}",
            "A file that an attempt left, or its `input`, `output`, `log`, `stdout` or `stderr`",
            "application/octet-stream",
            files::part,
        )
        .answering(&[200, 206])
        .refusing(&[400, 409, 416, 422]),
        Route::read(
            "/runs/{run}/matrix",
            "What tests came to on each provider",
            insight::matrix,
        ),
        Route::read(
            "/runs/{run}/series",
            "What charts are drawn of",
            insight::series,
        ),
        Route::read(
            "/runs/{run}/metrics",
            "What the providers have measured",
            insight::metrics,
        ),
        Route::bytes::<NoQuery, _>(
            "/runs/{run}/rows",
            "The raw rows: `index.jsonl` as it is now",
            "application/jsonl",
            files::rows,
        )
        .answering(&[200, 206])
        .refusing(&[400, 409, 416]),
        Route::bytes::<NoQuery, _>(
            "/runs/{run}/log",
            "What the runner has written down of the run: `runner.log` as it is now",
            "text/plain",
            files::log,
        )
        .answering(&[200, 206])
        .refusing(&[400, 409, 416]),
        Route::bytes::<files::ReportQuery, _>(
            "/runs/{run}/report",
            "A report of a run, as `runner report` writes it",
            "application/octet-stream",
            files::report,
        )
        .refusing(&[400, 422]),
        Route::bytes::<events::EventsQuery, _>(
            "/runs/{run}/events",
            "How far a run is, as it happens",
            "text/event-stream",
            events::of_run,
        )
        .refusing(&[400, 503]),
        Route::bytes::<events::EventsQuery, _>(
            "/events",
            "How all runs stand, as that changes",
            "text/event-stream",
            events::of_root,
        )
        .refusing(&[400, 503]),
        Route::read(
            "/compare",
            "Two runs, or two providers of one, beside each other",
            insight::compare,
        )
        .refusing(&[400, 404, 409, 422]),
        Route::read(
            "/history",
            "What tests came to over many runs",
            insight::history,
        )
        .refusing(&[400, 422]),
        Route::write(
            "/runs/{run}/stop",
            "Stops a run, which can be gone on with",
            actions::stop,
        )
        .answering(&[200, 504])
        .refusing(&[400, 403, 415]),
        Route::write("/runs/{run}/cancel", "Ends a run for good", actions::cancel)
            .answering(&[200, 504]),
        Route::write(
            "/runs/{run}/resume",
            "Goes on with a run in a process of its own",
            actions::resume,
        )
        .answering(&[202])
        .refusing(&[400, 403, 409, 415, 422]),
        Route::write(
            "/runs/{run}/plan",
            "Says what a resume would run, and runs nothing",
            actions::plan,
        )
        .refusing(&[400, 403, 409, 415, 422]),
        Route::write(
            "/runs/{run}/rescore",
            "Judges stored outputs again",
            actions::rescore,
        )
        .refusing(&[400, 403, 409, 415, 422]),
        Route::write(
            "/runs/{run}/pin",
            "Keeps a run, whatever policies say",
            actions::pin,
        ),
        Route::write("/runs/{run}/unpin", "Keeps a run no more", actions::unpin),
        Route::write(
            "/runs/{run}/pause",
            "Pauses a run: nothing begins, guests wait, and no time of it passes",
            actions::pause,
        )
        .answering(&[200, 504]),
        Route::write(
            "/runs/{run}/unpause",
            "Lets a paused run go on",
            actions::unpause,
        )
        .answering(&[200, 504]),
        Route::read(
            "/retention",
            "What the settings of the results root would delete now",
            deletion::retention,
        )
        .refusing(&[400, 422]),
        Route::read(
            "/queue",
            "What waits until there is room for a run",
            queue::list,
        ),
        Route::write(
            "/queue/{request}/move",
            "Gives a request another place",
            queue::reorder,
        )
        .refusing(&[400, 403, 409, 415, 422]),
        Route::delete(
            "/queue/{request}",
            "Takes a request out of the queue",
            queue::remove,
        )
        .refusing(&[400, 403, 409, 415, 422]),
        Route::write(
            "/cleanup",
            "Writes down the ends of runs whose process has died",
            deletion::cleanup,
        ),
        Route::write(
            "/prune",
            "Deletes the runs that a policy names",
            deletion::prune,
        ),
    ]
}

/// All routes, behind the guard.
pub(super) fn router(server: Arc<Server>) -> Router {
    let mut api = Router::new().route(
        "/openapi.json",
        axum::routing::get(|| async { Json(openapi()) }),
    );
    for route in routes() {
        api = api.route(route.path, route.handler);
    }
    Router::new()
        .nest("/api/v1", api.fallback(nowhere))
        .fallback(pages::page)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&server),
            guard::guard,
        ))
        .with_state(server)
}

/// The document that describes the API.
pub fn openapi() -> Value {
    openapi::describe(&routes())
}

fn about(
    server: &Server,
    (): &(),
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<ServerInfo>, HttpProblem> {
    let folders = server.scenarios.iter();
    Ok(ServerInfo {
        v: DocumentVersion,
        version: env!("CARGO_PKG_VERSION"),
        is_read_only: server.access.is_read_only(),
        results: server.root.clone(),
        scenarios: folders.map(|folder| folder.display().to_string()).collect(),
        now: (server.host.now)(),
    }
    .into())
}

async fn nowhere() -> HttpProblem {
    HttpProblem::not_found("there is no such call").with_help("`/api/v1/openapi.json` lists them")
}

async fn no_method() -> HttpProblem {
    HttpProblem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "/problems/method",
        "this cannot be done with it",
        "there is no such call",
    )
    .with_help("`/api/v1/openapi.json` lists them")
}
