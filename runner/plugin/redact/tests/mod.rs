//! Whether secrets are found in all their forms, and nothing else is.

mod properties;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use aho_corasick::AhoCorasickKind;
use base64::{Engine as _, engine::general_purpose};
use serde_json::{Value, json};

use super::{artifacts::MAX_NAME_BYTES, fuzzing::forms, redactor::Redactor, stream::Stream};
use crate::{
    model::{
        Artifact, AttemptError, Check, CheckVerdict, Content, Denied, Grant, LogRecord, Metric,
        Usage,
    },
    plugin::{
        call::ended::{Ended, Ending, Reply},
        listener::{Heard, Listener},
        secrets::Secrets,
    },
};

const SECRET: &str = "s3cr3t/with \"quotes\"+ä";
/// A folder for what needs none.
const NOWHERE: &str = "no such folder";

fn redactor(values: &[(&str, &str)]) -> Redactor {
    let values = values.iter();
    let values = values.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Redactor::new(&values.collect()).unwrap()
}

fn redacted(redactor: &Redactor, text: &str) -> String {
    let mut text = text.to_owned();
    redactor.text(&mut text);
    text
}

fn content(artifact: &Artifact) -> Vec<u8> {
    let mut bytes = Vec::new();
    artifact.content.write_to(&mut bytes).unwrap();
    bytes
}

fn cut(redactor: &Redactor, text: &str) -> String {
    let mut text = text.to_owned();
    redactor.cut_text(&mut text);
    text
}

#[test]
fn every_form_of_a_secret_is_replaced_by_its_name() {
    let redactor = redactor(&[("KEY", SECRET)]);
    for form in forms(SECRET) {
        assert_eq!(
            redacted(&redactor, &format!("a {form} b")),
            "a [secret KEY] b",
            "{form}"
        );
    }
    assert_eq!(redacted(&redactor, "nothing in here"), "nothing in here");
}

#[test]
fn what_a_url_or_a_header_makes_of_a_secret_is_found() {
    for (secret, text) in [
        ("S3cretValue", "http://s3cretvalue.example.com:81"),
        ("S3cretValue", "x-S3CRETVALUE"),
        ("s%65cret-%41bc", "http://secret-abc/"),
        ("B\u{fc}cherSecret", "http://xn--bchersecret-thb.example/"),
        ("0x7f.0.0.0x1", "http://127.0.0.1/"),
        ("tab\tand\u{7f}del", r"tab\tand\u{7f}del"),
        ("line\u{85}break", r"line\u{85}break"),
    ] {
        let redactor = redactor(&[("KEY", secret)]);
        let told = redacted(&redactor, text);
        assert!(told.contains("[secret KEY]"), "{secret:?} in {told:?}");
    }
}

#[test]
fn numbers_that_are_secrets_are_left_out() {
    let redactor = redactor(&[("KEY", "12345678")]);
    let mut reply = Reply {
        output: json!(12_345_678),
        verdict: None,
        summary: None,
        checks: Vec::new(),
        exit_code: None,
        score: Some(12_345_678.0),
        metrics: vec![
            Metric {
                name: "secret".into(),
                value: 12_345_678.5,
                unit: None,
            },
            Metric {
                name: "other".into(),
                value: 1234.0,
                unit: None,
            },
        ],
    };
    redactor.reply(&mut reply);
    assert_eq!(reply.score, None);
    assert_eq!(reply.metrics.len(), 1);
    assert_eq!(reply.output, json!("[secret KEY]"));
}

#[test]
fn a_secret_inside_of_a_longer_base64_text_is_found_wherever_it_begins() {
    let redactor = redactor(&[("KEY", "correct horse")]);
    for before in ["", "u", "us", "use", "user:"] {
        for after in ["", "x", "xy", "xyz"] {
            let text = general_purpose::STANDARD.encode(format!("{before}correct horse{after}"));
            let text = redacted(&redactor, &text);
            assert!(text.contains("[secret KEY]"), "{text}");
            // At most the character at each end in which other bits are, too, and what stands around it.
            assert!(text.len() < "[secret KEY]".len() + 16, "{text}");
        }
    }
}

#[test]
fn a_part_of_a_secret_at_a_seam_is_replaced_too() {
    let redactor = redactor(&[("KEY", "0123456789abcdef")]);
    for (text, expected) in [
        (
            "log 0123456789\n[70 bytes dropped]\n6789abcdef log",
            "log [secret KEY]\n[70 bytes dropped]\n[secret KEY] log",
        ),
        (
            "it begins with \"0123456789a…\"",
            "it begins with \"[secret KEY]…\"",
        ),
        ("log 01234567", "log [secret KEY]"),
        ("89abcdef log", "[secret KEY] log"),
        ("23456789abcdef", "[secret KEY]"),
        // A few bytes are no use to anybody, and may be anything else.
        ("log 0123456", "log 0123456"),
        ("inside 01234567 of it", "inside 01234567 of it"),
    ] {
        assert_eq!(cut(&redactor, text), expected);
    }
}

#[test]
fn a_part_of_a_secret_that_looks_cut_itself_is_replaced_too() {
    let redactor = redactor(&[("KEY", "ab...cd…efghijk...mn")]);
    for (text, expected) in [
        (
            "log ab...cd…ef\n[9 bytes dropped]\nlog",
            "log [secret KEY]\n[9 bytes dropped]\nlog",
        ),
        (
            "log\n[9 bytes dropped]\nijk...mn log",
            "log\n[9 bytes dropped]\n[secret KEY] log",
        ),
        ("ijk...mn ab...cd…e", "[secret KEY] [secret KEY]"),
        (
            "...ab...cd…efg...ab...cd…efg...",
            "...[secret KEY]...[secret KEY]...",
        ),
        ("ab...c", "ab...c"),
    ] {
        assert_eq!(cut(&redactor, text), expected);
    }
}

#[test]
fn a_text_that_a_guest_has_cut_is_cut() {
    let redactor = redactor(&[("KEY", "0123456789abcdef")]);
    for (text, expected) in [
        ("key 0123456789...", "key [secret KEY]..."),
        ("...6789abcdef is it", "...[secret KEY] is it"),
        ("0123456789....89abcdef", "[secret KEY]....[secret KEY]"),
        ("0123456789..", "0123456789.."),
    ] {
        assert_eq!(redacted(&redactor, text), expected);
    }
}

#[test]
fn a_text_of_a_million_parts_and_a_long_secret_are_no_matter() {
    let secret: String = (0..5_000).map(|number| format!("{number:04};")).collect();
    let redactor = redactor(&[("LONG", &secret)]);
    // Every length of every form for every part would take days.
    let text = "…nothing in here".repeat(100_000);
    assert_eq!(cut(&redactor, &text), text);
    let text = "…0000;0001;".repeat(100_000);
    assert_eq!(cut(&redactor, &text), "…[secret LONG]".repeat(100_000));
}

/// Each form of it has thousands of places where it could begin, and a text of it as many.
#[test]
fn a_long_secret_that_repeats_itself_is_no_matter() {
    let secret = "ab".repeat(2_000);
    let long = redactor(&[("LONG", &secret)]);
    // A table of its transitions would take seconds to make.
    assert_eq!(long.finder.kind(), AhoCorasickKind::ContiguousNFA);
    assert_eq!(
        redactor(&[("KEY", SECRET)]).finder.kind(),
        AhoCorasickKind::DFA
    );
    assert_eq!(redacted(&long, &format!("<{secret}>")), "<[secret LONG]>");

    // All of it but the first bytes, between marks of where a text was cut.
    let almost = format!("-{}-", &secret[2..]);
    assert_eq!(cut(&long, &almost), almost);
    let text = format!("{almost}…").repeat(50);
    assert_eq!(redacted(&long, &text), text);
    let mut stream = Stream::new(Arc::new(long));
    let mut told = Vec::new();
    for piece in text.as_bytes().chunks(4_096) {
        told.extend(stream.push(piece));
    }
    told.extend(stream.end());
    assert!(told == text.as_bytes());
}

#[test]
fn many_names_that_become_one_stay_different() {
    const KEYS: usize = 100_000;
    // Forms of a secret that are told apart by what is left of them alone.
    let redactor = redactor(&[("KEY", "abcdefgh")]);
    let forms = [
        "abcdefgh",
        "6162636465666768",
        "YWJjZGVmZ2g=",
        "YWJjZGVmZ2g",
    ];
    let key = |number: usize| {
        let form = |place: u32| forms[number / 4_usize.pow(place) % 4];
        let key: Vec<_> = (0..9).map(form).collect();
        key.join("-")
    };
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    let mut value: Value = keys.iter().map(|key| (key.clone(), json!(0))).collect();
    value["[secret KEY]"] = json!("kept");
    redactor.value(&mut value);
    let map = value.as_object().unwrap();
    assert_eq!(map.len(), KEYS + 1);
    assert_eq!(map["[secret KEY]"], "kept");
    let longest = map.keys().map(String::len).max().unwrap();
    assert!(longest < 9 * "[secret KEY]-".len() + 10, "{longest}");

    let artifact = |name: &String| Artifact {
        name: name.clone(),
        media_type: String::new(),
        content: Arc::new(Vec::new()),
    };
    let mut artifacts: Vec<_> = keys.iter().map(artifact).collect();
    redactor
        .artifacts(&mut artifacts, Path::new(NOWHERE))
        .unwrap();
    let names: BTreeSet<_> = artifacts.iter().map(|artifact| &artifact.name).collect();
    assert_eq!(names.len(), KEYS);
    assert!(names.iter().all(|name| name.len() <= MAX_NAME_BYTES));
}

#[test]
fn artifacts_do_not_grow() {
    let redactor = redactor(&[("A_LONG_NAME", "abcd"), ("KEY", "0123456789abcdef")]);
    let mut artifacts = [Artifact {
        name: "a.txt".to_owned(),
        media_type: String::new(),
        content: Arc::new(b"abcd 0123456789abcdef abcdabcd".to_vec()),
    }];
    redactor
        .artifacts(&mut artifacts, Path::new(NOWHERE))
        .unwrap();
    assert_eq!(content(&artifacts[0]), b"*** [secret KEY] ******");
}

#[test]
fn artifacts_of_which_one_has_a_secret_are_all_written_anew() {
    let redactor = redactor(&[("KEY", "0123456789abcdef")]);
    let clean: Arc<dyn Content> = Arc::new(b"nothing".to_vec());
    let told: Arc<dyn Content> = Arc::new(b"0123456789abcdef".to_vec());
    let artifact = |name: &str, content: &Arc<dyn Content>| Artifact {
        name: name.to_owned(),
        media_type: String::new(),
        content: Arc::clone(content),
    };
    let mut artifacts = [artifact("a", &clean), artifact("b", &clean)];
    redactor
        .artifacts(&mut artifacts, Path::new(NOWHERE))
        .unwrap();
    assert!(Arc::ptr_eq(&artifacts[1].content, &clean));
    let mut artifacts = [artifact("a", &clean), artifact("b", &told)];
    redactor
        .artifacts(&mut artifacts, Path::new(NOWHERE))
        .unwrap();
    // They may have been in the same file.
    assert!(!Arc::ptr_eq(&artifacts[0].content, &clean));
    assert_eq!(
        artifacts.map(|artifact| content(&artifact)),
        [b"nothing".to_vec(), b"[secret KEY]".to_vec()]
    );
}

#[test]
fn an_artifact_that_cannot_be_redacted_is_lost_and_its_attempt_an_error() {
    let redactor = redactor(&[("KEY", "0123456789abcdef")]);
    let reply = Reply {
        output: json!(1),
        verdict: Some(CheckVerdict::Pass),
        score: None,
        summary: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        exit_code: None,
    };
    let mut ended = Ended::without_sandbox(Ending::Reply(reply));
    ended.artifacts = vec![Artifact {
        name: "a".to_owned(),
        media_type: String::new(),
        content: Arc::new(b"0123456789abcdef".repeat(100_000)),
    }];
    redactor.ended(&mut ended, Path::new(NOWHERE));
    assert!(ended.artifacts.is_empty());
    let Ending::Error(error) = ended.ending else {
        panic!("it was not an error");
    };
    assert_eq!(error.code, "artifacts");
    assert_eq!(Some(error), ended.lost);
}

#[test]
fn a_text_that_is_whole_may_end_like_a_secret_begins() {
    let redactor = redactor(&[("KEY", "postgres://me:1@host")]);
    for (text, expected) in [
        ("use postgres", "use postgres"),
        ("bad name `postgres://me…`", "bad name `[secret KEY]…`"),
    ] {
        assert_eq!(redacted(&redactor, text), expected);
    }
}

#[test]
fn lines_of_a_secret_are_secrets() {
    let redactor = redactor(&[("PEM", "-----BEGIN-----\nMIIBVgIBADANBg\nkqhkiG9w\n--\n")]);
    assert_eq!(
        redacted(&redactor, "first MIIBVgIBADANBg\nthen kqhkiG9w\n--\n"),
        "first [secret PEM]\nthen [secret PEM]\n--\n"
    );
}

#[test]
fn the_longest_of_several_secrets_is_named() {
    let redactor = redactor(&[("A", "token"), ("B", "token-of-mine")]);
    assert_eq!(
        redacted(&redactor, "token-of-mine, token-of-yours"),
        "[secret B], [secret A]-of-yours"
    );
}

#[test]
fn what_stands_for_a_secret_does_not_tell_it() {
    assert_eq!(
        redacted(&redactor(&[("KEY", "[secret KEY")]), "x[secret KEY]"),
        "x[secret]]"
    );
    assert_eq!(
        redacted(&redactor(&[("KEY", "secret")]), "a secret"),
        "a ***"
    );
}

#[test]
fn values_that_are_too_short_are_left_alone() {
    let values = BTreeMap::from([("PIN".to_owned(), "123".to_owned())]);
    assert!(Redactor::new(&values).is_none());
    assert!(Redactor::new(&BTreeMap::new()).is_none());
}

#[test]
fn the_longest_secret_is_looked_for() {
    let mut value: String = (0..9_000).map(|number| format!("{number:06}/")).collect();
    value.truncate(Secrets::MAX_BYTES);
    let redactor = redactor(&[("LONG", &value)]);
    assert_eq!(
        redacted(&redactor, &format!("<{value}>")),
        "<[secret LONG]>"
    );
}

#[test]
fn everything_that_an_attempt_leaves_is_redacted() {
    let text = || format!("<{SECRET}>");
    let check = Check {
        name: text().into(),
        verdict: CheckVerdict::Fail,
        score: None,
        message: Some(text()),
        expected: Some(json!(text())),
        actual: Some(json!([text()])),
        diff: Some(text()),
        details: Some(json!({text(): {"deep": [text()]}})),
    };
    let mut ended = Ended {
        ending: Ending::Reply(Reply {
            output: json!({text(): [text()], "number": 1}),
            verdict: None,
            score: None,
            summary: Some(text()),
            checks: vec![check],
            metrics: vec![Metric {
                name: text(),
                value: 1.0,
                unit: Some(text()),
            }],
            exit_code: None,
        }),
        duration: Duration::ZERO,
        instantiate: Duration::ZERO,
        usage: Usage::default(),
        denied: vec![Denied {
            what: text(),
            grant: Some(Grant::Secret(text())),
        }],
        log: vec![LogRecord {
            at: None,
            level: "info",
            message: text(),
            fields: vec![(text(), text())],
        }],
        log_dropped: 0,
        hint: Some(text()),
        stderr: text(),
        stdout: text(),
        artifacts: vec![Artifact {
            name: "a".to_owned(),
            media_type: text(),
            content: Arc::new([&[0xff, 0][..], SECRET.as_bytes(), &[0xfe]].concat()),
        }],
        lost: None,
        lacked: None,
    };
    let redactor = redactor(&[("KEY", SECRET)]);
    redactor.ended(&mut ended, Path::new(NOWHERE));

    let shown = format!("{ended:?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert_eq!(content(&ended.artifacts[0]), b"\xff\0[secret KEY]\xfe");
    let Ending::Reply(reply) = ended.ending else {
        panic!("it was a reply");
    };
    assert_eq!(
        reply.output,
        json!({"<[secret KEY]>": ["<[secret KEY]>"], "number": 1})
    );

    let mut error = Ended::without_sandbox(AttemptError {
        class: None,
        code: text(),
        message: text(),
        retry_after: None,
        fault: None,
    });
    redactor.ended(&mut error, Path::new(NOWHERE));
    assert!(!format!("{error:?}").contains("s3cr3t"));
}

#[test]
fn numbers_and_the_names_of_artifacts_are_redacted_and_stay_usable() {
    let redactor = redactor(&[("PIN", "12345678")]);
    let mut value = json!([12_345_678, 1.5]);
    redactor.value(&mut value);
    assert_eq!(value, json!(["[secret PIN]", 1.5]));

    let artifact = |name: &str| Artifact {
        name: name.to_owned(),
        media_type: String::new(),
        content: Arc::new(Vec::new()),
    };
    let hex = "3132333435363738.txt";
    let mut artifacts = [
        artifact("12345678.txt"),
        artifact(hex),
        artifact("plain.txt"),
    ];
    redactor
        .artifacts(&mut artifacts, Path::new(NOWHERE))
        .unwrap();
    assert_eq!(
        artifacts.map(|artifact| artifact.name),
        ["_secret_PIN_.txt", "_secret_PIN_.txt-2", "plain.txt"]
    );
}

#[test]
fn nothing_secret_is_heard_while_a_guest_runs() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let listener = Listener::new(move |heard| ear.lock().unwrap().push(format!("{heard:?}")));
    let listener = Arc::new(redactor(&[("KEY", SECRET)])).listener(listener);

    listener.hear(Heard::Log(&LogRecord {
        at: None,
        level: "info",
        message: format!("m {SECRET}"),
        fields: vec![("key".to_owned(), SECRET.to_owned())],
    }));
    listener.hear(Heard::Stdout(&format!("o {SECRET}")));
    listener.hear(Heard::Stderr(&format!("e {SECRET}")));
    listener.hear(Heard::Progress {
        fraction: None,
        message: SECRET,
    });
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 4);
    for heard in heard.iter() {
        assert!(heard.contains("[secret KEY]"), "{heard}");
        assert!(!heard.contains("s3cr3t"), "{heard}");
    }
}
