//! Changes of one run: requests to its process, labels, pins and deletion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use runner_model::{Stage, row::Actor};
use runner_record::{
    Answer, LabelChange, PrunePolicy, RecordError, RequestMode, RunDir, actor, now,
};
use runner_report::{PruneDocument, RequestResult, RunList, RunSummary, VERSION, run_facts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keys::{Nothing, RunName};
use super::{HttpAnswer, HttpProblem, ProblemKind, Result, Route, command_words::check_key};
use crate::server::Server;

/// Time that a call waits for the end of a run. Longer than an owner may take without a grace period.
const WAIT: Duration = Duration::from_secs(10);
/// Time that a call waits after a drain, which lets attempts run to their end.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Vec<Route> {
    let request = |route: Route| route.answering(&[200, 202]).refusing(&[404, 409, 504]);
    vec![
        request(Route::post("/runs/{run}/stop", "Stop a run, which can be resumed", stop)),
        request(Route::post("/runs/{run}/cancel", "Stop a run for good", cancel)),
        request(Route::post("/runs/{run}/pause", "Pause a run", pause)),
        Route::post("/runs/{run}/unpause", "Let a paused run continue", unpause)
            .refusing(&[404, 504]),
        Route::post("/runs/{run}/labels", "Set and remove labels of a run", label)
            .refusing(&[404, 422, 504]),
        Route::post("/runs/{run}/pin", "Protect a run from deletion", pin).refusing(&[404, 409]),
        Route::post("/runs/{run}/unpin", "Allow the deletion of a run again", unpin)
            .refusing(&[404, 409]),
        Route::change(Method::DELETE, "/runs/{run}", "Delete a run", delete).refusing(&[404, 409]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stop {
    #[serde(default)]
    mode: StopMode,
    /// Reason, which is stored in the run. At most 4 KiB are kept.
    reason: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StopMode {
    /// Interrupt the trials in flight after the grace period.
    #[default]
    Stop,
    /// Start no new trials, and let those in flight finish.
    Drain,
    /// Interrupt the trials in flight without a grace period.
    Kill,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ActionReason {
    /// Reason, which is stored in the run. At most 4 KiB are kept.
    reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Labels {
    /// Labels to set.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Keys to remove.
    #[serde(default)]
    remove: BTreeSet<String>,
}

/// A run after a change of its pin.
#[derive(Serialize, JsonSchema)]
struct PinResult {
    /// Always [`VERSION`].
    v: u8,
    /// `false` if the run was already like this.
    changed: bool,
    #[serde(flatten)]
    run: RunSummary,
}

fn stop(server: &Server, path: &RunName, body: &Stop) -> Result<HttpAnswer<RequestResult>> {
    let mode = match body.mode {
        StopMode::Stop => RequestMode::Stop,
        StopMode::Drain => RequestMode::Drain,
        StopMode::Kill => RequestMode::Kill,
    };
    request(server, path, mode, body.reason.as_deref())
}

fn cancel(
    server: &Server,
    path: &RunName,
    body: &ActionReason,
) -> Result<HttpAnswer<RequestResult>> {
    request(server, path, RequestMode::Cancel, body.reason.as_deref())
}

fn pause(
    server: &Server,
    path: &RunName,
    body: &ActionReason,
) -> Result<HttpAnswer<RequestResult>> {
    request(server, path, RequestMode::Pause, body.reason.as_deref())
}

fn unpause(server: &Server, path: &RunName, _: &Nothing) -> Result<HttpAnswer<RequestResult>> {
    let run = active(server, server.own_run(&path.run)?)?;
    respond(server, &run, server.root.unpause(&run)?)
}

/// Sends a request to the process that works on a run, and waits for its result.
fn request(
    server: &Server,
    path: &RunName,
    mode: RequestMode,
    reason: Option<&str>,
) -> Result<HttpAnswer<RequestResult>> {
    let run = active(server, server.own_run(&path.run)?)?;
    let before = RequestResult::read(&server.root, &run, Answer::Removed)?;
    let wait = if mode == RequestMode::Drain { DRAIN_WAIT } else { WAIT };
    match server.root.ask_for(&run, mode, &by(reason), wait) {
        // The run had no trial yet.
        Err(RecordError::Removed { .. }) if mode != RequestMode::Pause => Ok(before.into()),
        answer => respond(server, &run, answer?),
    }
}

/// Returns the run that gets a request. For a run that waits in its group, that is the active run of the group.
fn active(server: &Server, run: RunDir) -> Result<RunDir> {
    let manifest = run.manifest()?;
    let is_waiting = manifest.stage == Stage::Waiting && !manifest.status.is_terminal();
    let Some(group) = manifest.group.filter(|_| is_waiting) else { return Ok(run) };
    let runs = RunList::read(&server.root)?.of_group(&group.id).runs;
    let is_active =
        |run: &&RunSummary| !run.head.status.is_terminal() && run.head.stage != Stage::Waiting;
    match runs.iter().find(is_active) {
        Some(active) => Ok(server.root.find(&active.head.id)?),
        None => Ok(run),
    }
}

fn respond(server: &Server, run: &RunDir, answer: Answer) -> Result<HttpAnswer<RequestResult>> {
    let result = RequestResult::read(&server.root, run, answer)?;
    let status = match answer {
        Answer::NoAnswer => return Err(no_answer(run)),
        Answer::Refused => {
            let detail = format!("run {} is completed; there is nothing to cancel", run.id());
            return Err(HttpProblem::conflict(&detail));
        }
        Answer::Stopping => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    Ok(HttpAnswer { status, ..result.into() })
}

/// Returns the problem of a run whose process did not respond.
fn no_answer(run: &RunDir) -> HttpProblem {
    let holder = run.holder().unwrap_or_default();
    let [detail, help] = run_facts::no_answer(run.id(), &holder);
    HttpProblem::new(ProblemKind::NO_ANSWER, &detail).with_help(help).held_by(&holder)
}

fn label(server: &Server, path: &RunName, body: &Labels) -> Result<HttpAnswer<RequestResult>> {
    body.set.keys().try_for_each(|key| check_key(key))?;
    let run = server.own_run(&path.run)?;
    let change = LabelChange { set: body.set.clone(), remove: body.remove.clone() };
    match server.root.label(&run, &change, &by(None)) {
        // The manifest is whole, so the labels are too long for it.
        Err(error @ RecordError::Foreign { .. }) => {
            Err(HttpProblem::unprocessable(&error.to_string()))
        }
        answer => respond(server, &run, answer?),
    }
}

fn pin(server: &Server, path: &RunName, body: &ActionReason) -> Result<HttpAnswer<PinResult>> {
    set_pin(server, path, Some(by(body.reason.as_deref())))
}

fn unpin(server: &Server, path: &RunName, _: &Nothing) -> Result<HttpAnswer<PinResult>> {
    set_pin(server, path, None)
}

fn set_pin(server: &Server, path: &RunName, by: Option<Actor>) -> Result<HttpAnswer<PinResult>> {
    let run = server.own_run(&path.run)?;
    let changed = server.root.claim(&run)?.pin(by)?;
    let run = RequestResult::read(&server.root, &run, Answer::AlreadyTerminal)?.run;
    Ok(PinResult { v: VERSION, changed, run }.into())
}

fn delete(server: &Server, path: &RunName, _: &Nothing) -> Result<HttpAnswer<PruneDocument>> {
    let run = server.own_run(&path.run)?;
    let policy = PrunePolicy { runs: vec![run.id().to_owned()], ..PrunePolicy::default() };
    let pruning = server.root.prune(&policy, false, now())?;
    if let Some(kept) = pruning.kept.iter().find(|kept| kept.is_named) {
        return Err(match run.holder().filter(|_| kept.is_held) {
            Some(holder) => HttpProblem::busy(&kept.why).held_by(&holder),
            None => HttpProblem::conflict(&kept.why),
        });
    }
    match pruning.problems.first().filter(|_| pruning.runs.is_empty()) {
        Some(problem) => Err(HttpProblem::storage(problem)),
        None => Ok(PruneDocument { v: VERSION, dry_run: false, pruning }.into()),
    }
}

/// Returns the user of the server, with the reason of a request.
fn by(reason: Option<&str>) -> Actor {
    actor(reason.filter(|reason| !reason.is_empty()).map(str::to_owned))
}
