//! [`RunActions`]: the requests that a run accepts now.

use runner_model::status::RunVerdict;
use runner_model::{Reason, RunStatus};
use runner_record::RunHead;
use schemars::JsonSchema;
use serde::Serialize;

/// Requests about a run, each as far as it is possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct RunActions {
    pub stop: RunAction,
    pub cancel: RunAction,
    pub pause: RunAction,
    pub unpause: RunAction,
    /// Run trials that lack a result, or that ended in an error.
    pub resume: RunAction,
    /// Run trials again that did not pass.
    pub rerun_failed: RunAction,
    pub rescore: RunAction,
    pub pin: RunAction,
    pub unpin: RunAction,
    pub delete: RunAction,
    pub label: RunAction,
}

/// A possible request, or an impossible one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct RunAction {
    pub allowed: bool,
    /// Reason for a refusal, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl RunAction {
    /// Returns the action with the first reason against it.
    fn unless(reasons: &[(bool, &'static str)]) -> Self {
        let found = reasons.iter().find(|(applies, _)| *applies);
        Self { allowed: found.is_none(), reason: found.map(|(_, reason)| *reason) }
    }
}

impl RunActions {
    /// Returns the actions of a run, whose state must be the true one.
    #[must_use]
    pub fn of(run: &RunHead, is_read_only: bool, is_foreign: bool) -> Self {
        let counts = run.counts.done;
        let is_running = run.status == RunStatus::Running;
        let is_cancelled = run.status == RunStatus::Cancelled;
        let is_paused = run.paused.is_some();
        let is_pinned = run.pinned.is_some();
        let needs_budget =
            run.status == RunStatus::Incomplete && run.reason == Some(Reason::Budget);
        let is_done = counts.done() >= counts.needed_of(run.counts.planned)
            && run.verdict != RunVerdict::Damaged;
        let read_only = match is_foreign {
            true => (true, "another user or key made the run; see `runner trust`"),
            false => (is_read_only, "the server is read-only"),
        };
        let running = (is_running, "the run is running");
        let ended = (!is_running, "the run has ended");
        let completed = (run.status == RunStatus::Completed, "the run is completed");
        let cancelled = (is_cancelled, "the run is already cancelled");
        let paused = (is_paused, "the run is already paused");
        let unpaused = (!is_paused, "the run is not paused");
        let needs_force = (is_cancelled, "the run was cancelled; `force` continues it");
        let used_up = (needs_budget, "a budget is used up; `runner resume --budget` raises it");
        let done = (is_done && counts.error == 0, "every trial has a result");
        let good = (counts.unexpected() == 0, "no trial has failed");
        let empty = (counts.done() == 0, "no trial has a result");
        let unpinned = (!is_pinned, "the run is not pinned");
        Self {
            stop: RunAction::unless(&[read_only, ended]),
            cancel: RunAction::unless(&[read_only, completed, cancelled]),
            pause: RunAction::unless(&[read_only, ended, paused]),
            unpause: RunAction::unless(&[read_only, ended, unpaused]),
            resume: RunAction::unless(&[read_only, running, needs_force, used_up, done]),
            rerun_failed: RunAction::unless(&[read_only, running, needs_force, used_up, good]),
            rescore: RunAction::unless(&[read_only, running, empty]),
            pin: RunAction::unless(&[read_only, running, (is_pinned, "the run is already pinned")]),
            unpin: RunAction::unless(&[read_only, running, unpinned]),
            delete: RunAction::unless(&[read_only, running, (is_pinned, "the run is pinned")]),
            label: RunAction::unless(&[read_only]),
        }
    }
}
