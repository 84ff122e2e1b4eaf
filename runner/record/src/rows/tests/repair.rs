//! Rows that are cut or damaged anywhere.

use std::{fs, path::Path};

use proptest::prelude::*;
use runner_model::Outcome;

use super::repair;
use crate::{
    Manifest, ReadLine, ResultsRoot, RunDir,
    tests::{dead_run, folder, row, session, tail, writer},
};

const ROWS: u64 = 6;

struct Run {
    _folder: tempfile::TempDir,
    root: ResultsRoot,
    dir: RunDir,
    /// The rows at the death.
    bytes: Vec<u8>,
    manifest: Vec<u8>,
}

fn run() -> Run {
    let folder = folder();
    let (root, dir) = dead_run(folder.path(), ROWS, ROWS as u32);
    Run {
        bytes: fs::read(dir.path().join("index.jsonl")).unwrap(),
        manifest: fs::read(dir.path().join("benchmark.json")).unwrap(),
        _folder: folder,
        root,
        dir,
    }
}

impl Run {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Restores the state at the death, with other rows.
    fn set(&self, rows: &[u8]) {
        let _ = fs::remove_file(self.path("index.torn-1"));
        fs::write(self.path("index.jsonl"), rows).unwrap();
        fs::write(self.path("benchmark.json"), &self.manifest).unwrap();
    }

    fn rows(&self) -> Vec<u8> {
        fs::read(self.path("index.jsonl")).unwrap()
    }

    fn torn(&self) -> Vec<u8> {
        read_or_empty(&self.path("index.torn-1"))
    }

    /// Returns the number of whole rows in a prefix, and their bytes. A line that lacks only its line break is whole.
    fn whole(&self, length: usize) -> (u64, usize) {
        let reach = &self.bytes[..(length + 1).min(self.bytes.len())];
        let ends = reach.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<_> = ends.map(|(at, _)| at + 1).collect();
        (ends.len() as u64, ends.last().copied().unwrap_or(0))
    }
}

fn read_or_empty(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

#[test]
fn every_prefix_keeps_its_whole_rows() {
    let run = run();
    for length in 0..=run.bytes.len() {
        run.set(&run.bytes[..length]);
        let truth = run.dir.truth().unwrap();
        let claimed = run.root.claim(&run.dir).unwrap();
        let (whole, kept) = run.whole(length);
        let signature = truth.signature;
        let without_file = Manifest { rows: None, signature, ..claimed.manifest().clone() };
        assert_eq!(without_file, truth, "{length}");
        assert_eq!(truth.counts.passed, whole, "{length}");
        let fold = crate::tests::fold(&claimed, ROWS);
        assert_eq!((fold.last_seq(), fold.damaged()), (whole, 0), "{length}");
        assert_eq!(run.rows(), run.bytes[..kept], "{length}");
        assert_eq!(run.torn(), run.bytes[kept.min(length)..length], "{length}");
        assert_eq!(claimed.notices().len(), usize::from(kept < length), "{length}");
    }
}

#[test]
fn run_cut_at_any_byte_reaches_same_end() {
    let run = run();
    for length in (0..=run.bytes.len()).step_by(7) {
        run.set(&run.bytes[..length]);
        let mut owned = run.root.claim(&run.dir).unwrap();
        let fold = crate::tests::fold(&owned, ROWS);
        if fold.counts().done() < ROWS {
            owned.open_session(session("resume"), None).unwrap();
        }
        let (mut rows, _acks) = writer(&owned);
        for index in 0..ROWS {
            if fold.trial(index).outcome.is_none() {
                rows.row(row(index as u32 + 1, 1, Outcome::Passed), tail(true), None, vec![]);
            }
        }
        rows.close().unwrap();
        assert_eq!(run.rows(), run.bytes, "{length}");
    }
}

#[test]
fn damaged_line_in_the_middle_is_counted() {
    let run = run();
    let mut bytes = run.bytes.clone();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let fourth = lines[..3].iter().map(|line| line.len()).sum::<usize>();
    bytes[fourth + 40] ^= 1;
    run.set(&bytes);
    let claimed = run.root.claim(&run.dir).unwrap();
    assert_eq!(run.rows(), bytes);
    let fold = crate::tests::fold(&claimed, ROWS);
    assert_eq!((fold.damaged(), fold.last_seq()), (1, ROWS));
    let pending = (0..ROWS).filter(|index| fold.trial(*index).outcome.is_none());
    assert_eq!(pending.collect::<Vec<_>>(), [3]);
    assert!(!run.path("index.torn-1").exists());
}

#[test]
fn large_torn_tail_is_moved_aside() {
    let run = run();
    for filler in [0, b'\n', b'{'] {
        let tail = vec![filler; 1_000_000];
        run.set(&[&run.bytes[..], &tail].concat());
        assert_eq!(repair(&run.dir, 1).unwrap().last_seq, ROWS);
        assert_eq!(run.rows(), run.bytes);
        assert!(run.torn() == tail);
    }
}

#[test]
fn second_repair_keeps_the_bytes_of_the_first() {
    let run = run();
    for tail in ["one", "two"] {
        fs::write(run.path("index.jsonl"), [&run.bytes[..], tail.as_bytes()].concat()).unwrap();
        repair(&run.dir, 1).unwrap();
    }
    assert_eq!(run.torn(), b"onetwo");
    fs::remove_file(run.path("index.jsonl")).unwrap();
    assert_eq!(repair(&run.dir, 1).unwrap().last_seq, 0);
    assert_eq!(run.rows(), b"");
}

#[test]
fn rows_with_foreign_line_ends_are_whole() {
    let run = run();
    let text = String::from_utf8(run.bytes.clone()).unwrap();
    let foreign = text.replace('\n', "\r\n");
    run.set(foreign.as_bytes());
    assert_eq!(run.dir.truth().unwrap().counts.passed, ROWS);
    assert_eq!(repair(&run.dir, 1).unwrap().last_seq, ROWS);
    assert_eq!(run.rows(), foreign.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn repairing_garbage_twice_keeps_whole_rows(
        cut in 0_usize..6000,
        garbage in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(0), any::<u8>()], 0..300),
        damage in proptest::option::of((0_usize..6000, 1_u8..=255)),
    ) {
        let run = run();
        let length = cut.min(run.bytes.len());
        let mut bytes = [&run.bytes[..length], &garbage].concat();
        if let Some((at, bits)) = damage
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= bits;
        }
        run.set(&bytes);
        let count = || {
            let (mut rows, mut damaged) = (Vec::new(), 0);
            run.dir.read_lines(&mut |_, line| match line {
                ReadLine::Row(row, _) => rows.push(row.seq),
                ReadLine::Damaged(_) | ReadLine::Torn => damaged += 1,
            }).unwrap();
            (rows, damaged)
        };
        let (before, _) = count();
        let repaired = repair(&run.dir, 1).unwrap();
        prop_assert_eq!(repaired.last_seq, before.last().copied().unwrap_or(0));
        let (after, _) = count();
        prop_assert_eq!(&after, &before);
        // All bytes are kept.
        let rows = run.rows();
        let all = [&rows[..rows.len().min(bytes.len())], &run.torn()].concat();
        prop_assert_eq!(all, bytes);
        let again = repair(&run.dir, 1).unwrap();
        prop_assert_eq!((again.last_seq, again.moved), (repaired.last_seq, None));
        prop_assert_eq!(run.rows(), rows);
    }
}
