//! Commits, their failures, and files that other programs change.

use std::{
    fs,
    io::Write as _,
    sync::mpsc::{Receiver, channel},
};

use runner_model::{Outcome, TrialId, row::read_line};

use crate::{
    Ack, Owned, RecordError, Writer,
    tests::{begin, folder, inject, row, tail, writer},
};

fn add(writer: &mut Writer, repeat: u32) -> u64 {
    writer.row(row(repeat, 1, Outcome::Passed), tail(true), None, vec![])
}

/// Waits until `rows` rows are on disk, and returns their lines.
fn written(acks: &Receiver<Ack>, rows: u64) -> Vec<u8> {
    let (mut all, mut count) = (Vec::new(), 0);
    while count < rows {
        match acks.recv().unwrap() {
            Ack::Written { lines, .. } => {
                count += lines.split_inclusive(|byte| *byte == b'\n').count() as u64;
                all.extend_from_slice(&lines);
            }
            Ack::Failed(error) => panic!("{error}"),
        }
    }
    all
}

fn failed(acks: &Receiver<Ack>) -> std::sync::Arc<RecordError> {
    loop {
        if let Ack::Failed(error) = acks.recv().unwrap() {
            return error;
        }
    }
}

fn rows(owned: &Owned) -> Vec<u8> {
    fs::read(owned.dir().path().join("index.jsonl")).unwrap()
}

#[test]
fn acknowledged_rows_are_on_disk_in_order() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 5000);
    let (mut writer, acks) = writer(&owned);
    writer.expect_more(true);
    for repeat in 1..=5000 {
        assert_eq!(add(&mut writer, repeat), u64::from(repeat));
    }
    writer.expect_more(false);
    let lines = written(&acks, 5000);
    assert_eq!(writer.pending(), (0, 0));
    assert!(rows(&owned) == lines);
    let seqs = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let seqs: Vec<_> = seqs.map(|line| read_line(line).unwrap().seq.unwrap()).collect();
    assert_eq!(seqs, (1..=5000).collect::<Vec<_>>());
    writer.close().unwrap();
}

#[test]
fn rows_name_the_places_of_their_logs() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 3);
    let (mut writer, acks) = writer(&owned);
    let said = |repeat: u32, text: &str| {
        let said = format!("{{\"stdout\":\"{text}\"}}");
        let trial = TrialId::parse(&format!("t@p#{repeat}")).unwrap();
        runner_model::log::line(said.as_bytes(), &trial, 1, 1).unwrap()
    };
    for (repeat, text) in [(1, Some("one")), (2, None), (3, Some("three"))] {
        writer.row(
            row(repeat, 1, Outcome::Passed),
            tail(true),
            text.map(|text| said(repeat, text)),
            vec![],
        );
    }
    let lines = written(&acks, 3);
    writer.close().unwrap();
    let lines: Vec<_> = lines.split(|byte| *byte == b'\n').collect();
    let text = |line: &[u8]| owned.dir().log(&read_line(line).unwrap());
    assert!(text(lines[0]).unwrap().unwrap().contains("one"));
    assert_eq!(text(lines[1]).unwrap(), None);
    assert!(text(lines[2]).unwrap().unwrap().contains("three"));
    // The line of another attempt is refused.
    let mut other = read_line(lines[0]).unwrap();
    other.attempt = 2;
    assert!(owned.dir().log(&other).is_err());
    let path = owned.dir().path().join("logs.jsonl");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("three", "seven")).unwrap();
    assert!(matches!(text(lines[2]), Err(RecordError::Foreign { .. })));
    fs::write(&path, "").unwrap();
    assert!(matches!(text(lines[0]), Err(RecordError::Foreign { .. })));
}

#[test]
fn failed_write_leaves_only_acknowledged_rows() {
    for fault in [
        "rows-write:full",
        "rows-write:partial",
        "rows-sync:error",
        "logs-write:partial",
        "store-keep:full",
    ] {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 9);
        {
            let (mut writer, acks) = writer(&owned);
            add(&mut writer, 1);
            written(&acks, 1);
            writer.close().unwrap();
        }
        let before = rows(&owned);
        inject(fault);
        let (mut writer, acks) = writer(&owned);
        inject("");
        let mut draft = owned.artifact_draft().unwrap();
        draft.write_all(b"artifact").unwrap();
        let artifact = (runner_model::digest(b"artifact"), draft);
        writer.row(row(2, 1, Outcome::Passed), tail(true), Some(b"{}\n".to_vec()), vec![artifact]);
        let error = failed(&acks).to_string();
        let says = if fault.ends_with("error") { "RUNNER_FAULT" } else { "space" };
        assert!(error.contains(says), "{fault}: {error}");
        // The writer writes nothing more.
        add(&mut writer, 3);
        assert_eq!(writer.close().unwrap_err().to_string(), error);
        assert!(acks.try_recv().is_err());
        assert_eq!(rows(&owned), before, "{fault}");
        assert_eq!(fs::read(owned.dir().path().join("logs.jsonl")).unwrap(), b"", "{fault}");
    }
}

#[test]
fn rows_changed_by_others_stop_the_writer() {
    let change = |name: &'static str, change: fn(&std::path::Path)| (name, change);
    for (name, change) in [
        change("index.jsonl", |path| fs::write(path, "").unwrap()),
        change("index.jsonl", |path| {
            let mut rows = fs::File::options().append(true).open(path).unwrap();
            rows.write_all(b"garbage without an end").unwrap();
        }),
        change("index.jsonl", |path| fs::remove_file(path).unwrap()),
        change("index.jsonl", |path| {
            fs::copy(path, path.with_extension("copy")).unwrap();
            fs::rename(path.with_extension("copy"), path).unwrap();
        }),
        change("logs.jsonl", |path| fs::remove_file(path).unwrap()),
        change("lock", |path| fs::remove_file(path).unwrap()),
        // Another owner has the run and has written a row.
        change("index.jsonl", |path| {
            fs::remove_file(path.with_file_name("lock")).unwrap();
            let mut rows = fs::File::options().append(true).open(path).unwrap();
            rows.write_all(b"{}\n").unwrap();
        }),
        change("", |path| {
            fs::rename(path, path.with_extension("moved")).unwrap();
        }),
    ] {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 9);
        let (mut writer, acks) = writer(&owned);
        add(&mut writer, 1);
        written(&acks, 1);
        let path = owned.dir().path().join(name);
        change(&path);
        let after = fs::read(&path).unwrap_or_default();
        add(&mut writer, 2);
        let error = failed(&acks);
        assert!(
            matches!(&*error, RecordError::Foreign { .. } | RecordError::Io { .. }),
            "{name}: {error}"
        );
        writer.close().unwrap_err();
        assert_eq!(fs::read(&path).unwrap_or_default(), after);
    }
}

#[test]
fn a_panic_is_an_acknowledgement_with_an_error() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let (sender, acks) = channel();
    let acknowledge = move |ack| match ack {
        Ack::Written { .. } => panic!("expected by this test"),
        Ack::Failed(_) => sender.send(ack).unwrap(),
    };
    let mut writer = owned.writer(Box::new(acknowledge)).unwrap();
    add(&mut writer, 1);
    assert!(failed(&acks).to_string().contains("panicked"));
    writer.close().unwrap_err();
}

#[test]
fn panic_while_writing_leaves_acknowledged_rows() {
    for fault in ["rows-write:panic", "rows-sync:panic"] {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 9);
        inject(fault);
        let (mut writer, acks) = writer(&owned);
        inject("");
        add(&mut writer, 1);
        assert!(failed(&acks).to_string().contains("panicked"), "{fault}");
        writer.close().unwrap_err();
        assert_eq!(rows(&owned), b"", "{fault}");
    }
}
