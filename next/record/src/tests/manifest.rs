//! Golden bytes of a manifest, and manifests that are refused.

use std::fs;

use runner_model::{
    Budgets, Counts, FailFast, Limits, Reason, RunStatus, StopSignal, Time, digest,
    provider::PluginKind,
    status::{RunVerdict, Stage},
};

use super::{
    FORMAT, GroupPlace, Manifest, ManifestProvider, Metadata, Selected, SessionEntry, Transition,
};
use crate::tests::{begin, folder};

const GOLDEN: &str = include_str!("manifest.json");

fn manifest() -> Manifest {
    let at = |second| Time::parse(&format!("2026-11-20T09:18:{second}.015Z")).unwrap();
    Manifest {
        format: FORMAT,
        id: "2026-11-20_09-18-04-015-basic-6ba42b73".into(),
        scenario: "basic".into(),
        scenario_path: "/home/me/scenarios/basic.toml".into(),
        status: RunStatus::Incomplete,
        reason: Some(Reason::Interrupted),
        message: Some("stopped by Ctrl-C".into()),
        stage: Stage::Run,
        signal: Some(StopSignal::Interrupt),
        verdict: RunVerdict::None,
        counts: Counts {
            passed: 3,
            failed: 1,
            error: 0,
            timeout: 0,
            skipped: 0,
            flaky: 1,
        },
        started_at: at("04"),
        completed_at: Some(at("09")),
        labels: [("team".into(), "night".into())].into(),
        group: Some(GroupPlace {
            id: "2026-11-20_09-18-03-990-group-0a1b2c3d".into(),
            place: 1,
            of: 2,
        }),
        pinned: None,
        metadata: Metadata {
            planned_test_count: 5,
            planned_trial_count: 10,
            suite: digest(b"suite"),
            scenario_sha256: digest(b"scenario"),
            runner_version: "0.1.0".into(),
            selection: Selected::default(),
        },
        providers: vec![ManifestProvider {
            name: "units".into(),
            plugin: "bundled:units".into(),
            digest: digest(b"plugin"),
            kind: PluginKind::Component,
            limits: Limits::default(),
            grants: Default::default(),
            mounts: Vec::new(),
            description: None,
        }],
        sessions: vec![SessionEntry {
            number: 1,
            command: vec!["runner".into(), "exec".into(), "basic.toml".into()],
            pid: 7,
            host: "machine".into(),
            user: "me".into(),
            jobs: 2,
            timeout_ms: 60_000,
            started_at: at("04"),
            ended_at: Some(at("09")),
            from_seq: 0,
            rerun: None,
            pending: None,
            adopted: None,
            fail_fast: FailFast::default(),
            budgets: Budgets::default(),
            grace_ms: 0,
            pauses: Vec::new(),
            suspended_ms: 0,
            stopped_by: None,
            wall: None,
        }],
        transitions: vec![
            Transition {
                at: at("04"),
                from: None,
                to: RunStatus::Running,
                reason: None,
                writer: "exec".into(),
                by: None,
            },
            Transition {
                at: at("09"),
                from: Some(RunStatus::Running),
                to: RunStatus::Incomplete,
                reason: Some(Reason::Interrupted),
                writer: "exec".into(),
                by: None,
            },
        ],
    }
}

#[test]
fn a_manifest_has_these_bytes() {
    let bytes = manifest().to_bytes().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), GOLDEN);
    let read = Manifest::parse(GOLDEN, &manifest().id).unwrap();
    assert_eq!(read, manifest());
    // A copy of a run is a run of its own.
    assert_eq!(Manifest::parse(GOLDEN, "copy").unwrap().id, "copy");
}

#[test]
fn other_manifests_are_refused_with_what_is_wrong() {
    let change = |from: &str, to: &str| {
        let text = GOLDEN.replacen(from, to, 1);
        assert_ne!(text, GOLDEN);
        Manifest::parse(&text, "r").unwrap_err()
    };
    for other in ["2", "4"] {
        let problem = change("\"format\": 3", &format!("\"format\": {other}"));
        assert!(
            problem.contains(&format!("format is {other}")) && problem.contains("format 3"),
            "{problem}"
        );
    }
    assert!(
        change(
            "\"planned_trial_count\": 10",
            "\"planned_trial_count\": 100000001"
        )
        .contains("at most 100000000")
    );
    assert!(change("\"incomplete\"", "\"ended\"").contains("`ended`"));
    assert!(change("}", "").contains("damaged"));
    assert!(Manifest::parse("[]", "r").is_err());

    let folder = folder();
    let (root, owned) = begin(folder.path(), 1);
    let path = owned.dir().path().join("benchmark.json");
    let run = owned.dir().clone();
    drop(owned);
    let text = fs::read_to_string(&path)
        .unwrap()
        .replacen("\"format\": 3", "\"format\": 4", 1);
    fs::write(&path, &text).unwrap();
    fs::remove_file(run.path().join("lock")).unwrap();
    let error = root.claim(&run).unwrap_err().to_string();
    assert!(
        error.contains("format is 4") && error.contains(path.to_str().unwrap()),
        "{error}"
    );
    // Nothing was touched, not even by a lock.
    assert!(!run.path().join("lock").exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
