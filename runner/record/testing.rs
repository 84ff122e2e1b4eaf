//! What the tests of this room share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;

use super::{
    Blob, BlobSource, Claim, ClaimError, End, Entry, Finished, JudgementEntry, JudgementLine,
    Manifest, Mark, NewRun, NewRunProvider, NewRunScenario, NextSession, Opening, Recorder, Rerun,
    Row, RunEntry, RunFilter, RunReader, State, Store, Written, format::row::RowPlace,
};
use crate::model::{
    Actor, Attempt, AttemptError, Check, Counts, Digest, Fingerprint, Grants, Limits, Outcome,
    ProviderId, RunStatus, Stage, TestId, TrialId, Usage, Verdict,
};

pub(super) const NOW: &str = "2026-11-20T04:39:12.123Z";

pub(crate) fn ignore(_: Written) {}

/// Why there is no verdict of an attempt.
pub(crate) fn attempt_error() -> AttemptError {
    AttemptError {
        class: None,
        code: "code".into(),
        message: "message".into(),
        retry_after: None,
        fault: None,
    }
}

/// The runs of the results root `root`, all of which can be read.
pub(super) fn list(root: &Path) -> Vec<RunEntry> {
    let list = Store::existing(root).unwrap().runs(&RunFilter::default());
    let list = list.unwrap();
    assert!(list.unreadable.is_empty(), "{:?}", list.unreadable);
    list.runs
}

pub(crate) fn new_run(planned: u64) -> NewRun {
    let plugin = bytes::Bytes::from_static(b"plugin");
    NewRun {
        scenario: NewRunScenario {
            name: "tour".into(),
            path_as_given: "scenarios/tour.toml".into(),
            text: "name = \"tour\"\n".into(),
        },
        plan_digest: Digest::of(b"plan"),
        planned,
        graders: Vec::new(),
        suite: Digest::of(b"suite"),
        shard: None,
        providers: vec![NewRunProvider {
            name: "echo".into(),
            plugin_sha256: Digest::of(&plugin),
            kind: "component".into(),
            contract: Some("0.1.0".into()),
            reuse: None,
            limits: Limits::default(),
            grants: Grants::default(),
            folders: Vec::new(),
        }],
        blobs: vec![
            Blob {
                digest: Digest::of(&plugin),
                source: BlobSource::Bytes(plugin),
            },
            Blob {
                digest: Digest::of(b"suite"),
                source: BlobSource::Bytes(b"suite".as_slice().into()),
            },
        ],
        selection: json!({}),
        options: json!({ "concurrency": 2 }),
        has_secrets: false,
        request: None,
        now: NOW.parse().unwrap(),
    }
}

/// An entry that is final unless it is stopped, or has yet to be graded.
pub(super) fn entry(ordinal: u64, number: u32, outcome: Outcome) -> Entry {
    Entry {
        attempt: Attempt {
            ordinal,
            trial: TrialId {
                test: TestId::parse(&format!("test-{ordinal}")).unwrap(),
                provider: ProviderId::parse("echo").unwrap(),
                repeat: 1,
            },
            number,
            outcome,
            score: None,
            checks: vec![Check::held("equals")],
            metrics: vec![],
            output: Some("hello".into()),
            verdict: None,
            summary: None,
            error: None,
            started_at: NOW.parse().unwrap(),
            duration: Duration::from_nanos(48_123),
            suspended: Duration::ZERO,
            worker: None,
            usage: Usage {
                peak_memory: 1_114_112,
                bytes_in: 9,
                bytes_out: 7,
                ..Usage::default()
            },
            denied: vec![],
            artifacts: vec![],
            log: vec![],
            stderr: String::new(),
            stdout: String::new(),
        },
        is_final: !matches!(outcome, Outcome::Stopped | Outcome::Ungraded),
        is_flaky: false,
        fingerprint: Fingerprint {
            execution: Digest::of(b"fingerprint"),
            judgement: Digest::of(b"judgement"),
        },
    }
}

/// A judgement of an attempt, whose own line has the number `of`.
pub(crate) fn judgement(of: u64, mark: Mark) -> JudgementEntry {
    JudgementEntry {
        mark,
        of,
        before: None,
        score: None,
        checks: entry(mark.key.ordinal, mark.key.number, mark.outcome)
            .attempt
            .checks
            .into(),
        own_checks: 0,
        exit_code: None,
        grades: Vec::new(),
        error: None,
        fingerprint: Digest::of(b"another judgement"),
        scenario: Digest::of(b"another scenario"),
    }
}

/// The lines of rows and of judgements behind them, as a session writes them; `seq` is the number of the last line.
pub(crate) fn lines(entries: &[Entry], judgements: &[JudgementEntry], seq: &mut u64) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut next = || {
        *seq += 1;
        RowPlace {
            seq: *seq,
            session: 1,
        }
    };
    for entry in entries {
        Row::new(entry, next()).encode(&mut lines);
    }
    for judgement in judgements {
        JudgementLine::new(judgement, next()).encode(&mut lines);
    }
    lines
}

pub(crate) fn end(status: RunStatus, planned: u64) -> End {
    End {
        status,
        reason: None,
        signal: None,
        stage: Stage::Finish,
        verdict: Verdict::Passed,
        counts: Counts {
            planned,
            passed: planned,
            ..Counts::default()
        },
        error: None,
        by: None,
        now: "2026-11-20T04:40:00.000Z".parse().unwrap(),
    }
}

pub(super) fn finished_run(root: &Path) -> Finished {
    let recorder = Store::open(root)
        .unwrap()
        .begin(new_run(1), ignore)
        .unwrap();
    recorder.record(vec![entry(0, 1, Outcome::Passed)]);
    recorder.finish(&end(RunStatus::Completed, 1)).unwrap()
}

/// A directory in memory where the system has one, for tests that sync thousands of times.
pub(super) fn fast_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(super) fn actor(text: Option<&str>) -> Actor {
    Actor {
        user: Some("anna".into()),
        uid: 1000,
        host: "host".into(),
        pid: 7,
        at: now(),
        text: text.map(str::to_owned),
    }
}

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A run of `planned` trials whose process died after it wrote the entries.
pub(super) fn crashed_run(root: &Path, planned: u64, entries: Vec<Entry>) -> PathBuf {
    let store = Store::open(root).unwrap();
    let recorder = store.begin(new_run(planned), ignore).unwrap();
    recorder.record(entries);
    recorder.run_dir().to_owned()
}

/// Claims a run by its directory.
pub(super) fn claim(run_dir: &Path) -> Result<Claim, ClaimError> {
    let store = Store::existing(run_dir.parent().unwrap()).unwrap();
    let run = store.find(run_dir.to_str().unwrap()).unwrap();
    store.claim(&run, now())
}

/// Resumes a run with what its history says.
pub(super) fn resume(claim: Claim, rerun: Option<Rerun>) -> (Recorder, State) {
    resume_at(claim, rerun, now())
}

pub(super) fn resume_at(claim: Claim, rerun: Option<Rerun>, now: Timestamp) -> (Recorder, State) {
    let asked = NextSession {
        rerun: rerun.as_ref(),
        planned: None,
    };
    let history = claim.history(asked).unwrap();
    let opening = Opening {
        now,
        opened_by: "resume",
        rerun,
        counts: history.state.counts(),
        is_forced: false,
        options: json!({ "concurrency": 3 }),
        replanned: None,
        is_judged_apart: false,
    };
    (claim.open(opening, ignore).unwrap(), history.state)
}

pub(super) fn manifest(dir: &Path) -> Manifest {
    RunReader::open(dir).unwrap().manifest().clone()
}

/// A crashed run of three trials: one passed, one failed, one was being executed.
pub(super) fn crashed(root: &Path) -> PathBuf {
    let entries = vec![entry(0, 1, Outcome::Passed), entry(1, 1, Outcome::Failed)];
    crashed_run(root, 3, entries)
}
