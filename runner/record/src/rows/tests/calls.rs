//! Calls on disk: their acknowledgement, damage, and the end of the file after a death.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use proptest::prelude::*;
use runner_model::{
    Counts, Fingerprint, Micros, Outcome, ProviderName, RowRef, TrialId, digest,
    protocol::{CALLS_VERSION, CallLine, Entry},
    row::Calls,
};
use serde_json::{Value, json};

use super::{JournalKey, Journals};
use crate::{
    Ack, Manifest, Owned,
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

/// Returns a line of an attempt, with its number.
pub(crate) fn line(owned: &Owned, repeat: u32, number: u64, entry: &str) -> Vec<u8> {
    Entry::read(entry.as_bytes()).unwrap();
    let entry = serde_json::from_str(entry).unwrap();
    let call = CallLine {
        v: CALLS_VERSION,
        trial: TrialId::parse(&format!("t@p#{repeat}")).unwrap(),
        attempt: 1,
        tries: 1,
        grader: None,
        session: 1,
        key: owned.manifest().sessions[0].key,
        line: number,
        fingerprint: Fingerprint([1; 16]),
        entry,
    };
    call.with_entry(entry.get().as_bytes())
}

/// Returns a line with other parts.
fn changed_line(line: &[u8], change: impl FnOnce(&mut CallLine<'_>)) -> Vec<u8> {
    let mut call = serde_json::from_slice(line).unwrap();
    change(&mut call);
    call.with_entry(call.entry.get().as_bytes())
}

fn path(owned: &Owned) -> PathBuf {
    owned.dir().path().join("calls.jsonl")
}

/// Reads the journals, and the lines with problems.
fn read(owned: &Owned) -> (Journals, Vec<(u64, String)>) {
    let mut damaged = Vec::new();
    let number = |call: &CallLine<'_>| Some(u64::from(call.trial.repeat));
    let journals = Journals::read(owned.dir(), owned.manifest(), &number, &mut |line, why| {
        damaged.push((line, why.into()));
    });
    (journals.unwrap(), damaged)
}

/// Returns the lines of a trial that has continued, with those of another trial between them.
fn lines(owned: &Owned) -> Vec<Vec<u8>> {
    let entries = [
        (1, 1, start(false)),
        (1, 2, exchange(2, 20)),
        (2, 1, start(false)),
        (2, 2, exchange(1, 5)),
        (1, 3, exchange(1, 10)),
        (1, 4, start(true)),
        (1, 5, exchange(3, 30)),
    ];
    let lines = entries.iter().map(|(repeat, number, entry)| line(owned, *repeat, *number, entry));
    lines.collect()
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
    for line in &lines(&owned)[..2] {
        offsets.push(writer.calls_length());
        writer.call(line);
        // No company is waited for.
        let Ack::Written { lines, calls: 1, .. } = acks.recv().unwrap() else { panic!("no call") };
        assert!(lines.is_empty());
    }
    assert_eq!(offsets, [0, lines(&owned)[0].len() as u64]);
    writer.call(&lines(&owned)[2]);
    writer.row(row(1, 1, Outcome::Passed), tail(true), None, vec![]);
    writer.wait();
    assert_eq!(writer.pending(), (0, 0));
    assert!(fs::read(path(&owned)).unwrap() == lines(&owned)[..3].concat());
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
            writer.call(&lines(&owned)[0]);
            writer.close().unwrap();
        }
        inject(fault);
        let (mut writer, acks) = writer(&owned);
        inject("");
        writer.row(row(2, 1, Outcome::Passed), tail(true), None, vec![]);
        writer.call(&lines(&owned)[1]);
        writer.wait();
        assert!(acks.iter().any(|ack| matches!(ack, Ack::Failed(_))));
        writer.close().unwrap_err();
        assert!(fs::read(path(&owned)).unwrap().len() <= lines(&owned)[..2].concat().len());
        assert_eq!(read(&owned).1, [], "{fault}");
    }
}

#[test]
fn journals_have_the_calls_since_the_last_new_start() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    fs::write(path(&owned), lines(&owned).concat()).unwrap();
    let (journals, damaged) = read(&owned);
    assert_eq!(damaged, []);
    let journal = journals.get(&JournalKey::new(1, 1)).unwrap();
    assert_eq!((journal.continued, journal.used, &journal.problem), (1, Micros(30), &None));
    let entries = [start(false), exchange(2, 20), exchange(1, 10), exchange(3, 30)].concat();
    let sha256 = digest(entries.as_bytes());
    assert_eq!(journal.calls(), Some(Calls { count: 3, sha256 }));
    let own: Vec<_> =
        [0, 1, 4, 5, 6].into_iter().flat_map(|place| lines(&owned)[place].clone()).collect();
    assert!(owned.dir().call_lines(journal).unwrap() == own);
    // A new start makes the calls void.
    fs::write(path(&owned), [lines(&owned).concat(), line(&owned, 1, 6, &start(false))].concat())
        .unwrap();
    let (journals, _) = read(&owned);
    assert_eq!(journals.get(&JournalKey::new(1, 1)).unwrap().calls(), None);
    assert_eq!(journals.get(&JournalKey::new(2, 1)).unwrap().calls().unwrap().count, 1);
}

/// Lines of version 1 have the same form, without ends of tools.
#[test]
fn ends_of_tools_are_hashed_and_no_requests() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let ended = |call: u32| {
        let entry = Entry::Ended { call, fuel: 1 << 60, at_ns: 7 };
        String::from_utf8(entry.to_bytes()).unwrap()
    };
    assert_eq!(ended(2), r#"{"ended":{"call":2,"fuel":1152921504606846976,"at_ns":7}}"#);
    for impossible in [ended(0), ended(1).replace('7', "1000000000000000001")] {
        Entry::read(impossible.as_bytes()).unwrap_err();
    }
    let lines = |entries: &[&str]| {
        let lines = (1..).zip(entries).map(|(number, entry)| line(&owned, 1, number, entry));
        lines.collect::<Vec<_>>()
    };
    let read_all = |lines: &[Vec<u8>]| {
        fs::write(path(&owned), lines.concat()).unwrap();
        let (mut journals, damaged) = read(&owned);
        let journal = std::mem::take(journals.at(JournalKey::new(1, 1)));
        (journal.calls(), journal.problem, damaged)
    };
    let [start, first, second] = [&start(false), &ended(1), &ended(4)];
    let sha256 = digest([start.as_str(), first, second].concat().as_bytes());
    let calls = Some(Calls { count: 0, sha256 });
    assert_eq!(read_all(&lines(&[start, first, second])), (calls, None, vec![]));
    let (.., damaged) = read_all(&lines(&[start, second, first]));
    assert_eq!(damaged.len(), 1, "{damaged:?}");

    let exchange = exchange(1, 9);
    let whole = lines(&[start, &exchange]);
    let with_version = |v: u8| {
        let changed = whole.iter().map(|line| changed_line(line, |call| call.v = v));
        read_all(&changed.collect::<Vec<_>>())
    };
    assert_eq!(with_version(1), read_all(&whole));
    assert!(with_version(3).2[0].1.contains("another version"));
}

#[test]
fn damaged_calls_continue_nothing() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = lines(&owned);
        change(&mut lines);
        fs::write(path(&owned), lines.concat()).unwrap();
        let (journals, damaged) = read(&owned);
        let problems = [1, 2].map(|trial| {
            journals
                .get(&JournalKey::new(trial, 1))
                .and_then(|one| one.problem.clone())
                .unwrap_or_default()
        });
        (problems, damaged.len())
    };
    let all = |problem: &str| ([problem.to_owned(), problem.to_owned()], 1);
    assert_eq!(changed(&|lines| lines[4][30] ^= 1), all("line 5 of calls.jsonl is damaged"));
    assert_eq!(
        changed(&|lines| assert!(lines[6].pop().is_some())),
        all("line 7 of calls.jsonl is not whole")
    );
    // Only one attempt can have these problems.
    let one = |problem: &str| ([problem.to_owned(), String::new()], 1);
    let part = |change: &dyn Fn(&mut CallLine<'_>)| {
        changed(&|lines| lines[6] = changed_line(&lines[6], change))
    };
    assert_eq!(
        part(&|call| call.session = 9),
        one("line 7 of calls.jsonl is of session 9, which the run does not have")
    );
    assert_eq!(part(&|call| call.key ^= 1), one("line 7 of calls.jsonl is of another run"));
    assert_eq!(
        part(&|call| call.fingerprint = Fingerprint([2; 16])).0[0],
        "its test or provider has changed meanwhile"
    );
    assert_eq!(part(&|call| call.attempt = 2), ([String::new(), String::new()], 1));
    const CHANGED: &str = ": another program has changed the file";
    for place in 0..lines(&owned).len() {
        let repeats = [1, 2, 1, 2, 3, 4, 5][place];
        let of = usize::from([2, 3].contains(&place));
        let (problems, damaged) = changed(&|lines| lines.push(lines[place].clone()));
        let expected =
            format!("line 8 of calls.jsonl repeats line {repeats} of its attempt{CHANGED}");
        assert_eq!((&problems[of], &*problems[1 - of], damaged), (&expected, "", 1));
        // The end of a journal can be missing.
        let (problems, damaged) = changed(&|lines| drop(lines.remove(place)));
        if ![3, 6].contains(&place) {
            let next = [1, 4, 3, 0, 5, 6][place];
            let expected = format!(
                "line {next} of calls.jsonl is line {} of its attempt, and line {repeats} belongs here{CHANGED}",
                repeats + 1
            );
            assert_eq!((&problems[of], &*problems[1 - of], damaged), (&expected, "", 1));
        } else {
            assert_eq!((&problems, damaged), (&[String::new(), String::new()], 0));
        }
    }
    assert_eq!(changed(&|lines| lines.swap(1, 4)).1, 2);
    // An attempt that starts after the damage does not have the damaged line.
    let (problems, _) = changed(&|lines| {
        lines[0][9] ^= 1;
        lines.push(line(&owned, 1, 6, &start(false)));
    });
    assert_eq!(problems, ["", ""]);
    let void = "{\"void\":{\"reason\":\"its worker lied\"}}";
    let (problems, damaged) = changed(&|lines| lines.push(line(&owned, 2, 3, void)));
    assert_eq!((&*problems[0], &*problems[1], damaged), ("", "its worker lied", 0));
    let (problems, damaged) = changed(&|lines| {
        lines.push(line(&owned, 2, 3, void));
        lines.push(line(&owned, 2, 4, &start(false)));
    });
    assert_eq!((problems, damaged), ([String::new(), String::new()], 0));
    let secret = exchange(4, 40).replace("\"used_us\"", "\"redacted\":true,\"used_us\"");
    let (problems, _) = changed(&|lines| lines.push(line(&owned, 2, 3, &secret)));
    assert!(problems[1].contains("secret") && problems[0].is_empty(), "{problems:?}");
}

#[test]
fn verification_compares_calls_with_rows() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 2);
    {
        let (mut writer, _acks) = writer(&owned);
        lines(&owned).iter().for_each(|line| writer.call(line));
        let entries = [start(false), exchange(2, 20), exchange(1, 10), exchange(3, 30)].concat();
        let sha256 = digest(entries.as_bytes());
        let calls = format!("\"calls\":{{\"count\":3,\"sha256\":\"{sha256}\"}},\"usage\"");
        let row = String::from_utf8(row(1, 1, Outcome::Passed)).unwrap();
        let row = row.replacen("\"usage\"", &calls, 1).into_bytes();
        writer.row(row, tail(true), None, vec![]);
        writer.close().unwrap();
    }
    let (path, run, whole) = (path(&owned), owned.dir().clone(), lines(&owned));
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
    assert_eq!(found(&whole), (vec![], vec![]));
    // The order of lines counts, and a line of another attempt does not.
    let mut swapped = whole.clone();
    swapped.swap(1, 4);
    let (of_rows, of_calls) = found(&swapped);
    assert_eq!((of_rows, of_calls.len()), (lost.to_vec(), 2));
    // The clock of a start decides what its guest sees.
    let mut earlier = whole.clone();
    let start = start(false).replace("2026", "2025");
    let call: CallLine<'_> = serde_json::from_slice(&whole[0]).unwrap();
    earlier[0] = call.with_entry(start.as_bytes());
    assert_eq!(found(&earlier), (lost.to_vec(), vec![]));
    assert_eq!(found(&whole[..6]), (lost.to_vec(), vec![]));
    let mut other = whole.clone();
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

/// Returns the key of an attempt of a grader of the first trial.
fn of_grader(name: &str, attempt: u32) -> JournalKey {
    let grader = Some((ProviderName::parse(name).unwrap(), attempt));
    JournalKey { grader, ..JournalKey::new(1, 1) }
}

/// Returns the lines of the provider of a trial, of two attempts of a grader, and of another grader.
fn lines_of_graders(owned: &Owned) -> Vec<Vec<u8>> {
    let by = |line: Vec<u8>, name: &str, attempt| {
        changed_line(&line, |call| {
            call.grader = Some(ProviderName::parse(name).unwrap());
            call.tries = attempt;
        })
    };
    let line = |number, entry: &str| line(owned, 1, number, entry);
    vec![
        line(1, &start(false)),
        line(2, &exchange(1, 5)),
        by(line(1, &start(false)), "judge", 1),
        by(line(2, &exchange(1, 10)), "judge", 1),
        by(line(1, &start(false)), "second", 1),
        by(line(2, &exchange(1, 20)), "second", 1),
        by(line(1, &start(false)), "judge", 2),
        by(line(2, &exchange(2, 40)), "judge", 2),
        by(line(3, &exchange(1, 30)), "judge", 2),
    ]
}

#[test]
fn each_attempt_of_a_grader_has_its_own_journal() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 2);
    let lines = lines_of_graders(&owned);
    fs::write(path(&owned), lines.concat()).unwrap();
    let (journals, damaged) = read(&owned);
    assert_eq!(damaged, []);
    let keys = [
        (JournalKey::new(1, 1), &[0, 1][..], vec![exchange(1, 5)]),
        (of_grader("judge", 1), &[2, 3], vec![exchange(1, 10)]),
        (of_grader("second", 1), &[4, 5], vec![exchange(1, 20)]),
        (of_grader("judge", 2), &[6, 7, 8], vec![exchange(2, 40), exchange(1, 30)]),
    ];
    for (key, places, exchanges) in keys {
        let journal = journals.get(&key).unwrap();
        let own: Vec<_> = places.iter().flat_map(|place| lines[*place].clone()).collect();
        assert!(owned.dir().call_lines(journal).unwrap() == own, "{key:?}");
        let sha256 = digest((start(false) + &exchanges.concat()).as_bytes());
        let count = exchanges.len() as u32;
        assert_eq!(journal.calls(), Some(Calls { count, sha256 }), "{key:?}");
    }
    assert!(journals.get(&of_grader("second", 2)).is_none());
}

#[test]
fn damaged_line_of_a_grader_voids_only_its_attempt() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 2);
    let whole = lines_of_graders(&owned);
    let void = |lines: &[Vec<u8>]| {
        fs::write(path(&owned), lines.concat()).unwrap();
        let (mut journals, damaged) = read(&owned);
        let void = journals.all().filter(|(_, journal)| journal.problem.is_some());
        let mut void: Vec<_> = void.map(|(key, _)| key.clone()).collect();
        void.sort_unstable();
        (void, damaged.into_iter().map(|(line, _)| line).collect::<Vec<_>>())
    };
    let with = |place: usize, line: Vec<u8>| {
        let mut lines = whole.clone();
        lines[place] = line;
        lines
    };
    let second = vec![of_grader("judge", 2)];
    let doubled = [&whole[..], &whole[7..8]].concat();
    assert_eq!(void(&doubled), (second.clone(), vec![10]));
    let foreign = changed_line(&whole[7], |call| call.key ^= 1);
    // The line after it is not the next one.
    assert_eq!(void(&with(7, foreign)), (second.clone(), vec![8]));
    let cut = [&whole[..7], &whole[8..]].concat();
    assert_eq!(void(&cut), (second.clone(), vec![8]));
    // A line that another grader seems to have written.
    let other = changed_line(&whole[7], |call| {
        call.grader = Some(ProviderName::parse("second").unwrap());
    });
    let (found, lines) = void(&with(7, other));
    assert!(found.contains(&second[0]) && !found.contains(&JournalKey::new(1, 1)), "{found:?}");
    assert!(lines.contains(&9), "{lines:?}");
    // A last line that is not whole can be of any attempt that has started.
    let mut torn = whole.clone();
    torn[8].truncate(20);
    let (found, lines) = void(&torn);
    assert_eq!((found.len(), lines), (4, vec![9]));
    // Its end was never written: without it, nothing is void.
    assert_eq!(void(&whole[..8]), (vec![], vec![]));
}

#[test]
fn grade_lacks_calls_that_are_not_those_of_its_grader() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 2);
    let whole = lines_of_graders(&owned);
    fs::write(path(&owned), whole.concat()).unwrap();
    let (journals, _) = read(&owned);
    let calls = |key: &JournalKey| journals.get(key).unwrap().calls();
    let lacks_in = |journals: &Journals,
                    run: &Manifest,
                    grader: &str,
                    attempt: u32,
                    calls: Option<Calls>,
                    session: u32| {
        let grade = json!({"grader": grader, "attempt": attempt, "duration_ms": 1, "calls": calls});
        let mut row: Value = serde_json::from_slice(&row(1, 1, Outcome::Passed)).unwrap();
        (row["grades"], row["session"]) = (json!([grade]), session.into());
        let row = row.to_string();
        let row: RowRef<'_> = serde_json::from_str(&row).unwrap();
        journals.lack(run, 1, &row, &row.grades[0])
    };
    let lacks = |grader: &str, attempt, calls, session| {
        lacks_in(&journals, owned.manifest(), grader, attempt, calls, session)
    };
    let [first, second] = [1, 2].map(|attempt| calls(&of_grader("judge", attempt)));
    assert!(!lacks("judge", 1, first, 1) && !lacks("judge", 2, second, 1));
    // The calls of another attempt, of another grader, and of an attempt without a journal.
    assert!(lacks("judge", 1, second, 1) && lacks("second", 1, first, 1));
    assert!(lacks("second", 2, first, 1));
    // A grade without requests.
    assert!(!lacks("second", 2, None, 1));
    // A grade that is older than the lines: only a changed plan asks its grader again.
    assert!(lacks("judge", 1, second, 0));
    let mut manifest = owned.manifest().clone();
    manifest.sessions[0].adopted = Some(Counts::default());
    assert!(
        [0, 1]
            .into_iter()
            .all(|session| lacks_in(&journals, &manifest, "judge", 1, second, session))
    );
    let again = [(3, start(false)), (4, exchange(1, 50))].map(|(number, entry)| {
        changed_line(&line(&owned, 1, number, &entry), |call| {
            call.grader = Some(ProviderName::parse("judge").unwrap());
        })
    });
    fs::write(path(&owned), [whole.concat(), again.concat()].concat()).unwrap();
    let (journals, damaged) = read(&owned);
    assert_eq!(damaged, []);
    let newest = journals.get(&of_grader("judge", 1)).unwrap().calls();
    let lacks =
        |run: &Manifest, calls, session| lacks_in(&journals, run, "judge", 1, calls, session);
    assert!(!lacks(&manifest, first, 0) && !lacks(&manifest, newest, 1));
    assert!(lacks(&manifest, first, 1) && lacks(owned.manifest(), first, 0));
}

#[test]
fn torn_end_is_cut_at_every_length() {
    let folder = folder();
    let (root, owned) = begin(folder.path(), 9);
    let path = path(&owned);
    let (whole, first) = (lines(&owned)[..2].concat(), lines(&owned)[0].len());
    let run = owned.dir().clone();
    drop(owned);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        drop(root.claim(&run).unwrap());
        let kept = if length < first { 0 } else { first };
        assert!(fs::read(&path).unwrap() == whole[..kept], "{length}");
    }
}

#[test]
fn every_changed_byte_is_found() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), 9);
    let whole = lines(&owned).concat();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(path(&owned), bytes).unwrap();
        let (journals, damaged) = read(&owned);
        assert!(!damaged.is_empty(), "{place}");
        let is_used = |trial| {
            journals
                .get(&JournalKey::new(trial, 1))
                .is_some_and(|one| one.problem.is_none() && one.calls().is_some())
        };
        // Attempts that started after the damage are whole.
        let before = lines(&owned)[..2].concat().len();
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
        let mut bytes = lines(&owned).concat();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        fs::write(path(&owned), bytes).unwrap();
        let (journals, _) = read(&owned);
        for trial in [1, 2] {
            let Some(journal) = journals.get(&JournalKey::new(trial, 1)).filter(|one| one.problem.is_none()) else {
                continue;
            };
            let own = lines(&owned).into_iter().filter(|line| {
                String::from_utf8_lossy(line).contains(&format!("\"t@p#{trial}\""))
            });
            let mut own: Vec<_> = own.collect();
            let kept = owned.dir().call_lines(journal).unwrap();
            let kept: Vec<_> = kept.split_inclusive(|byte| *byte == b'\n').collect();
            prop_assert_eq!(kept[0], &line(&owned, trial as u32, 1, &start(false))[..]);
            for line in kept {
                let place = own.iter().position(|one| one == line);
                prop_assert!(place.is_some(), "{}", String::from_utf8_lossy(line));
                own.remove(place.unwrap_or_default());
            }
        }
    }
}
