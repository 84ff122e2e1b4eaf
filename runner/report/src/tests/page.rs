use runner_model::{
    Fingerprint, RunStatus, TrialId,
    row::{self, Tail},
};
use serde_json::{json, value::to_raw_value};

use super::{Line, Section, TrialDocument, call_sections};
use crate::{LogText, tests::snapshot};

fn line(attempt: u32, is_final: bool) -> Line {
    let checks = ["equals", "contains", "contains", "max_duration", "not.contains", "not.matches"];
    let checks = checks.map(|name| json!({"kind": name, "verdict": "pass"}));
    let row = json!({
        "v": row::VERSION, "trial": "a@p#1", "test": "a", "provider": "p", "repeat": 1, "attempt": attempt,
        "outcome": "passed", "started_at": "2026-11-20T09:18:04.015Z", "duration_ms": 2.0, "usage": {"peak_memory": 1024},
        "output": "", "checks": checks,
        "calls": {"count": 39 + attempt, "sha256": "00".repeat(32)}, "continued": attempt,
        "metrics": [{"name": "tokens", "value": 5.0, "unit": "tokens"}],
    });
    let tail = Tail {
        fingerprint: Fingerprint([0; 16]),
        judgement_fingerprint: Fingerprint([0; 16]),
        judged: None,
        worker: None,
        stopped_by: None,
        logs: None,
        flaky: false,
        r#final: is_final,
        session: 1,
        seq: attempt.into(),
    };
    let mut line = row.to_string().into_bytes();
    tail.finish(&mut line);
    Line::of(line.trim_ascii_end()).unwrap()
}

fn document(rows: Vec<Line>) -> TrialDocument {
    let said = json!({
        "log": [{"at": "2026-11-20T09:18:04.015Z", "level": "warn", "message": "m", "fields": [["k", "v"]]}],
        "dropped": 2, "stdout": "out\n",
        // A record of the JSON protocol is also a line of standard error.
        "stderr": "{\"level\":\"warn\",\"message\":\"m\",\"fields\":{\"k\":\"v\"}}\nown\n",
    });
    let expect = json!({"max_duration": 1500, "equals": "", "contains": ["a", "b"], "not": {"contains": ["x"], "matches": "y"}});
    let planned =
        json!({"input": "hello", "reference": "hi", "meta": {"topic": "words"}, "expect": expect});
    TrialDocument {
        development: false,
        v: 1,
        run: "r".into(),
        run_dir: "results/r".into(),
        trial: TrialId::parse("a@p#1").unwrap(),
        test: "a".into(),
        provider: "p".into(),
        planned: to_raw_value(&planned).ok(),
        running: None,
        waiting: None,
        run_status: RunStatus::Completed,
        known: None,
        stale: Vec::new(),
        shown: rows[0].row().unwrap().seq,
        rows,
        others: Vec::new(),
        others_known: Vec::new(),
        repeats: Vec::new(),
        history: Vec::new(),
        reproduce: String::new(),
        diff: String::new(),
        transcript: String::new(),
        logs: vec![LogText { seq: 1, attempt: 1, said: to_raw_value(&said).ok() }],
        artifacts: Vec::new(),
        stored: None,
        settling: None,
        rescores: Vec::new(),
    }
}

#[test]
fn a_page_is_about_the_settling_row() {
    let document = document(vec![line(1, true), line(2, false)]);
    let row = document.row().unwrap();
    assert_eq!(row.attempt, 1);
    let sections = document.sections(&row);
    let found: Vec<_> =
        sections.iter().map(|one| format!("{}:\n{}", one.title, one.text)).collect();
    snapshot("page", &found.join("\n\n"));
}

#[test]
fn a_page_has_no_empty_sections() {
    let document = document(vec![line(2, false)]);
    // This attempt has no logs.
    let row = document.row().unwrap();
    let titles = |sections: Vec<Section>| sections.into_iter().map(|section| section.title);
    let of_trial: Vec<_> = titles(document.sections(&row)).collect();
    let parts =
        ["run", "meta", "input", "reference", "expected", "output", "checks", "metrics", "usage"];
    assert_eq!(of_trial, parts);
    let of_call: Vec<_> = titles(call_sections(&row, &Default::default())).collect();
    assert_eq!(of_call, ["checks", "metrics", "usage"]);
}
