//! Names of runs.

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use crate::disk::layout::is_run_name;
use crate::{
    RecordError, ResultsRoot,
    tests::{folder, new_run},
};

#[test]
fn runs_are_found_by_id_path_or_latest() {
    let folder = folder();
    let path = folder.path().join("results");
    let empty = ResultsRoot::existing(&path).unwrap();
    assert!(matches!(empty.find("latest"), Err(RecordError::Unknown { .. })));
    assert!(!path.exists());
    let root = ResultsRoot::open(&path).unwrap();
    let mut ids: Vec<String> = Vec::new();
    while ids.len() < 2 {
        let owned = root.create(new_run(1)).unwrap();
        let started = owned.manifest().started_at;
        ids.push(owned.dir().id().to_owned());
        while started == crate::now() {}
    }
    let id = |name: &str| root.find(name).map(|run| run.id().to_owned());
    assert_eq!(id("latest").unwrap(), ids[1]);
    assert_eq!(id(&ids[0]).unwrap(), ids[0]);
    assert_eq!(id(&ids[0][20..]).unwrap(), ids[0]);
    assert_eq!(id(path.join(&ids[0]).to_str().unwrap()).unwrap(), ids[0]);
    let error = id("basic").unwrap_err();
    assert!(
        matches!(&error, RecordError::Ambiguous { candidates, .. } if *candidates == ids),
        "{error}"
    );
    fs::write(path.join("file"), "").unwrap();
    let file = path.join("file").to_str().unwrap().to_owned();
    let reserved = ["store", "queue", "runner.db", ".lock", ".number", "file", &file, "..", "/"];
    for unknown in ["", "nonsense", "./nonsense", "a\n"].into_iter().chain(reserved) {
        let error = id(unknown).unwrap_err();
        assert!(matches!(error, RecordError::Unknown { .. }), "{unknown:?}: {error}");
    }
}

#[test]
fn a_shown_short_name_is_an_end() {
    let folder = folder();
    let root = ResultsRoot::open(folder.path()).unwrap();
    for name in ["2026-a-0a1b2c3d", "2026-0a1b2c3d-b-11111111", "2026-c-22222222"] {
        let run = root.create(new_run(1)).unwrap().dir().path();
        fs::rename(run, folder.path().join(name)).unwrap();
    }
    let id = |name: &str| root.find(name).map(|run| run.id().to_owned());
    assert_eq!(id("0a1b2c3d").unwrap(), "2026-a-0a1b2c3d");
    assert_eq!(id("0a1b2c3d-b").unwrap(), "2026-0a1b2c3d-b-11111111");
    assert!(matches!(id("0a1b2c3"), Err(RecordError::Ambiguous { .. })));
    assert!(id("latest~2").is_ok());
    assert!(id("latest~3").is_err() && id("latest:none").is_err());
    assert!(id("latest:basic").is_ok());
}

/// A killed process has its lock for a moment, as the owner here has.
#[test]
fn run_whose_process_is_ending_was_cut_short() {
    let is_found = || {
        let folder = folder();
        let root = ResultsRoot::open(folder.path()).unwrap();
        let owned = root.create(new_run(1)).unwrap();
        let id = owned.dir().id().to_owned();
        let cut_short = || {
            let (runs, _) = root.cut_short().unwrap();
            runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
        };
        assert_eq!(cut_short(), Vec::<String>::new());
        let found = thread::scope(|scope| {
            let found = scope.spawn(cut_short);
            thread::sleep(Duration::from_millis(50));
            drop(owned);
            found.join().unwrap()
        });
        found == [id]
    };
    // The search waits for a second, for which a machine may stand still.
    assert!((0..5).any(|_| is_found()));
}

#[test]
fn linked_run_belongs_to_its_real_root() {
    let folder = folder();
    let elsewhere = ResultsRoot::open(&folder.path().join("elsewhere")).unwrap();
    let run = elsewhere.create(new_run(1)).unwrap().dir().clone();
    let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
    symlink(run.path(), root.path().join("link")).unwrap();
    assert_eq!(root.runs().unwrap().runs.len(), 0);
    let error = root.find("link").unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert!(root.find("lin").is_err());
    // A link that the user typed is followed, and the run belongs to its own root.
    let found = root.find(root.path().join("link").to_str().unwrap()).unwrap();
    assert_eq!(found.id(), run.id());
    assert_eq!(found.root.path(), fs::canonicalize(elsewhere.path()).unwrap());
}

#[test]
fn names_of_other_things_are_no_runs() {
    for name in [
        "store",
        "queue",
        "latest",
        "runner.db",
        "runner.toml",
        "lost+found",
        "a\u{7}",
        "",
        ".",
        "..",
        "a/b",
    ] {
        assert!(!is_run_name(name), "{name:?}");
    }
    assert!(is_run_name("2026-11-20_09-18-04-015-basic-6ba42b73") && is_run_name("a copy"));
}
