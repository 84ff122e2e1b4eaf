//! Golden bytes of a row, and refused rows.

use std::time::Duration;

use serde_json::json;

use super::{
    LineTexts, MAX_DEPTH, Raw, Row, RowRef, Tail, check_row, is_deep, is_file_name, read_line,
};
use crate::{
    Fingerprint, Limits, Micros, Outcome, TaskId, Time, TrialId,
    outcome::Verdict,
    protocol::Task,
    row::{Check, CheckKind, LogPlace, Usage},
};

fn trial() -> TrialId {
    TrialId::parse("length@units#1").unwrap()
}

fn task() -> Task {
    Task::new(TaskId(1), trial(), Micros(1), 0)
}

fn row() -> Row<'static> {
    let started_at = Time::parse("2026-11-20T09:18:04.015Z").unwrap();
    Row {
        outcome: Outcome::Passed,
        usage: Usage { peak_memory: 1_114_112, bytes_in: 36, bytes_out: 28, ..Usage::default() },
        output: Some(Raw::from_string(r#"{"value":26.097590073968025}"#.into()).unwrap()),
        checks: vec![Check::new(CheckKind::Json, Verdict::Pass)],
        ..Row::new(&trial(), 1, started_at, Duration::from_micros(141), Duration::ZERO)
    }
}

fn tail() -> Tail {
    Tail {
        fingerprint: Fingerprint([0x58; 16]),
        judgement_fingerprint: Fingerprint([0x36; 16]),
        judged: None,
        worker: None,
        stopped_by: None,
        logs: Some(LogPlace { at: 0, bytes: 120 }),
        flaky: false,
        r#final: true,
        session: 1,
        seq: 4,
    }
}

const GOLDEN: &str = concat!(
    r#"{"v":4,"trial":"length@units#1","test":"length","provider":"units","repeat":1,"attempt":1,"outcome":"passed","#,
    r#""started_at":"2026-11-20T09:18:04.015Z","duration_ms":0.141,"usage":{"peak_memory":1114112,"bytes_in":36,"#,
    r#""bytes_out":28},"output":{"value":26.097590073968025},"checks":[{"kind":"json","verdict":"pass"}]"#,
    r#","fingerprint":"58585858585858585858585858585858","judgement_fingerprint":"36363636363636363636363636363636","#,
    r#""logs":{"at":0,"bytes":120},"final":true,"session":1,"seq":4,"crc":"CRC"}"#,
);

#[test]
fn a_row_has_its_golden_bytes() {
    let mut line = serde_json::to_vec(&row()).unwrap();
    check_row(&line, &task(), &Limits::default()).unwrap();
    tail().finish(&mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    let text = String::from_utf8(line.clone()).unwrap();
    let crc =
        format!("{:08x}", crc32fast::hash(text.rsplit_once(",\"crc\":").unwrap().0.as_bytes()));
    assert_eq!(text, GOLDEN.replace("CRC", &crc));
    assert!(text.len() < 500, "{}", text.len());
    let read = read_line(&line).unwrap();
    assert_eq!(read.trial, trial());
    assert!(LineTexts::of(text.replacen("{", "{ ", 1).as_bytes()).is_none());
    let texts = LineTexts::of(&line).unwrap();
    assert_eq!(texts.trial, trial().to_string().as_bytes());
    assert_eq!(texts.output(), Some(br#"{"value":26.097590073968025}"#.as_slice()));
    let in_tail = |text: &[u8]| {
        texts.is_in_tail(texts.rest.windows(text.len()).position(|part| part == text).unwrap())
    };
    assert_eq!([b"json", b"5858", b"1,\"s"].map(|text| in_tail(text)), [false, true, true]);
    let without = text.replace(r#""output":{"value":26.097590073968025},"#, "");
    let texts = LineTexts::of(without.as_bytes()).unwrap();
    assert!(texts.output().is_none() && texts.rest.starts_with(br#","checks":"#));
    let braces = text.replace("length", r#"}\"\\{"#);
    let texts = LineTexts::of(braces.as_bytes()).unwrap();
    assert_eq!(texts.trial, br#"}\"\\{@units#1"#);
    assert_eq!(texts.output(), Some(br#"{"value":26.097590073968025}"#.as_slice()));
    assert_eq!((read.seq, read.session, read.r#final), (Some(4), Some(1), Some(true)));
    assert_eq!(read.output.unwrap().get(), r#"{"value":26.097590073968025}"#);
}

#[test]
fn any_changed_byte_is_noticed() {
    let mut line = serde_json::to_vec(&row()).unwrap();
    tail().finish(&mut line);
    line.pop();
    for at in 0..line.len() {
        let mut changed = line.clone();
        changed[at] ^= 1;
        assert!(read_line(&changed).is_err(), "byte {at}");
    }
    line.push(b'\r');
    assert!(read_line(&line).is_ok(), "an editor of another system ended the line");
}

#[test]
fn null_is_an_output() {
    let mut row = row();
    row.output = Some(Raw::from_string("null".into()).unwrap());
    let line = serde_json::to_vec(&row).unwrap();
    let read = check_row(&line, &task(), &Limits::default()).unwrap();
    assert_eq!(read.output.unwrap().get(), "null");
    row.output = None;
    let line = serde_json::to_vec(&row).unwrap();
    assert!(check_row(&line, &task(), &Limits::default()).unwrap().output.is_none());
}

#[test]
fn impossible_rows_of_workers_are_refused() {
    let good = serde_json::to_string(&row()).unwrap();
    let refuse = |from: &str, to: &str| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        check_row(bad.as_bytes(), &task(), &Limits::default())
            .map(|_: RowRef<'_>| ())
            .unwrap_err()
            .to_string()
    };
    for (from, to) in [
        ("{\"v\"", " {\"v\""),
        ("\"repeat\":1,", "\"repeat\":1,\n"),
        ("\"repeat\":1,", "\"repeat\":1,\r"),
        ("\"v\":4", "\"v\":4,\"v\":4"),
        ("\"attempt\":1", "\"attempt\":1,\"unknown\":1"),
        ("passed", "splendid"),
        ("\"kind\":\"json\"", "\"kind\":\"style\""),
    ] {
        assert!(refuse(from, to).starts_with("not a row"), "{to:?}");
    }
    for (from, to) in [
        ("length@units#1", "length@units#2"),
        ("\"test\":\"length\"", "\"test\":\"other\""),
        ("\"provider\":\"units\"", "\"provider\":\"other\""),
        ("\"attempt\":1", "\"attempt\":2"),
    ] {
        assert!(refuse(from, to).contains("another attempt"), "{to:?}");
    }
    for (from, to) in [
        ("\"attempt\":1", "\"attempt\":1,\"final\":true"),
        ("\"attempt\":1", "\"attempt\":1,\"seq\":7"),
        ("\"attempt\":1", "\"attempt\":1,\"session\":7"),
        ("\"attempt\":1", "\"attempt\":1,\"crc\":\"00000000\""),
        ("\"attempt\":1", "\"attempt\":1,\"judged\":1"),
        ("\"attempt\":1", "\"attempt\":1,\"flaky\":true"),
        ("\"attempt\":1", "\"attempt\":1,\"service_failed\":true"),
        ("\"v\":4", "\"v\":3"),
        ("0.141", "-1"),
        ("\"verdict\"", "\"name\":\"style\",\"verdict\""),
        ("\"kind\":\"json\"", "\"name\":\"style\",\"difference_count\":1"),
        ("\"verdict\"", "\"differences\":[{\"path\":\"$\"}],\"verdict\""),
        ("passed", "error"),
        ("passed", "timeout"),
        ("passed", "stopped"),
        ("passed\"", "error\",\"error\":{\"class\":\"crash\",\"code\":\"x\",\"message\":\"x\"}"),
        ("passed\"", "error\",\"error\":{\"class\":\"grader\",\"code\":\"x\",\"message\":\"x\"}"),
        (
            "\"attempt\":1",
            "\"attempt\":1,\"artifacts\":[{\"name\":\"../x\",\"media_type\":\"a/b\",\"bytes\":1,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}]",
        ),
    ] {
        assert!(refuse(from, to).contains("impossible"), "{to:?}");
    }
    // Names of the runner's artifacts that the row refers to by no other key.
    for name in ["output.json", "workspace.jsonl", "WORKSPACE.contents", "transcript.json"] {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let artifact = json!({"name": name, "media_type": "a/b", "bytes": 1, "sha256": digest});
        let refused = refuse("\"attempt\":1", &format!("\"attempt\":1,\"artifacts\":[{artifact}]"));
        assert!(refused.contains("impossible `artifacts`"), "{name}: {refused}");
    }
    // Steps are those of transcripts, which a provider cannot judge.
    let refused = refuse("\"kind\":\"json\"", "\"name\":\"a\",\"step\":1");
    assert!(refused.contains("impossible `checks`"), "{refused}");
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
    let check = format!("\"checks\":[{{\"name\":\"a\",\"verdict\":\"pass\",\"PART\":{deep}}}]");
    let error = format!("\"error\":{{\"code\":\"a\",\"message\":\"a\",\"details\":[{deep}]}}");
    let in_checks =
        ["score", "expected", "actual", "details"].map(|part| check.replace("PART", part));
    for part in in_checks.into_iter().chain([error, format!("\"output\":[[{deep}]]")]) {
        let refused = refuse("\"attempt\":1", &format!("\"attempt\":1,{part}"));
        assert!(refused.contains("a row of 104 levels"), "{refused}");
    }
    let long = format!("\"{}\"", "x".repeat(super::MAX_ROW));
    let refused = refuse("{\"value\":26.097590073968025}", &long);
    assert!(refused.contains("bytes, more than"), "{refused}");
}

#[test]
fn names_of_files_are_one_segment() {
    for good in ["a", "output.json", "ä b", ".hidden"] {
        assert!(is_file_name(good), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "/", "a\nb", "a\0b", "a\u{1b}b", &"x".repeat(201)] {
        assert!(!is_file_name(bad), "{bad:?}");
    }
}

#[test]
fn brackets_in_texts_are_not_deep() {
    assert!(!is_deep(&format!("\"{}\\\"{}\"", "[".repeat(200), "{".repeat(200))));
    assert!(!is_deep(&"[],".repeat(500)));
    assert!(is_deep(&"[".repeat(101)));
}
