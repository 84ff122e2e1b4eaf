//! What the tests of this room share.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Birth, BirthProvider, BirthScenario, Blob, BlobSource, End, Entry, Finished, Store, Written,
};
use crate::model::{
    Attempt, Check, CheckVerdict, Counts, Digest, Limits, Outcome, ProviderId, RunStatus, Stage,
    TestId, TrialId, Usage, Verdict,
};

pub(super) const NOW: &str = "2026-11-20T04:39:12.123Z";

pub(super) fn ignore(_: Written) {}

pub(super) fn birth(planned: u64) -> Birth {
    let plugin: Arc<[u8]> = b"plugin".as_slice().into();
    Birth {
        scenario: BirthScenario {
            name: "tour".into(),
            path_as_given: "scenarios/tour.toml".into(),
            text: "name = \"tour\"\n".into(),
        },
        plan_digest: Digest::of(b"plan"),
        planned,
        suite: Digest::of(b"suite"),
        providers: vec![BirthProvider {
            name: "echo".into(),
            plugin_sha256: Digest::of(&plugin),
            kind: "component".into(),
            contract: Some("0.1.0".into()),
            limits: Limits::default(),
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
        now: NOW.parse().unwrap(),
    }
}

/// An entry that is final unless it is stopped.
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
            checks: vec![Check {
                name: "equals".into(),
                verdict: CheckVerdict::Pass,
                score: None,
                message: None,
                expected: None,
                actual: None,
                diff: None,
                details: None,
            }],
            metrics: vec![],
            output: Some("hello".into()),
            summary: None,
            error: None,
            started_at: NOW.parse().unwrap(),
            duration: Duration::from_nanos(48_123),
            usage: Usage {
                peak_memory: 1_114_112,
                bytes_in: 9,
                bytes_out: 7,
                ..Usage::default()
            },
            artifacts: vec![],
            log: vec![],
            stderr: String::new(),
            stdout: String::new(),
        },
        is_final: outcome != Outcome::Stopped,
        is_flaky: false,
        fingerprint: Digest::of(b"fingerprint"),
    }
}

pub(super) fn end(status: RunStatus, planned: u64) -> End {
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
        now: "2026-11-20T04:40:00.000Z".parse().unwrap(),
    }
}

pub(super) fn finished_run(root: &Path) -> Finished {
    let recorder = Store::open(root).unwrap().begin(birth(1), ignore).unwrap();
    recorder.record(vec![entry(0, 1, Outcome::Passed)]);
    recorder.finish(end(RunStatus::Completed, 1)).unwrap()
}
