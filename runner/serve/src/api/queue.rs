//! The queue of the results root.

use std::sync::PoisonError;

use axum::http::Method;
use runner_engine::EngineError;
use runner_operations::queue::{self, QueueError, QueuePlace};
use runner_operations::settings::SettingsError;
use runner_record::QueueState;
use runner_report::{QueueChange, QueueDocument};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpAnswer, HttpProblem, ProblemKind, Result, Route, keys::Nothing};
use crate::server::Server;

/// Removed requests that are kept, so that a removal can be undone.
const MAX_REMOVED: usize = 16;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/queue", "The active runs, and the requests that wait", list).refusing(&[422]),
        Route::post("/queue/{id}/move", "Move a request", move_request).refusing(&[404, 409, 503]),
        Route::change(Method::DELETE, "/queue/{id}", "Remove a request", remove)
            .refusing(&[404, 409, 503]),
        Route::post("/queue/{id}/restore", "Undo the removal of a request", restore)
            .refusing(&[404, 409, 503]),
    ]
}

/// A request of the queue in a path.
#[derive(Deserialize)]
struct RequestId {
    id: String,
}

/// A new place in the queue. Without a key, the first one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// Place it before the request with this id.
    before: Option<String>,
    /// Place it after the requests of this priority.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    priority: Option<i64>,
}

fn list(server: &Server, _: &(), _: &Nothing) -> Result<QueueDocument> {
    Ok(queue::list(&server.root)?)
}

fn move_request(server: &Server, path: &RequestId, body: &Move) -> Result<HttpAnswer<QueueChange>> {
    let first = || {
        let requests = queue::list(&server.root)?.requests;
        let waiting = requests.into_iter().find(|entry| entry.state == QueueState::Waiting);
        Ok::<_, HttpProblem>(waiting.map(|entry| entry.request))
    };
    let first = if body.before.is_none() && body.priority.is_none() { first()? } else { None };
    let place = match (body.before.as_ref().or(first.as_ref()), body.priority) {
        (Some(_), Some(_)) => {
            return Err(HttpProblem::invalid("`before` and `priority` exclude each other"));
        }
        (Some(before), None) => QueuePlace::Before(before),
        (None, priority) => QueuePlace::Priority(priority.unwrap_or_default()),
    };
    Ok(queue::move_request(&server.root, &path.id, place)?.into())
}

fn remove(server: &Server, path: &RequestId, _: &Nothing) -> Result<HttpAnswer<QueueChange>> {
    let before = server.root.queue()?.requests;
    let change = queue::remove(&server.root, &path.id)?;
    let mut removed = server.removed.lock().unwrap_or_else(PoisonError::into_inner);
    removed.extend(before.into_iter().find(|one| one.id == change.entry.request));
    if removed.len() > MAX_REMOVED {
        removed.pop_front();
    }
    Ok(change.into())
}

fn restore(server: &Server, path: &RequestId, _: &Nothing) -> Result<HttpAnswer<QueueChange>> {
    let mut removed = server.removed.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(place) = removed.iter().position(|one| one.id == path.id) else {
        let detail = format!("this server has not removed a request `{}`", path.id);
        return Err(HttpProblem::not_found(&detail));
    };
    let change = queue::restore(&server.root, &removed[place])?;
    removed.remove(place);
    Ok(change.into())
}

impl From<QueueError> for HttpProblem {
    fn from(error: QueueError) -> Self {
        let text = error.to_string();
        let (detail, help) = text.split_once('\n').unwrap_or((&text, ""));
        let problem = match error {
            QueueError::Record(error) => return error.into(),
            QueueError::Settings(SettingsError::Record(error)) => return error.into(),
            QueueError::Settings(SettingsError::Problems(problems)) => {
                let mut problem = Self::from(EngineError::Scenario(problems));
                problem.r#type = "/problems/invalid-settings";
                problem.detail = "`runner.toml` of the results root has problems".to_owned();
                return problem;
            }
            QueueError::Unknown { .. } => Self::not_found(detail),
            QueueError::Foreign { .. } => Self::new(ProblemKind::OTHER_USER, detail),
            _ => Self::conflict(detail),
        };
        if help.is_empty() { problem } else { problem.with_help(help) }
    }
}
