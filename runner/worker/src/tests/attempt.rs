use std::{path::Path, time::Duration};

use runner_model::{
    ErrorClass, HostFault, Limits, Micros, Outcome, TaskId, Time, TrialId,
    outcome::Verdict,
    protocol::{Task, TimeoutRule},
    row::{Check, Denied, Metric, Raw, RowError, Usage, check_row},
    test::Test,
};
use runner_sandbox::{Ended, Ending, LeftContent, LeftFile, Reply, failure};
use serde_json::{Value, json};

use super::{Attempt, format_duration};
use crate::{judge::CompiledCache, report::AttemptReport};

const LINE: &str = r#"{"id":"a","input":1,"providers":[0],"timeout":150000,"trial_timeout":2000000,"expect":{"equals":2}}"#;

fn task(rule: TimeoutRule) -> Task {
    Task {
        attempt: 2,
        timeout_rule: rule,
        ..Task::new(TaskId(7), TrialId::parse("a@p#1").unwrap(), Micros(150_000), 0)
    }
}

fn ended(ending: Ending) -> Ended {
    Ended {
        ending,
        had_sandbox: true,
        duration: Duration::from_micros(1250),
        suspended: Duration::ZERO,
        usage: Usage { peak_memory: 65536, bytes_in: 1, bytes_out: 1, ..Usage::default() },
        denied: Vec::new(),
        said: Default::default(),
        artifacts: Vec::new(),
        lost: None,
        workspace: None,
        fixed_limit: None,
        host_fault: None,
        transcript: Vec::new(),
        dropped_steps: 0,
        agent_end: None,
        reported: Vec::new(),
        reported_by_tools: Vec::new(),
        calls: None,
        service_failed: None,
    }
}

fn reply(output: &str) -> Ending {
    Ending::Reply(Box::new(Reply::new(Raw::from_string(output.to_owned()).unwrap())))
}

fn error(class: ErrorClass) -> Ending {
    Ending::Error(RowError {
        class: Some(class),
        code: "code".into(),
        message: "why".into(),
        retry_after_ms: Some(5),
        ..RowError::default()
    })
}

fn judged_report(line: &str, rule: TimeoutRule, ended: Ended) -> AttemptReport {
    let test: Test<'_> = serde_json::from_str(line).unwrap();
    let task = task(rule);
    let attempt = Attempt {
        workspace: None,
        journal: None,
        clock: None,
        task: &task,
        test: &test,
        files: Vec::new(),
        schema: None,
        cache: &CompiledCache::default(),
        blobs: Path::new(""),
    };
    let result =
        attempt.judge_call(1, None, &[], Time::from_millis(1_800_000_000_015), ended, usize::MAX);
    let report = AttemptReport::new(result, None, |_, _| Ok(())).unwrap();
    check_row(&report.row, &task, &Limits::default()).unwrap();
    report
}

fn judged_row(line: &str, ended: Ended) -> Value {
    serde_json::from_slice(&judged_report(line, TimeoutRule::Timeout, ended).row).unwrap()
}

#[test]
fn a_reply_becomes_one_compact_row() {
    let report = judged_report(LINE, TimeoutRule::Timeout, ended(reply("2")));
    assert_eq!(
        String::from_utf8(report.row).unwrap(),
        r#"{"v":4,"trial":"a@p#1","test":"a","provider":"p","repeat":1,"attempt":2,"outcome":"passed","started_at":"2027-01-15T08:00:00.015Z","duration_ms":1.25,"usage":{"peak_memory":65536,"bytes_in":1,"bytes_out":1},"output":2,"checks":[{"kind":"equals","verdict":"pass"}]}"#
    );
    let full = Ended {
        denied: vec![Denied { what: "open a socket".into(), grant: None }],
        reported: vec![Metric { name: "length".into(), value: 3.0, unit: None }],
        ..ended(Ending::Reply(Box::new(Reply {
            verdict: Some(Verdict::Fail),
            score: Some(0.25),
            summary: Some("three".into()),
            checks: vec![Check {
                score: Some(Raw::of(&0.5).unwrap()),
                ..Check::own("own", Verdict::Pass)
            }],
            ..Reply::new(Raw::from_string("3".into()).unwrap())
        })))
    };
    let report = judged_report(LINE, TimeoutRule::Timeout, full);
    let row = String::from_utf8(report.row).unwrap();
    let (_, rest) = row.split_once(r#""output":"#).unwrap();
    assert_eq!(
        rest,
        r#"3,"verdict":"fail","score":0.25,"summary":"three","checks":[{"kind":"equals","verdict":"fail","message":"the output differs from the expected one","expected":2,"actual":3},{"name":"own","verdict":"pass","score":0.5}],"metrics":[{"name":"length","value":3.0}],"denied":[{"what":"open a socket"}]}"#
    );
}

#[test]
fn only_errors_of_services_have_failed_services() {
    for (class, failed, expected) in [
        (ErrorClass::Unavailable, Some(true), json!(true)),
        (ErrorClass::RateLimited, Some(true), json!(true)),
        (ErrorClass::InvalidInput, Some(true), Value::Null),
        (ErrorClass::RateLimited, Some(false), Value::Null),
        (ErrorClass::RateLimited, None, Value::Null),
    ] {
        let ended = Ended { service_failed: failed, ..ended(error(class)) };
        assert_eq!(judged_row(LINE, ended)["service_failed"], expected, "{class} {failed:?}");
    }
}

#[test]
fn error_keeps_its_code_and_message() {
    let row = judged_row(LINE, ended(error(ErrorClass::Unavailable)));
    assert_eq!(row["outcome"], "error");
    assert_eq!(
        row["error"],
        json!({"class": "unavailable", "code": "code", "message": "why", "retry_after_ms": 5})
    );
    let expected = LINE.replace("\"equals\":2", "\"error\":\"unavailable\"");
    let row = judged_row(&expected, ended(error(ErrorClass::Unavailable)));
    assert_eq!(row["outcome"], "passed");
    assert_eq!(row["error"]["class"], "unavailable");
}

#[test]
fn timeout_names_its_key() {
    for (rule, code, message) in [
        (
            TimeoutRule::Timeout,
            "timeout",
            "no reply within 150ms, set by the test's `timeout = \"150ms\"`",
        ),
        (
            TimeoutRule::LimitTime,
            "limits.time",
            "no reply within 150ms, set by the provider's `limits.time = \"150ms\"`",
        ),
        (
            TimeoutRule::TrialTimeout,
            "trial_timeout",
            "no reply within 150ms, the rest of the test's `trial_timeout = \"2s\"`",
        ),
        (TimeoutRule::Flag, "timeout", "no reply within 150ms, set by `--timeout 150ms`"),
    ] {
        let report = judged_report(LINE, rule, ended(Ending::Timeout));
        let row: Value = serde_json::from_slice(&report.row).unwrap();
        assert_eq!(row["outcome"], "timeout");
        assert_eq!(row["error"], json!({"code": code, "message": message}));
    }
    let expected = LINE.replace("\"equals\":2", "\"error\":\"timeout\"");
    assert_eq!(judged_row(&expected, ended(Ending::Timeout))["outcome"], "passed");
    for (micros, text) in
        [(1_000_000, "1s"), (90_000_000, "90s"), (120_000_000, "2m"), (1_500, "1ms")]
    {
        assert_eq!(format_duration(Micros(micros)), text);
    }
}

#[test]
fn stopped_attempt_has_no_checks() {
    let row = judged_row(LINE, ended(Ending::Stopped));
    assert_eq!(row["outcome"], "stopped");
    assert_eq!(row["error"], json!({"code": "stopped", "message": "the run was stopped"}));
    assert_eq!(row.get("checks"), None);
}

#[test]
fn fixed_limit_is_no_failed_test() {
    let limited =
        |output| Ended { fixed_limit: Some("too many files".into()), ..ended(reply(output)) };
    assert_eq!(judged_row(LINE, limited("2"))["outcome"], "passed");
    let row = judged_row(LINE, limited("3"));
    assert_eq!(row["outcome"], "error");
    let message = "too many files: this fixed limit may have changed the answer";
    assert_eq!(row["error"], json!({"class": "limit", "code": "files", "message": message}));
    assert_eq!(row.get("output"), None);
    let expected = LINE.replace("\"equals\":2", "\"equals\":2,\"error\":\"limit\"");
    assert_eq!(judged_row(&expected, limited("3"))["outcome"], "passed");
}

#[test]
fn host_fault_stops_the_attempt() {
    let lacking = |ending| Ended { host_fault: Some(HostFault::Files), ..ended(ending) };
    let report = judged_report(LINE, TimeoutRule::Timeout, lacking(error(ErrorClass::Internal)));
    assert_eq!(report.head(TaskId(7)).host_fault, Some(HostFault::Files));
    let row: Value = serde_json::from_slice(&report.row).unwrap();
    assert_eq!(row["outcome"], Outcome::Stopped.as_str());
    let message = "the runner's machine lets the guest open no more files, raise `ulimit -n`: why";
    assert_eq!(row["error"], json!({"code": "host-files", "message": message}));
    let failed = judged_report(LINE, TimeoutRule::Timeout, lacking(reply("3")));
    let row: Value = serde_json::from_slice(&failed.row).unwrap();
    assert_eq!((&row["outcome"], row.get("output")), (&json!("stopped"), None));
    // It did without.
    let passed = judged_report(LINE, TimeoutRule::Timeout, lacking(reply("2")));
    assert_eq!(passed.head(TaskId(7)).host_fault, None);
}

#[test]
fn a_reply_without_its_artifacts_is_an_error() {
    let lost = failure(ErrorClass::Internal, "artifacts", "cannot keep artifacts");
    let losing = |ending| Ended { lost: Some(lost.clone()), ..ended(ending) };
    let row = judged_row(LINE, losing(reply("2")));
    assert_eq!((&row["outcome"], row.get("output")), (&json!("error"), None));
    assert_eq!(row["error"]["message"], "cannot keep artifacts");
    assert_eq!(judged_row(LINE, losing(error(ErrorClass::Trap)))["error"]["class"], "trap");
    let file = |n: usize| LeftFile {
        name: format!("{n:0100}"),
        media_type: "text/plain".into(),
        bytes: 0,
        content: LeftContent::Memory(Vec::new()),
    };
    let leaving = |count| Ended { artifacts: (0..count).map(file).collect(), ..ended(reply("2")) };
    assert_eq!(judged_row(LINE, leaving(100))["artifacts"].as_array().unwrap().len(), 100);
    let many = judged_row(LINE, leaving(1000));
    assert_eq!(many["error"]["message"], "the names of 1000 artifacts do not fit a row");
    assert_eq!(many.get("artifacts"), None);
}
