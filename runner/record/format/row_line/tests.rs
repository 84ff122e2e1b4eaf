//! What lines say and leave out.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    model::{
        Artifact, AttemptError, Check, CheckVerdict, Denied, ErrorClass, Metric, Outcome, Usage,
    },
    record::{
        Entry, Row,
        format::{
            brief,
            glance::RowGlance,
            line::{self, seal},
            row::{RowLogs, RowPlace},
        },
        testing::entry,
    },
};

fn check() -> impl Strategy<Value = Check> {
    let verdicts = [CheckVerdict::Pass, CheckVerdict::Fail, CheckVerdict::Skip];
    let value = || prop::option::of(prop::sample::select(vec![Value::Null, json!("x")]));
    (
        any::<String>(),
        prop::sample::select(verdicts.to_vec()),
        prop::option::of(0.0..1.0),
        prop::option::of(any::<String>()),
        (value(), value(), value()),
    )
        .prop_map(|(name, verdict, score, message, values)| Check {
            name: name.into(),
            verdict,
            score,
            message,
            expected: values.0,
            actual: values.1,
            diff: None,
            details: values.2,
        })
}

/// An output with the keys of rows, in it and in its text.
fn odd() -> Value {
    let text = r#"x,"began":1,"ms":2,"denied":[],"error":{}"#;
    json!({ "a": text, "began": 3, "denied": [{}], "error": { "began": 4, "ms": 5 } })
}

prop_compose! {
    fn rows()(
        ordinal in 0..u64::MAX,
        number in 1..4_u32,
        outcome in prop::sample::select(Outcome::ALL.to_vec()),
        flags in any::<[bool; 6]>(),
        checks in prop::collection::vec(check(), 0..3),
        output in prop::sample::select(vec![None, Some(Value::Null), Some(json!(["ü", { "a": 1 }])), Some(odd())]),
        usage in any::<[bool; 5]>(),
        text in any::<String>(),
        micros in 0..10_000_000_u64,
    ) -> Entry {
        let mut entry = entry(ordinal, number, outcome);
        (entry.is_final, entry.is_flaky) = (flags[0], flags[1]);
        let attempt = &mut entry.attempt;
        attempt.checks = checks;
        attempt.output = output;
        attempt.duration = Duration::from_micros(micros);
        attempt.usage = Usage {
            peak_memory: u64::from(usage[0]) * 65536,
            host_calls: u64::from(usage[1]),
            http_requests: u64::from(usage[2]),
            bytes_in: u64::from(usage[3]) * 7,
            bytes_out: u64::from(usage[3]) * 8,
            fuel: usage[4].then_some(micros),
        };
        if flags[2] {
            attempt.score = Some(0.5);
            attempt.verdict = Some(CheckVerdict::Skip);
            attempt.summary = Some(text.clone());
            attempt.metrics = vec![Metric { name: text.clone(), value: 1.5, unit: None }];
        }
        if flags[3] {
            attempt.error = Some(AttemptError {
                class: Some(ErrorClass::Trap),
                code: "c".into(),
                message: text.clone(),
                retry_after: None,
                fault: None,
            });
            attempt.suspended = Duration::from_millis(3);
            attempt.worker = Some("here-1".into());
        }
        if flags[4] {
            attempt.denied = vec![Denied { what: text.clone(), grant: None }];
            attempt.artifacts = vec![Artifact {
                name: "a".into(),
                media_type: text,
                content: std::sync::Arc::new(Vec::new()),
            }];
        }
        entry
    }
}

proptest! {
    #[test]
    fn a_line_says_all_of_its_row_whatever_it_leaves_out(
        entry in rows(),
        (seq, session) in (1..u64::MAX, 1..4_u32),
        file in prop::option::of(1..3_u32),
    ) {
        let mut row = Row::new(&entry, RowPlace { seq, session });
        row.logs = file.map(|file| RowLogs { file, at: 7, bytes: 9 });
        let mut line = Vec::new();
        row.encode(&mut line);
        let line = line.trim_ascii_end();
        prop_assert_eq!(&Row::decode(line).unwrap(), &row);
        let (brief, trial) = brief::decode_keys(line).unwrap();
        prop_assert_eq!((brief.seq, brief.mark), (seq, entry.mark()));
        prop_assert_eq!(brief::quick::decode(line).unwrap(), (brief, &*trial));
        prop_assert_eq!(trial, &*row.trial);
        assert_glance(line, &row);

        // As version 1 had it.
        row.v = 1;
        let mut line = serde_json::to_vec(&row).unwrap();
        seal(&mut line, 0);
        let line = line.trim_ascii_end();
        prop_assert_eq!(&Row::decode(line).unwrap(), &row);
        let (brief, trial) = brief::decode_keys(line).unwrap();
        prop_assert_eq!((brief.version, brief.seq, brief.mark), (1, seq, entry.mark()));
        prop_assert_eq!(brief::quick::decode(line).unwrap(), (brief, &*trial));
        prop_assert_eq!(trial, &*row.trial);
        assert_glance(line, &row);
    }
}

/// Fails unless what is counted of a line is that of its row, however it was read.
#[track_caller]
fn assert_glance(line: &[u8], row: &Row<'_>) {
    let glance = RowGlance::decode(line).unwrap();
    assert_eq!(line::parse::<RowGlance>(line).unwrap(), glance);
    let brief = brief::decode_brief(line).unwrap();
    assert_eq!((glance.brief(), glance.session), (brief, row.session));
    assert_eq!(
        (glance.duration(), &glance.denied),
        (row.duration(), &row.denied)
    );
    assert_eq!(
        glance.class(),
        row.error.as_ref().and_then(|error| error.class)
    );
    assert_eq!(
        (glance.provider(), &*glance.trial),
        (&*row.provider, &*row.trial)
    );
    if row.v == 2 && row.denied.is_empty() && row.error.is_none() && row.output.is_none() {
        assert!(RowGlance::decode_quickly(line).is_some());
    }
}

#[test]
fn a_passed_row_has_few_bytes() {
    let mut entry = entry(99_998, 1, Outcome::Passed);
    let place = RowPlace {
        seq: 99_999,
        session: 1,
    };
    let mut bytes = |checks: &[&str]| {
        let names = entry.attempt.checks.iter().map(|check| &*check.name);
        assert!(names.eq(checks.iter().copied()));
        let mut line = Vec::new();
        Row::new(&entry, place).encode(&mut line);
        entry.attempt.checks.clear();
        line.len()
    };
    // 24 of them are the name of the trial and its output.
    assert_eq!([bytes(&["equals"]), bytes(&[])], [257, 237]);
}

#[test]
fn a_trial_that_is_none_is_read_and_is_no_trial_of_its_parts() {
    for trial in ["", "x", "a@b", "a@b#x", "a@b#01", "a#1"] {
        let line = format!(
            "{{\"v\":2,\"seq\":1,\"ordinal\":0,\"trial\":\"{trial}\",\"outcome\":\"passed\",\"began\":0,\"ms\":0,\"digests\":\"{}\"",
            "0".repeat(32)
        );
        let crc = crc32fast::hash(line.as_bytes());
        let row = Row::decode(format!("{line},\"crc\":\"{crc:08x}\"}}").as_bytes()).unwrap();
        let parts = format!("{}@{}#{}", row.test, row.provider, row.repeat);
        assert_ne!(parts, trial);
    }
}
