//! [`RunActions`]: the requests that a run accepts now.

use runner_model::status::RunVerdict;
use runner_model::{Reason, RunStatus};
use runner_record::RunHead;
use schemars::JsonSchema;
use serde::Serialize;

/// Requests about a run, each as far as it is possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunActions {
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
pub struct RunAction {
    pub allowed: bool,
    /// Reason for a refusal, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl RunAction {
    /// Returns the action with the first reason against it.
    fn unless<const N: usize>(reasons: [(bool, &'static str); N]) -> Self {
        let found = reasons.into_iter().find(|(applies, _)| *applies);
        Self { allowed: found.is_none(), reason: found.map(|(_, reason)| reason) }
    }
}

impl RunActions {
    /// Returns the actions of a run, whose state must be the true one.
    #[must_use]
    pub fn of(run: &RunHead, is_read_only: bool, is_foreign: bool) -> Self {
        let is = |status| run.status == status;
        let counts = run.counts.done;
        let (is_running, is_paused) = (is(RunStatus::Running), run.paused.is_some());
        let is_pinned = run.pinned.is_some();
        let needs_budget = is(RunStatus::Incomplete) && run.reason == Some(Reason::Budget);
        let is_done = counts.done() >= run.counts.planned && run.verdict != RunVerdict::Damaged;
        let read_only = match is_foreign {
            true => (true, "another user or key made the run; see `runner trust`"),
            false => (is_read_only, "the server is read-only"),
        };
        let running = (is_running, "the run is running");
        let ended = (!is_running, "the run has ended");
        let unless = |reason| RunAction::unless([read_only, reason]);
        let unless_running = |reason| RunAction::unless([read_only, running, reason]);
        Self {
            stop: unless(ended),
            cancel: RunAction::unless([
                read_only,
                (is(RunStatus::Completed), "the run is completed"),
                (is(RunStatus::Cancelled), "the run is already cancelled"),
            ]),
            pause: RunAction::unless([read_only, ended, (is_paused, "the run is already paused")]),
            unpause: RunAction::unless([read_only, ended, (!is_paused, "the run is not paused")]),
            resume: RunAction::unless([
                read_only,
                running,
                (is(RunStatus::Cancelled), "the run was cancelled; `force` continues it"),
                (needs_budget, "a budget is used up; `runner resume --budget` raises it"),
                (is_done && counts.error == 0, "every trial has a result"),
            ]),
            rerun_failed: unless_running((counts.bad() == 0, "no trial has failed")),
            rescore: unless_running((counts.done() == 0, "no trial has a result")),
            pin: unless_running((is_pinned, "the run is already pinned")),
            unpin: unless_running((!is_pinned, "the run is not pinned")),
            delete: unless_running((is_pinned, "the run is pinned")),
            label: RunAction::unless([read_only]),
        }
    }
}
