use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

use runner_model::workspace::{EntryKind, TreeEntry, base_lines, copy_name};
use runner_model::{Digest, WorkerId, digest};
use runner_prepare::{ContentSource, Origin};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Copies, difference};
use crate::workers::{Compared, Input};

const FILES: [(&str, &str); 3] = [("a", "first"), ("b/c", "second"), ("d", "")];
const WORKER: WorkerId = WorkerId(1);

/// A worker's folder with its copy of a base.
struct Folder {
    folder: tempfile::TempDir,
    base: Digest,
    blobs: ContentSource,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entry = |path: &'static str, kind, content: Option<&str>| TreeEntry {
            path: path.into(),
            kind,
            mode: 0,
            bytes: content.map_or(0, |content| content.len() as u64),
            sha256: content.map(|content| digest(content.as_bytes())),
            target: None,
        };
        let file = |(path, content)| entry(path, EntryKind::File, Some(content));
        let mut entries: Vec<_> = FILES.map(file).into();
        entries.insert(1, entry("b", EntryKind::Folder, None));
        let lines = base_lines(&entries);
        let base = digest(&lines);
        let blobs = ContentSource::new([(base, Origin::Bytes(lines.into()))]);
        let made = Self { folder, base, blobs };
        fs::create_dir(made.copy()).unwrap();
        made.restore();
        made
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join(copy_name(&self.base))
    }

    /// Returns the path of the copy of the file with this number.
    fn file(&self, number: &str) -> PathBuf {
        self.copy().join(number)
    }

    fn restore(&self) {
        for (number, (_, content)) in FILES.iter().enumerate() {
            let path = self.file(&number.to_string());
            let _ = fs::remove_file(&path);
            fs::write(path, content).unwrap();
        }
    }

    fn difference(&self) -> Option<String> {
        difference(self.folder.path(), &self.base, &self.blobs)
    }
}

#[test]
fn each_change_of_a_copy_is_a_difference() {
    let folder = Folder::new();
    assert_eq!(folder.difference(), None);
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("another content", |path| fs::write(path, "SECOND").unwrap()),
        ("another length", |path| fs::write(path, "second!").unwrap()),
        ("no file", |_| {}),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
        // Opening it would block.
        ("a pipe", |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap()),
    ];
    for (what, change) in changes {
        let path = folder.file("1");
        fs::remove_file(&path).unwrap();
        change(&path);
        assert_eq!(folder.difference().as_deref(), Some("b/c"), "{what}");
        let _ = fs::remove_dir(&path);
        folder.restore();
    }
    fs::remove_dir_all(folder.copy()).unwrap();
    assert_eq!(folder.difference().as_deref(), Some("a"));
}

fn next(inputs: &Receiver<Input>) -> Compared {
    match inputs.recv().unwrap() {
        Input::Compared(compared) => compared,
        _ => panic!("it is not a comparison"),
    }
}

#[test]
fn only_rows_since_the_last_equal_comparison_are_doubtful() {
    let folder = Folder::new();
    let (sender, inputs) = mpsc::channel();
    let mut copies = Copies::new(sender, folder.blobs.clone());
    copies.add(WORKER, folder.folder.path().to_owned());
    assert!(!copies.start_all(), "there is nothing to compare");
    // A worker on another machine.
    copies.add_row(WorkerId(2), 9, folder.base, true);
    copies.add_row(WORKER, 1, folder.base, false);
    copies.add_row(WORKER, 2, folder.base, true);
    let equal = next(&inputs);
    // A row that was reported meanwhile may be of a later state.
    copies.add_row(WORKER, 3, folder.base, false);
    assert_eq!(copies.finish(&equal), BTreeSet::new());
    fs::write(folder.file("0"), "FIRST").unwrap();
    copies.add_row(WORKER, 4, folder.base, false);
    copies.exited(WORKER, None);
    assert_eq!(copies.finish(&next(&inputs)), BTreeSet::from([3, 4]));
    assert!(!copies.start_all() && copies.workers.is_empty());
}

#[test]
fn comparisons_that_are_given_up_cover_no_rows() {
    let folder = Folder::new();
    let (sender, inputs) = mpsc::channel();
    let mut copies = Copies::new(sender, folder.blobs.clone());
    copies.add(WORKER, folder.folder.path().to_owned());
    for trial in 1..=2 {
        copies.add_row(WORKER, trial, folder.base, false);
    }
    assert!(copies.start_all());
    copies.add_row(WORKER, 3, folder.base, false);
    assert_eq!(copies.give_up(), 3);
    // They are counted once, and a late end changes nothing.
    assert_eq!((copies.start_all(), copies.give_up()), (false, 0));
    assert_eq!(copies.finish(&next(&inputs)), BTreeSet::new());
}
