//! Rows that fit, and the parts that are cut from longer ones.

use std::{collections::BTreeMap, time::Duration};

use runner_model::{
    Digest, ErrorClass, Limits, Micros, Outcome, Row, TaskId, Text, Time, TrialId, digest,
    log::{Level, LogRecord, MAX_SAID, Said},
    outcome::Verdict,
    protocol::{MAX_PIECE, Task},
    row::{Check, CheckKind, Denied, Metric, Raw, RowError, RowRef, check_row},
};
use serde_json::Value;

use super::{AttemptReport, AttemptResult, encode_said, first_key};

fn row(output: &str) -> Row<'static> {
    let trial = TrialId::parse("a/b@p#2").unwrap();
    let (started_at, took) = (Time::from_millis(0), Duration::from_micros(1500));
    Row {
        outcome: Outcome::Passed,
        output: Some(Raw::from_string(output.to_owned()).unwrap()),
        ..Row::new(&trial, 1, started_at, took, Duration::ZERO)
    }
}

fn task() -> Task {
    Task::new(TaskId(7), TrialId::parse("a/b@p#2").unwrap(), Micros(1), 0)
}

/// Encodes a row. Returns the report, and its artifacts' contents by index.
fn report(row: Row<'static>) -> (AttemptReport, BTreeMap<u32, Vec<u8>>) {
    let mut contents = BTreeMap::<u32, Vec<u8>>::new();
    let result = AttemptResult {
        row,
        said: Said::default(),
        left: Vec::new(),
        of_host: Vec::new(),
        host_fault: None,
    };
    let report = AttemptReport::new(result, None, |index, piece| {
        assert!((1..=MAX_PIECE).contains(&piece.len()));
        contents.entry(index).or_default().extend(piece);
        Ok(())
    });
    (report.unwrap(), contents)
}

/// Encodes a row, and checks it as its supervisor does.
#[track_caller]
fn with_checked(row: Row<'static>, inspect: impl FnOnce(&BTreeMap<u32, Vec<u8>>, &RowRef<'_>)) {
    let (report, contents) = report(row);
    let checked = check_row(&report.row, &task(), &Limits::default());
    inspect(&contents, &checked.unwrap());
}

#[test]
fn large_or_deep_output_becomes_an_artifact() {
    let large = format!("\"{}\"", "x".repeat(700 << 10));
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    for output in [
        &large,
        &deep,
        r#"{"$artifact":"passwords"}"#,
        r#"{"\u0024artifact":"passwords","more":1}"#,
    ] {
        with_checked(row(output), |contents, row| {
            assert_eq!(row.output.as_ref().unwrap().get(), r#"{"$artifact":"output.json"}"#);
            assert!(!row.truncated);
            let [artifact] = &row.artifacts[..] else { panic!("{row:?}") };
            assert_eq!(artifact.sha256, digest(output.as_bytes()));
            assert_eq!(artifact.bytes, output.len() as u64);
            assert_eq!(contents.len(), 1);
            assert_eq!(contents[&0], output.as_bytes());
        });
    }
    let text = format!("\"{}\"", "x".repeat((64 << 10) - 2));
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for output in [&text, &nested, "null", r#"{"a":{"$artifact":"x"}}"#, "{}"] {
        with_checked(row(output), |contents, row| {
            assert_eq!(row.output.as_ref().unwrap().get(), output);
            assert!(contents.is_empty());
        });
    }
    assert_eq!(first_key("[]"), None);
}

#[test]
fn deep_parts_are_removed_from_rows() {
    let nested = |levels: usize| {
        Raw::from_string(format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
    };
    let with = |levels| {
        let mut row = row("1");
        row.outcome = Outcome::Error;
        let part = || Some(nested(levels));
        let check = Check { details: part(), ..Check::own("own", Verdict::Fail) };
        row.checks = vec![Check { expected: part(), actual: part(), ..check }];
        row.error = Some(RowError {
            class: Some(ErrorClass::Other),
            code: "code".into(),
            message: "message".into(),
            details: part(),
            ..RowError::default()
        });
        row
    };
    with_checked(with(100), |_, row| {
        assert!(!row.truncated && row.checks[0].details.is_some());
    });
    with_checked(with(101), |_, row| {
        let check = &row.checks[0];
        assert!(row.truncated && check.verdict == Verdict::Fail);
        assert!(check.expected.is_none() && check.actual.is_none() && check.details.is_none());
        assert!(row.error.as_ref().unwrap().details.is_none());
    });
}

#[test]
fn long_row_keeps_failed_checks() {
    let check = |size: usize, verdict| Check {
        message: Some("message".into()),
        expected: Some(Raw::of(&"e".repeat(size)).unwrap()),
        actual: Some(Raw::of(&"a".repeat(size)).unwrap()),
        diff: Some("d".repeat(8 << 10).into()),
        details: Some(Raw::of(&"d".repeat(size / 4)).unwrap()),
        ..Check::new(CheckKind::Equals, verdict)
    };
    let with = |count: usize, size| {
        let mut row = row("1");
        row.outcome = Outcome::Failed;
        let verdicts = [Verdict::Pass, Verdict::Fail].into_iter().cycle();
        row.checks = verdicts.take(count).map(|verdict| check(size, verdict)).collect();
        row
    };
    with_checked(with(2, 1000), |_, row| {
        assert!(!row.truncated && row.checks[1].actual.is_some());
    });
    with_checked(with(2, 100_000), |_, row| {
        assert!(row.truncated);
        let check = &row.checks[1];
        assert!(check.expected.is_none() && check.diff.is_some() && check.details.is_some());
    });
    with_checked(with(40, 1000), |_, row| {
        assert!(row.checks.iter().all(|check| check.diff.is_none()));
        assert!(row.checks.iter().all(|check| check.details.is_some()));
    });
    with_checked(with(5000, 0), |_, row| {
        assert_eq!(row.checks.len(), 40);
        assert!(row.checks.iter().all(|check| check.verdict == Verdict::Fail));
        assert_eq!(row.checks[0].message.as_deref(), Some("message"));
    });
}

#[test]
fn the_longest_row_fits() {
    // JSON writes each of these bytes as six.
    let long = || Text::from("\u{1}".repeat(3000));
    let mut row = row(&format!("\"{}\"", "x".repeat((64 << 10) - 2)));
    row.outcome = Outcome::Error;
    row.checks = vec![
        Check {
            score: Some(Raw::of(&0.1).unwrap()),
            message: Some(long()),
            ..Check::own(long(), Verdict::Fail)
        };
        100
    ];
    row.summary = Some(long());
    row.metrics = vec![Metric { name: long(), value: f64::MIN, unit: Some(long()) }; 1000];
    row.denied = vec![Denied { what: long(), grant: Some(long()) }; 20];
    row.error = Some(RowError {
        class: Some(ErrorClass::Other),
        code: long(),
        message: long(),
        excerpt: Some(long()),
        stderr: Some(long()),
        retry_after_ms: Some(u32::MAX),
        details: Some(Raw::of(&long()).unwrap()),
    });
    // `check_row` checks its length.
    with_checked(row, |_, row| {
        assert!(row.truncated);
        assert_eq!((row.checks.len(), row.metrics.len(), row.denied.len()), (40, 40, 20));
        assert!(row.output.as_ref().unwrap().get().len() == 64 << 10);
    });
}

#[test]
fn long_log_is_cut_at_its_end() {
    assert!(encode_said(Said::default()).is_empty());
    let record = |message: String| LogRecord {
        at: Time::from_millis(0),
        calls: 0,
        level: Level::Info,
        message: message.into(),
        fields: Vec::new(),
    };
    let said = Said {
        log: (0..5000).map(|n| record(format!("{n} {}", "x".repeat(10_000)))).collect(),
        dropped: 3,
        ..Said::default()
    };
    let bytes = encode_said(said);
    assert!(bytes.len() <= MAX_SAID);
    let cut: Value = serde_json::from_slice(&bytes).unwrap();
    let kept = cut["log"].as_array().unwrap();
    assert!(kept[0]["message"].as_str().unwrap().starts_with("0 "));
    assert_eq!(kept.len() as u64 + cut["dropped"].as_u64().unwrap(), 5003);
    let said =
        Said { stdout: "\u{1}".repeat(3 << 20).into(), stderr: "end".into(), ..Said::default() };
    let bytes = encode_said(said);
    assert!(bytes.len() <= MAX_SAID, "{}", bytes.len());
    assert_ne!(digest(&bytes), Digest([0; 32]));
}
