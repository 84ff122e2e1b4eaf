use runner_model::Outcome::{self, Error, Failed, Passed, Skipped, Timeout};
use runner_model::known::KnownState;
use runner_record::Manifest;
use serde_json::{Value, json};

use super::Class;
use crate::compare::{Course, Seen, TestResult, isolated};

/// Returns the result of repeats. Those after a retry are `true`.
fn result(repeats: &[(Outcome, bool)]) -> TestResult {
    let mut result = TestResult::default();
    for (outcome, flaky) in repeats {
        result.add(*outcome, *flaky, KnownState::Unlisted);
    }
    result
}

#[test]
fn class_follows_from_both_results() {
    let passed = || result(&[(Passed, false), (Passed, false)]);
    let retried = || result(&[(Passed, false), (Passed, true)]);
    let mixed = || result(&[(Passed, false), (Failed, false)]);
    let failed = || result(&[(Error, false), (Timeout, false)]);
    let skipped = || result(&[(Skipped, false)]);
    let all = [passed(), retried(), mixed(), failed(), skipped()];
    let classes = |base| all.map(|new| Class::of_results([base, new]));
    use Class::{Fixed, Flaky, NewlySkipped, NotJudged, Passing, Regressed, StillFailing};
    assert_eq!(classes(passed()), [Passing, Flaky, Regressed, Regressed, NewlySkipped]);
    assert_eq!(classes(retried()), [Passing, Flaky, Flaky, Regressed, NewlySkipped]);
    assert_eq!(classes(mixed()), [Fixed, Flaky, Flaky, Regressed, NewlySkipped]);
    assert_eq!(classes(failed()), [Fixed, Flaky, Flaky, StillFailing, NewlySkipped]);
    assert_eq!(classes(skipped()), [NotJudged; 5]);
}

#[test]
fn known_class_needs_only_expected_results() {
    let result = |repeats: &[(Outcome, KnownState)]| {
        let mut result = TestResult::default();
        repeats.iter().for_each(|(outcome, state)| result.add(*outcome, false, *state));
        result
    };
    let known = (Failed, KnownState::Known);
    let (passed, failed) = ((Passed, KnownState::Unlisted), (Failed, KnownState::Unlisted));
    let class = |base: &[_], new: &[_]| Class::of_results([result(base), result(new)]);
    for base in [&[known][..], &[failed], &[passed], &[passed, known]] {
        assert_eq!(class(base, &[known]), Class::Known);
        // A pass is expected, too.
        assert_eq!(class(base, &[passed, known]), Class::Known);
    }
    // The base has no unexpected result, and the new run has.
    assert_eq!(class(&[known], &[failed]), Class::Regressed);
    assert_eq!(class(&[known], &[failed, known]), Class::Regressed);
    assert_eq!(class(&[known, failed], &[failed]), Class::StillFailing);
    assert_eq!(class(&[known], &[(Passed, KnownState::UnexpectedPass), known]), Class::Flaky);
    assert_eq!(class(&[known], &[passed]), Class::Fixed);
    let pass = (Passed, KnownState::UnexpectedPass);
    assert_eq!(class(&[known], &[pass]), Class::Fixed);
    assert_eq!(class(&[pass], &[pass]), Class::UnexpectedPass);
    assert_eq!(class(&[pass], &[passed]), Class::Passing);
    assert_eq!(class(&[(Skipped, KnownState::Unlisted)], &[known]), Class::NotJudged);
}

/// Returns whether a test is unstable whose results are signs, the oldest first. A letter after a sign changes the fingerprint.
fn is_unstable(signs: &str) -> bool {
    let (mut seen, mut fingerprints) = (Vec::new(), 0);
    for sign in signs.chars() {
        let result = match sign {
            '+' => result(&[(Passed, false)]),
            '-' => result(&[(Failed, false)]),
            '~' => result(&[(Passed, true)]),
            'o' => result(&[(Skipped, false)]),
            _ => {
                fingerprints += 1;
                continue;
            }
        };
        seen.push(Seen { result, fingerprints });
    }
    let mut course = Course::default();
    seen.into_iter().rev().for_each(|seen| course.add(seen));
    course.is_unstable()
}

#[test]
fn three_changes_without_cause_make_test_unstable() {
    for signs in ["+-+-", "-+++-+", "-++++-+-", "+o-+oo-"] {
        assert!(is_unstable(signs), "{signs}");
    }
    // Broken, mended, broken again; changed fingerprints; a run with both results proves neither.
    for signs in ["-++++-", "+-+", "", "+x-x+x-", "+-x+-", "+~-~+~-"] {
        assert!(!is_unstable(signs), "{signs}");
    }
}

/// Returns which of two providers are isolated, in a run with a grader with these grants.
fn isolated_with(provider: &Value, grader: &Value) -> Vec<bool> {
    let counts =
        json!({"passed": 0, "failed": 0, "error": 0, "timeout": 0, "skipped": 0, "flaky": 0});
    let time = "2026-11-20T09:00:00.000Z";
    let used = |name: &str, is_grader: bool, grants: &Value| {
        json!({
            "name": name, "grader": is_grader, "plugin": "p.wasm", "digest": "0".repeat(64), "kind": "component",
            "limits": runner_model::Limits::default(), "grants": grants,
        })
    };
    let manifest: Manifest = serde_json::from_value(json!({
        "format": 3, "id": "r", "scenario": "s", "scenario_path": "/s.toml", "status": "running", "stage": "run",
        "verdict": "none", "counts": counts, "started_at": time,
        "metadata": {
            "planned_test_count": 1, "planned_trial_count": 1, "suite": "0".repeat(64), "scenario_sha256": "0".repeat(64),
            "runner_version": "0",
        },
        "providers": [used("pure", false, &json!({})), used("p", false, provider), used("g", true, grader)],
        "sessions": [{
            "number": 1, "command": ["runner"], "pid": 7, "host": "a", "user": "u", "jobs": 1, "timeout_ms": 1,
            "started_at": time, "from_seq": 0, "wall": "seccomp",
        }],
        "transitions": [],
    }))
    .unwrap();
    isolated(&manifest)[..2].to_vec()
}

#[test]
fn network_folders_and_secrets_are_causes() {
    let template = |text: &str| json!({ "env": [["KEY", text]] });
    for grants in [
        json!({ "net": ["https://example.com"] }),
        json!({ "fs": [{ "path": "a", "mount": "/a", "mode": "ro" }] }),
        json!({ "secrets": ["KEY"] }),
        template("{{secret.KEY}}"),
    ] {
        assert_eq!(isolated_with(&grants, &json!({})), [true, false], "{grants}");
        // Any test may be judged by the grader.
        assert_eq!(isolated_with(&json!({}), &grants), [false, false], "{grants}");
    }
    assert_eq!(isolated_with(&template("{{input.x}}"), &json!({})), [true, true]);
}
