//! Snapshots of the answers to `stop`, `cancel`, `pause`, `unpause` and `label`.

use insta::assert_snapshot;
use runner_record::Answer;
use runner_report::RequestResult;
use serde_json::json;

use super::answer_line;
use crate::text::{
    style::plain,
    tests::{counts, run},
};

#[test]
fn answers_name_the_new_status() {
    let counts = counts(12, [5, 1, 0, 0, 0, 0]);
    let stopped = json!({
        "status": "incomplete", "verdict": "none", "reason": "stopped", "counts": counts,
    });
    let cancelled = json!({
        "status": "cancelled", "verdict": "none", "reason": "cancelled", "counts": counts,
    });
    let running = json!({"status": "running", "verdict": "none", "counts": counts});
    let completed = json!({"status": "completed", "verdict": "failed", "counts": counts});
    let labelled = json!({
        "status": "running", "verdict": "none", "counts": counts,
        "labels": {"team": "night", "with a break": "a\nb"},
    });
    let lines = [
        (Answer::Stopped, &stopped),
        (Answer::Stopped, &completed),
        (Answer::AlreadyTerminal, &stopped),
        (Answer::Cancelled, &cancelled),
        (Answer::Unpaused, &running),
        (Answer::NotPaused, &running),
        (Answer::NoAnswer, &running),
        (Answer::Labelled, &running),
        (Answer::Labelled, &labelled),
        (Answer::Removed, &running),
    ]
    .map(|(result, keys)| {
        plain(&answer_line(&RequestResult { v: 1, result, run: run(keys) }, false))
    });
    assert_snapshot!(lines.join("\n"), @r"
    stopped run 6ba42b73: 6 of 12 done
    stopped the rescore of run 6ba42b73, which stays as it was: ✗ failed: 6 of 12 done
    run 6ba42b73 has already ended: ◐ incomplete (stopped): 6 of 12 done
    cancelled run 6ba42b73: 6 of 12 done
    continued run 6ba42b73: 6 of 12 done
    run 6ba42b73 is not paused: ○ running: 6 of 12 done
    run 6ba42b73 did not respond: ○ running: 6 of 12 done
    run 6ba42b73 has no labels
    labels of run 6ba42b73: team=night, with a break=a\nb
    stopped run 6ba42b73, which had no trial yet and is removed
    ");
}
