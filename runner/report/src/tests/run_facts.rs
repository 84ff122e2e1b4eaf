use runner_model::{RunStatus, Time};
use runner_record::{Live, Manifest, RunHead};
use serde_json::{Value, json};

use super::{change, doing, facts, session};
use crate::{RunSummary, tests::snapshot};

/// A run with two sessions. The second one is paused.
fn manifest() -> Manifest {
    let counts =
        json!({"passed": 0, "failed": 0, "error": 0, "timeout": 0, "skipped": 0, "flaky": 0});
    let at = |minute: u32| format!("2026-11-20T09:{minute:02}:00.000Z");
    let actor = json!({"user": "ann", "host": "b\u{1b}", "reason": "lunch"});
    let session = |number: u32, more: Value| {
        let mut session = json!({
            "number": number, "command": ["runner", "exec", "it's mine.toml"], "pid": 7, "host": "a", "user": "u", "jobs": 1,
            "timeout_ms": 1, "started_at": at(number), "from_seq": 0, "wall": "seccomp",
        });
        let (session_keys, more) = (session.as_object_mut().unwrap(), more.as_object().unwrap());
        session_keys.extend(more.clone());
        session
    };
    let first =
        json!({"ended_at": at(2), "worked_ms": 1500, "suspended_ms": 20, "stopped_by": actor});
    let second = json!({"adopted": counts, "pauses": [{"from": at(3), "to": at(4), "by": actor}, {"from": at(4)}]});
    let manifest = json!({
        "format": 3, "id": "r", "scenario": "s", "scenario_path": "/s\n.toml", "status": "running", "stage": "run",
        "verdict": "none", "counts": counts, "started_at": at(1), "labels": {"team": "night", "a": ""},
        "group": {"id": "g", "place": 1, "of": 3}, "pinned": {"at": at(2), "by": actor},
        "metadata": {
            "planned_test_count": 1, "planned_trial_count": 1, "suite": "0".repeat(64), "scenario_sha256": "0".repeat(64),
            "runner_version": "0",
        },
        "providers": [], "sessions": [session(1, first), session(2, second)],
        "transitions": [
            {"at": at(1), "to": "running", "writer": "exec"},
            {"at": at(2), "from": "running", "to": "incomplete", "reason": "stopped", "writer": "exec", "by": actor},
        ],
    });
    serde_json::from_value(manifest).unwrap()
}

fn now() -> Time {
    Time::parse("2026-11-20T11:00:00Z").unwrap()
}

#[test]
fn unknown_facts_are_left_out() {
    let manifest = manifest();
    let mut run = RunSummary::new(RunHead::from(&manifest), "r".into(), "results/r".into());
    let found = facts(&run, &manifest, now());
    let found: Vec<_> = found.iter().map(|(name, text)| format!("{name}: {text}")).collect();
    snapshot("facts", &found.join("\n"));
    run.head.status = RunStatus::Completed;
    run.head.labels.clear();
    (run.head.group, run.head.pinned, run.head.paused) = (None, None, None);
    let names: Vec<_> = facts(&run, &manifest, now()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["scenario", "started", "results"]);
}

#[test]
fn activity_names_attempts_and_waiting_trials() {
    let live = json!({
        "session": 1, "at": "2026-11-20T11:00:00Z", "worked_ms": 1, "stage": "run", "workers": 1, "deaths": 0,
        "counts": {"passed": 0, "failed": 0, "error": 0, "timeout": 0, "skipped": 0, "flaky": 0},
        "in_flight": [{"trial": "a@p#1", "attempt": 1, "ms": 3000, "phase": "waiting", "what": "is\nrunning", "since": "2026-11-20T10:59:58Z",
            "output": {"bytes": 30, "text": "first\n  \u{1b}[2Jlast\u{202e} \n\n"}},
            {"trial": "d@p#1", "grader": "judge", "attempt": 1, "ms": 2000, "phase": "computing", "since": "2026-11-20T10:59:58Z"}],
        "waiting": [
            {"trial": "b@p#1", "why": "retry", "until": "2026-11-20T11:00:03Z"},
            {"trial": "c@p#1", "why": "rate-limit", "until": "2026-11-20T10:00:00Z"},
            {"trial": "e@p#1", "grader": "judge", "why": "retry", "until": "2026-11-20T10:00:00Z"},
        ],
        "waits_for_memory": true,
    });
    let mut live: Live = serde_json::from_value(live).unwrap();
    snapshot("activity", &doing(&live));
    live.waiting = vec![live.waiting[0].clone(); 1_012];
    assert!(doing(&live).ends_with("\n1,002 more trials wait\nmore wait for memory"));
}

#[test]
fn history_has_sessions_and_changes() {
    let manifest = manifest();
    let mut lines: Vec<_> = manifest.sessions.iter().flat_map(session).collect();
    lines.extend(manifest.transitions.iter().map(change));
    snapshot("history", &lines.join("\n"));
}
