//! The matrix of states and requests.

use runner_model::status::{RunVerdict, Stage};
use runner_model::{Counts, Reason, RunStatus, Time};
use runner_record::{Pause, Pin, RunCounts, RunHead};

use crate::{RunAction, RunActions};

/// A run of 10 trials, of which 8 passed and 2 failed.
fn head(status: RunStatus) -> RunHead {
    RunHead {
        id: "run".into(),
        number: None,
        scenario: "scenario".into(),
        status,
        reason: None,
        message: None,
        larger_budgets: Vec::new(),
        signal: None,
        verdict: RunVerdict::None,
        stage: Stage::Run,
        counts: RunCounts {
            planned: 10,
            done: Counts { passed: 8, failed: 2, ..Counts::default() },
        },
        sessions: 1,
        user: None,
        started_at: Time::default(),
        completed_at: None,
        worked_ms: 0.0,
        paused: None,
        labels: Default::default(),
        group: None,
        shard: None,
        replay_of: None,
        pinned: None,
        lost_report: None,
        failed_gate: None,
    }
}

/// Returns the allowed requests as letters, in the order of the fields.
fn allowed(run: &RunHead) -> String {
    let actions = RunActions::of(run, false, false);
    let all = [
        ('s', actions.stop),
        ('c', actions.cancel),
        ('p', actions.pause),
        ('u', actions.unpause),
        ('r', actions.resume),
        ('f', actions.rerun_failed),
        ('e', actions.rescore),
        ('P', actions.pin),
        ('U', actions.unpin),
        ('d', actions.delete),
        ('l', actions.label),
    ];
    for (_, action) in all {
        assert_eq!(action.allowed, action.reason.is_none());
    }
    all.iter().filter(|(_, action)| action.allowed).map(|(letter, _)| letter).collect()
}

#[test]
fn states_allow_these_requests() {
    let missing = |mut run: RunHead| {
        run.counts.done.passed -= 1;
        run
    };
    let errors = |mut run: RunHead| {
        (run.counts.done.failed, run.counts.done.error) = (0, 2);
        run
    };
    let paused = |mut run: RunHead| {
        run.paused = Some(Pause { from: Time::default(), to: None, by: None });
        run
    };
    let pinned = |mut run: RunHead| {
        let by = runner_model::row::Actor { user: "u".into(), host: "h".into(), reason: None };
        run.pinned = Some(Pin { at: Time::default(), by });
        run
    };
    let for_reason = |mut run: RunHead, reason| {
        run.reason = Some(reason);
        run
    };
    let empty = |mut run: RunHead| {
        run.counts.done = Counts::default();
        run
    };
    let damaged = |mut run: RunHead| {
        run.verdict = RunVerdict::Damaged;
        run
    };
    use RunStatus::{Cancelled, Completed, Failed, Incomplete, Running};
    for (run, letters) in [
        (head(Running), "scpl"),
        (paused(head(Running)), "scul"),
        (pinned(head(Running)), "scpl"),
        (head(Completed), "fePdl"),
        (errors(head(Completed)), "rfePdl"),
        (damaged(head(Completed)), "rfePdl"),
        (pinned(head(Completed)), "feUl"),
        (missing(head(Incomplete)), "crfePdl"),
        (for_reason(missing(head(Incomplete)), Reason::Budget), "cePdl"),
        (empty(head(Incomplete)), "crPdl"),
        (empty(head(Failed)), "crPdl"),
        (missing(head(Cancelled)), "ePdl"),
    ] {
        assert_eq!(allowed(&run), letters, "{run:?}");
        let RunActions { stop, cancel, pause, unpause, resume, rerun_failed, .. } =
            RunActions::of(&run, true, false);
        let RunActions { rescore, pin, unpin, delete, label, .. } =
            RunActions::of(&run, true, false);
        let refused = RunAction { allowed: false, reason: Some("the server is read-only") };
        for action in
            [stop, cancel, pause, unpause, resume, rerun_failed, rescore, pin, unpin, delete, label]
        {
            assert_eq!(action, refused);
        }
    }
}
