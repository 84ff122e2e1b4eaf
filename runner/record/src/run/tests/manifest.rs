//! Golden bytes of a manifest, and manifests that are refused.

use std::{collections::BTreeMap, fs};

use runner_model::{
    Counts, Limits, Reason, RunStatus, StopSignal, Time, TrialId, digest,
    provider::PluginKind,
    status::{RunVerdict, Stage},
};

use super::{FORMAT, GroupPlace, Manifest, fuzzing::manifests};
use crate::{
    ManifestProvider, Metadata, Selected, SessionEntry, Transition,
    tests::{begin, folder, settings},
};

const GOLDEN: &str = include_str!("manifest.json");

fn at(second: &str) -> Time {
    Time::parse(&format!("2026-11-20T09:18:{second}.015Z")).unwrap()
}

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        id: "2026-11-20_09-18-04-015-basic-6ba42b73".into(),
        number: Some(12),
        scenario: "basic".into(),
        scenario_path: "/home/me/scenarios/basic.toml".into(),
        status: RunStatus::Incomplete,
        reason: Some(Reason::Interrupted),
        message: Some("stopped by Ctrl-C".into()),
        larger_budgets: Vec::new(),
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
            ungraded: 0,
            known: 0,
            unexpected_passes: 0,
            not_needed: None,
        },
        started_at: at("04"),
        completed_at: Some(at("09")),
        gate: None,
        lost_report: None,
        labels: [("team".into(), "night".into())].into(),
        group: Some(GroupPlace {
            id: "2026-11-20_09-18-03-990-group-0a1b2c3d".into(),
            place: 1,
            of: 2,
        }),
        merged: Vec::new(),
        signature: None,
        pinned: None,
        metadata: Metadata {
            planned_test_count: 5,
            planned_trial_count: 10,
            suite: digest(b"suite"),
            blobs: None,
            scenario_sha256: digest(b"scenario"),
            runner_version: "0.1.0".into(),
            selection: Selected::default(),
            vars: BTreeMap::new(),
            has_gate: false,
            has_adaptive_repeats: false,
            random_recipe: 1,
        },
        providers: vec![ManifestProvider {
            name: "units".into(),
            is_grader: false,
            is_tool: false,
            is_development: false,
            plugin: "bundled:units".into(),
            digest: digest(b"plugin"),
            kind: PluginKind::Component,
            limits: Limits::default(),
            grants: Default::default(),
            mounts: Vec::new(),
            description: None,
        }],
        planned_graders: None,
        sessions: vec![SessionEntry {
            number: 1,
            key: 9,
            has_calls: false,
            foreign: false,
            replays: None,
            command: vec!["runner".into(), "exec".into(), "basic.toml".into()],
            request: None,
            pid: 7,
            host: "machine".into(),
            user: "me".into(),
            settings: settings(),
            started_at: at("04"),
            ended_at: Some(at("09")),
            from_seq: 0,
            rerun: None,
            added: Vec::new(),
            pending: None,
            rescores: false,
            suite: None,
            known: None,
            adopted: None,
            pauses: Vec::new(),
            suspended_ms: 0,
            worked_ms: None,
            stopped_by: None,
            wall: None,
            in_flight: Vec::new(),
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
        rows: None,
    }
}

#[test]
fn a_manifest_has_these_bytes() {
    let bytes = manifest().to_bytes().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), GOLDEN);
    let without_stack = GOLDEN.replace("        \"stack\": 524288,\n", "");
    assert_ne!(without_stack, GOLDEN);
    // The second is from before `limits.stack`.
    for text in [GOLDEN, &*without_stack] {
        assert_eq!(Manifest::parse(text, &manifest().id).unwrap(), manifest());
    }
    // A copy of a run is a run of its own.
    assert_eq!(Manifest::parse(GOLDEN, "copy").unwrap().id, "copy");
}

#[test]
fn rows_of_another_run_are_known() {
    let mut manifest = manifest();
    let mut second = manifest.sessions[0].clone();
    (second.number, second.from_seq) = (2, 7);
    manifest.sessions.push(second);
    let trial = TrialId::parse("t@p#1").unwrap();
    for (place, is_planned, why) in [
        ((1, 3), true, None),
        ((2, 8), true, None),
        ((3, 9), true, Some("the run has no session 3")),
        ((0, 9), true, Some("the run has no session 0")),
        ((2, 7), true, Some("session 2 started after row 7")),
        ((1, 3), false, Some("the run has no trial t@p#1")),
    ] {
        let found = manifest.foreign(&trial, place, is_planned);
        let why = why.map(|why| format!("{why}: the row is of another run"));
        assert_eq!(found, why);
    }
    // Before the second session the run had another plan.
    manifest.sessions[1].adopted = Some(Counts::default());
    assert_eq!(manifest.foreign(&trial, (1, 7), false), None);
    assert!(manifest.foreign(&trial, (2, 8), false).is_some());
}

#[test]
fn times_of_a_manifest_go_forward_alone() {
    let mut manifest = manifest();
    // The clock was set back before each of these.
    let early = Time::default();
    for (to, reason) in [(RunStatus::Running, None), (RunStatus::Incomplete, Some(Reason::Stopped))]
    {
        if to == RunStatus::Running {
            let mut again = manifest.sessions[0].clone();
            (again.started_at, again.ended_at) = (at("11"), None);
            manifest.change_status(to, reason, "resume", early).unwrap();
            manifest.sessions.push(again);
        } else {
            manifest.change_status(to, reason, "resume", early).unwrap();
        }
    }
    let changes: Vec<_> = manifest.transitions.iter().map(|one| one.at).collect();
    assert_eq!(changes, ["04", "09", "09", "11"].map(at));
    assert_eq!(manifest.completed_at, Some(at("11")));
    assert_eq!(manifest.sessions[1].ended_at, Some(at("11")));
    // The first session has a start and an end, the second one a working time.
    manifest.sessions[1].worked_ms = Some(700.25);
    assert_eq!(manifest.worked_ms(early), 5_700.25);
}

#[test]
fn manifest_is_read_as_it_was_written() {
    for end in 0..=GOLDEN.len() {
        manifests(&GOLDEN.as_bytes()[..end]);
    }
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
        change("\"planned_trial_count\": 10", "\"planned_trial_count\": 100000001")
            .contains("at most 100000000")
    );
    // Sums with it would overflow.
    assert!(change("\"failed\": 1", "\"failed\": 18446744073709551615").contains("results"));
    assert!(change("\"incomplete\"", "\"ended\"").contains("`ended`"));
    assert!(change("}", "").contains("damaged"));
    assert!(Manifest::parse("[]", "r").is_err());

    let folder = folder();
    let (root, owned) = begin(folder.path(), 1);
    let path = owned.dir().path().join("benchmark.json");
    let run = owned.dir().clone();
    drop(owned);
    let text = fs::read_to_string(&path).unwrap().replacen("\"format\": 3", "\"format\": 4", 1);
    fs::write(&path, &text).unwrap();
    fs::remove_file(run.path().join("lock")).unwrap();
    let error = root.claim(&run).unwrap_err().to_string();
    assert!(error.contains("format is 4") && error.contains(path.to_str().unwrap()), "{error}");
    // Nothing was touched, not even by a lock.
    assert!(!run.path().join("lock").exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
