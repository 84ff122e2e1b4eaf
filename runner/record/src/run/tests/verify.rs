//! Verification finds damage on disk.

use std::fs;

use runner_model::{Outcome, Places, TrialId, digest, row::Artifact};

use super::Verified;
use crate::{
    End, ResultsRoot, RunDir,
    disk::fault::now,
    tests::{Plan, folder, new_run, row, tail, writer},
};

/// Creates a completed run of three trials whose second row has an artifact and a log.
fn run() -> (tempfile::TempDir, RunDir) {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    root.keep_bytes(b"suite").unwrap();
    let owned = root.create(new_run(3)).unwrap();
    let (mut writer, _acks) = writer(&owned);
    for repeat in 1..=3 {
        let (mut bytes, mut log, mut files) = (row(repeat, 1, Outcome::Passed), None, Vec::new());
        if repeat == 2 {
            let artifact = Artifact {
                name: "a.txt".into(),
                media_type: "text/plain".into(),
                sha256: digest(b"kept"),
                bytes: 4,
            };
            let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            value["artifacts"] = serde_json::json!([artifact]);
            bytes = serde_json::to_vec(&value).unwrap();
            let trial = TrialId::parse("t@p#2").unwrap();
            log = Some(runner_model::log::line(br#"{"stdout":"said"}"#, &trial, 1, 1).unwrap());
            let mut draft = owned.artifact_draft().unwrap();
            std::io::Write::write_all(&mut draft, b"kept").unwrap();
            files.push((digest(b"kept"), draft));
        }
        writer.row(bytes, tail(true), log, files);
    }
    writer.close().unwrap();
    let run = owned.dir().clone();
    let fold = crate::tests::fold(&owned, 3);
    let end = End { at: now(), ..End::default() };
    owned.finish(end, &fold).unwrap();
    (folder, run)
}

fn faults(found: &Verified) -> Vec<String> {
    let faults = found.faults.iter();
    let line = |line: Option<u64>| line.map_or_else(String::new, |line| format!(":{line}"));
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    faults
        .map(|fault| format!("{}{}: {}", name(&fault.path), line(fault.line), fault.problem))
        .collect()
}

#[test]
fn every_damaged_file_is_named() {
    struct OtherPlan;
    impl Places for OtherPlan {
        fn index(&self, trial: &TrialId) -> Option<u64> {
            (trial.repeat < 3).then_some(0)
        }
        fn trials(&self) -> u64 {
            3
        }
    }
    let (_folder, run) = run();
    let found = run.verify(Some(&Plan(3))).unwrap();
    assert_eq!(faults(&found), [""; 0]);
    assert_eq!((found.rows, found.artifacts, found.contents), (3, 1, 1));
    let found = run.verify(Some(&OtherPlan)).unwrap();
    assert_eq!(
        faults(&found),
        ["index.jsonl:3: the run has no trial t@p#3: the row is of another run"]
    );

    let kept = digest(b"kept");
    let artifact = format!("artifacts/{}", kept.path());
    let suite = format!("../store/{}", digest(b"suite").path());
    let change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = run.path().join(name);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let found = run.verify(Some(&Plan(3))).unwrap();
        fs::write(&path, before).unwrap();
        found
    };
    let flip: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[2] ^= 1;
    let line = |number: usize| {
        move |bytes: &[u8]| {
            bytes.split_inclusive(|byte| *byte == b'\n').nth(number).unwrap().to_vec()
        }
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Change<'_>, &[&str]); 8] = [
        (
            "index.jsonl",
            flip,
            &[
                "index.jsonl:1: the checksum does not match",
                "benchmark.json: it counts 3",
                "benchmark.json: 1 trial has no result",
            ],
        ),
        (
            "index.jsonl",
            &|bytes| drop(bytes.drain(..line(0)(bytes).len())),
            &["index.jsonl:1: it is row 2, and row 1", "benchmark.json", "benchmark.json"],
        ),
        (
            "index.jsonl",
            &|bytes| bytes.extend(&bytes.clone()[..40]),
            &["index.jsonl:4: the end of the line is missing"],
        ),
        ("logs.jsonl", flip, &["index.jsonl:2: its attempt's output is lost"]),
        ("scenario.toml", flip, &["scenario.toml: its bytes"]),
        (&artifact, flip, &["index.jsonl:2: its artifact `a.txt` is lost"]),
        (&suite, flip, &[&format!("{}: its bytes", digest(b"suite"))]),
        (
            "benchmark.json",
            &|bytes| {
                *bytes = String::from_utf8_lossy(bytes)
                    .replace("\"passed\": 3", "\"passed\": 2")
                    .into_bytes();
            },
            &["benchmark.json: it counts 2"],
        ),
    ];
    for (name, damage, expected) in cases {
        let found = faults(&change(name, damage));
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{name}: {found}");
        }
    }
    let orders: [(Change<'_>, &str); 3] = [
        (&|bytes| bytes.extend(line(0)(bytes)), "it repeats row 1"),
        (&|bytes| bytes.extend(line(2)(bytes)), "it repeats row 3"),
        (
            &|bytes| {
                let first = line(0)(bytes).len();
                bytes.rotate_left(first);
            },
            "it is not in the place",
        ),
    ];
    for (damage, expected) in orders {
        let found = change("index.jsonl", damage);
        assert_eq!(faults(&found), [""; 0]);
        let problems: Vec<_> = found.harmless.iter().map(|fault| &fault.problem).collect();
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}

#[test]
fn missing_contents_are_named_in_order() {
    let (folder, run) = run();
    let missing: Vec<_> = (0..8).map(|byte: u8| digest(&[byte])).collect();
    let list: String = missing.iter().map(|one| format!("{one}\n")).collect();
    let root = ResultsRoot::open(folder.path()).unwrap();
    let blobs = root.keep_bytes(list.as_bytes()).unwrap();
    let path = run.path().join("benchmark.json");
    let manifest = fs::read(&path).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["metadata"]["blobs"] = serde_json::json!(blobs);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let found = run.verify(Some(&Plan(3))).unwrap();
    let paths: Vec<_> = found.faults.into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths.len(), missing.len());
    assert!(paths.is_sorted(), "{paths:?}");
}
