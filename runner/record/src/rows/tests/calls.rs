//! Calls on disk: their acknowledgement, damage, and the end of the file after a death.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use proptest::prelude::*;
use runner_model::{
    Fingerprint, Micros, Outcome, TrialId, digest,
    protocol::{Entry, call_line},
    row::Calls,
};

use super::Journals;
use crate::{
    Ack, Owned,
    tests::{begin, folder, inject, row, tail, writer},
};

/// Returns the start of a guest.
pub(crate) fn start(continues: bool) -> String {
    let continues = if continues { ",\"continues\":true" } else { "" };
    format!(
        "{{\"start\":{{\"clock\":\"2026-11-20T09:18:04.015Z\",\"timeout_us\":9,\"compile_key\":\"0123456789abcdef\"{continues}}}}}"
    )
}

/// Returns an exchange that ended this many microseconds after the start of the attempt.
pub(crate) fn exchange(number: u32, used_us: u64) -> String {
    format!(
        "{{\"exchange\":{{\"number\":{number},\"at_ns\":1,\"took_us\":1,\"used_us\":{used_us},\"request\":{{\"method\":\"GET\",\"url\":\"http://x/\"}},\"response\":{{\"status\":200}}}}}}"
    )
}

pub(crate) fn line(repeat: u32, attempt: u32, entry: &str) -> Vec<u8> {
    Entry::read(entry.as_bytes()).unwrap();
    let trial = TrialId::parse(&format!("t@p#{repeat}")).unwrap();
    call_line(entry.as_bytes(), &trial, attempt, 1, 1, Fingerprint([1; 16]))
}

fn path(owned: &Owned) -> PathBuf {
    owned.dir().path().join("calls.jsonl")
}

/// Reads the journals, and the lines with problems.
fn read(owned: &Owned) -> (Journals, Vec<(u64, String)>) {
    let mut damaged = Vec::new();
    let number = |call: &runner_model::protocol::CallLine<'_>| match call.session {
        1 => Ok(Some(u64::from(call.trial.repeat))),
        other => Err(format!("is of session {other}")),
    };
    let journals =
        Journals::read(owned.dir(), &number, &mut |line, why| damaged.push((line, why.into())));
    (journals.unwrap(), damaged)
}

/// Returns the lines of a trial that has continued, with those of another trial between them.
fn lines() -> Vec<Vec<u8>> {
    vec![
        line(1, 1, &start(false)),
        line(1, 1, &exchange(2, 20)),
        line(2, 1, &start(false)),
        line(2, 1, &exchange(1, 5)),
        line(1, 1, &exchange(1, 10)),
        line(1, 1, &start(true)),
        line(1, 1, &exchange(3, 30)),
    ]
}

#[test]
fn calls_are_on_disk_before_rows_and_acknowledgements() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    assert!(!path(&owned).exists());
    fs::set_permissions(owned.dir().path(), fs::Permissions::from_mode(0o770)).unwrap();
    let (mut writer, acks) = writer(&owned);
    writer.expect_more(true);
    let mut offsets = Vec::new();
    for line in &lines()[..2] {
        offsets.push(writer.calls_length());
        writer.call(line);
        // No company is waited for.
        let Ack::Written { lines, calls: 1, .. } = acks.recv().unwrap() else { panic!("no call") };
        assert!(lines.is_empty());
    }
    assert_eq!(offsets, [0, lines()[0].len() as u64]);
    writer.call(&lines()[2]);
    writer.row(row(1, 1, Outcome::Passed), tail(true), None, vec![]);
    writer.wait();
    assert_eq!(writer.pending(), (0, 0));
    assert!(fs::read(path(&owned)).unwrap() == lines()[..3].concat());
    writer.close().unwrap();
    let mode = fs::metadata(owned.dir().path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn failed_write_leaves_only_acknowledged_calls() {
    for fault in ["calls-write:full", "calls-write:partial", "rows-write:full"] {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 9);
        {
            let (mut writer, _acks) = writer(&owned);
            writer.call(&lines()[0]);
            writer.close().unwrap();
        }
        inject(fault);
        let (mut writer, acks) = writer(&owned);
        inject("");
        writer.row(row(2, 1, Outcome::Passed), tail(true), None, vec![]);
        writer.call(&lines()[1]);
        writer.wait();
        assert!(acks.iter().any(|ack| matches!(ack, Ack::Failed(_))));
        writer.close().unwrap_err();
        assert!(fs::read(path(&owned)).unwrap().len() <= lines()[..2].concat().len());
        assert_eq!(read(&owned).1, [], "{fault}");
    }
}

#[test]
fn journals_have_the_calls_since_the_last_new_start() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    fs::write(path(&owned), lines().concat()).unwrap();
    let (journals, damaged) = read(&owned);
    assert_eq!(damaged, []);
    let journal = journals.get((1, 1)).unwrap();
    assert_eq!((journal.continued, journal.used, &journal.problem), (1, Micros(30), &None));
    let entries = [exchange(2, 20), exchange(1, 10), exchange(3, 30)].concat();
    let sha256 = digest(entries.as_bytes());
    assert_eq!(journal.calls(), Some(Calls { count: 3, sha256 }));
    let own: Vec<_> =
        [0, 1, 4, 5, 6].into_iter().flat_map(|place| lines()[place].clone()).collect();
    assert!(owned.dir().call_lines(journal).unwrap() == own);
    // A new start makes the calls void.
    fs::write(path(&owned), [lines().concat(), line(1, 1, &start(false))].concat()).unwrap();
    let (journals, _) = read(&owned);
    assert_eq!(journals.get((1, 1)).unwrap().calls(), None);
    assert_eq!(journals.get((2, 1)).unwrap().calls().unwrap().count, 1);
}

#[test]
fn damaged_calls_continue_nothing() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = lines();
        change(&mut lines);
        fs::write(path(&owned), lines.concat()).unwrap();
        let (journals, damaged) = read(&owned);
        let problems = [1, 2].map(|trial| {
            journals.get((trial, 1)).and_then(|one| one.problem.clone()).unwrap_or_default()
        });
        (problems, damaged.len())
    };
    let all = |problem: &str| ([problem.to_owned(), problem.to_owned()], 1);
    assert_eq!(changed(&|lines| lines[4][30] ^= 1), all("line 5 of calls.jsonl is damaged"));
    assert_eq!(
        changed(&|lines| assert!(lines[6].pop().is_some())),
        all("line 7 of calls.jsonl is not whole")
    );
    let foreign = |lines: &mut Vec<Vec<u8>>| {
        let trial = TrialId::parse("t@p#1").unwrap();
        let entry = exchange(3, 30);
        lines[6] = call_line(entry.as_bytes(), &trial, 1, 1, 9, Fingerprint([1; 16]));
    };
    assert_eq!(changed(&foreign), all("line 7 of calls.jsonl is of session 9"));
    let other = |lines: &mut Vec<Vec<u8>>| {
        let trial = TrialId::parse("t@p#1").unwrap();
        let entry = exchange(3, 30);
        lines[6] = call_line(entry.as_bytes(), &trial, 1, 1, 1, Fingerprint([2; 16]));
    };
    assert!(changed(&other).0[0].contains("has changed"));
    // Only one attempt can have these problems.
    let (problems, _) = changed(&|lines| lines.push(lines[1].clone()));
    assert_eq!(problems, ["line 8 of calls.jsonl repeats a call", ""]);
    let (problems, _) = changed(&|lines| drop(lines.remove(0)));
    assert_eq!(problems, ["line 1 of calls.jsonl has no start before it", ""]);
    // An attempt that starts after the damage does not have the damaged line.
    let (problems, _) = changed(&|lines| {
        lines[0][9] ^= 1;
        lines.push(line(1, 1, &start(false)));
    });
    assert_eq!(problems, ["", ""]);
    let secret = exchange(4, 40).replace("\"used_us\"", "\"redacted\":true,\"used_us\"");
    let (problems, _) = changed(&|lines| lines.push(line(2, 1, &secret)));
    assert!(problems[1].contains("secret") && problems[0].is_empty(), "{problems:?}");
}

#[test]
fn verification_compares_calls_with_rows() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 2);
    {
        let (mut writer, _acks) = writer(&owned);
        lines().iter().for_each(|line| writer.call(line));
        let entries = [exchange(2, 20), exchange(1, 10), exchange(3, 30)].concat();
        let sha256 = digest(entries.as_bytes());
        let calls = format!("\"calls\":{{\"count\":3,\"sha256\":\"{sha256}\"}},\"usage\"");
        let row = String::from_utf8(row(1, 1, Outcome::Passed)).unwrap();
        let row = row.replacen("\"usage\"", &calls, 1).into_bytes();
        writer.row(row, tail(true), None, vec![]);
        writer.close().unwrap();
    }
    let (path, run) = (path(&owned), owned.dir().clone());
    drop(owned);
    let found = |lines: &[Vec<u8>]| {
        fs::write(&path, lines.concat()).unwrap();
        let found = run.verify(None).unwrap();
        let of_rows = found.faults.iter().filter(|fault| fault.path.ends_with("index.jsonl"));
        let of_calls = found.harmless.iter().filter(|fault| fault.path == path);
        let problems = of_rows.map(|fault| fault.problem.clone()).collect::<Vec<_>>();
        (problems, of_calls.map(|fault| fault.problem.clone()).collect::<Vec<_>>())
    };
    let lost = ["its calls are lost: calls.jsonl has other ones".to_owned()];
    assert_eq!(found(&lines()), (vec![], vec![]));
    // The order of lines counts, and a line of another attempt does not.
    let mut swapped = lines();
    swapped.swap(1, 4);
    assert_eq!(found(&swapped), (lost.to_vec(), vec![]));
    assert_eq!(found(&lines()[..6]), (lost.to_vec(), vec![]));
    let mut other = lines();
    other[3][40] ^= 1;
    assert_eq!(found(&other), (vec![], vec!["it is damaged".to_owned()]));
    other[4][40] ^= 1;
    assert_eq!(found(&other), (lost.to_vec(), vec!["it is damaged".to_owned(); 2]));
    fs::remove_file(&path).unwrap();
    assert_eq!(
        run.verify(None).unwrap().faults.iter().filter(|one| one.problem == lost[0]).count(),
        1
    );
}

#[test]
fn torn_end_is_cut_at_every_length() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 9);
    let path = path(&owned);
    let whole = lines()[..2].concat();
    let run = owned.dir().clone();
    drop(owned);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        drop(root.claim(&run).unwrap());
        let first = lines()[0].len();
        let kept = if length < first { 0 } else { first };
        assert!(fs::read(&path).unwrap() == whole[..kept], "{length}");
    }
}

#[test]
fn every_changed_byte_is_found() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let whole = lines().concat();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(path(&owned), bytes).unwrap();
        let (journals, damaged) = read(&owned);
        assert!(!damaged.is_empty(), "{place}");
        let is_used = |trial| {
            journals
                .get((trial, 1))
                .is_some_and(|one| one.problem.is_none() && one.calls().is_some())
        };
        // Attempts that started after the damage are whole.
        let before = lines()[..2].concat().len();
        assert!(!is_used(1) && (place < before || !is_used(2)), "{place}");
    }
}

/// A change of the bytes of a file.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1..=u8::MAX).prop_map(|(at, bits)| Change::Flip(at, bits)),
        at().prop_map(Change::Remove),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        at().prop_map(Change::Cut),
        (at(), at()).prop_map(|(one, other)| Change::Swap(one, other)),
        at().prop_map(Change::Repeat),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<_> =
            bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Swap(one, other) => {
                let count = lines.len();
                lines.swap(one.index(count), other.index(count));
                *bytes = lines.concat();
            }
            Self::Repeat(at) => {
                let line = lines[at.index(lines.len())].clone();
                lines.push(line);
                *bytes = lines.concat();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var("RUNNER_TESTS").is_ok() { 10_000 } else { 500 }))]

    /// A journal that can be used has only lines of its attempt, after its start, each number once.
    #[test]
    fn changed_calls_are_found_or_harmless(changes in prop::collection::vec(change(), 1..4)) {
        let folder = folder();
        let (_, owned) = begin(folder.path(), 9);
        let mut bytes = lines().concat();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        fs::write(path(&owned), bytes).unwrap();
        let (journals, _) = read(&owned);
        for trial in [1, 2] {
            let Some(journal) = journals.get((trial, 1)).filter(|one| one.problem.is_none()) else {
                continue;
            };
            let own = lines().into_iter().filter(|line| {
                String::from_utf8_lossy(line).contains(&format!("\"t@p#{trial}\""))
            });
            let mut own: Vec<_> = own.collect();
            let kept = owned.dir().call_lines(journal).unwrap();
            let kept: Vec<_> = kept.split_inclusive(|byte| *byte == b'\n').collect();
            prop_assert_eq!(kept[0], &line(trial as u32, 1, &start(false))[..]);
            for line in kept {
                let place = own.iter().position(|one| one == line);
                prop_assert!(place.is_some(), "{}", String::from_utf8_lossy(line));
                // How often it continued is only for people.
                if !String::from_utf8_lossy(line).contains("\"continues\":true") {
                    own.remove(place.unwrap_or_default());
                }
            }
        }
    }
}
