//! A loss of power: what was not synced is gone, or comes back as zeros or as anything else.
//!
//! No test can take the power away, so each takes away what a file system may lose: bytes after the last sync, files that
//! are never synced, and names that were given without a sync of their directory.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::support::{
    runner::{Run, Runner},
    truth::{
        acknowledged, assert_kept, assert_listed_truly, assert_same_end, assert_whole, every_kind,
        go_on_until_complete, undisturbed,
    },
};

/// Takes away what is never synced.
fn lose_what_is_never_synced(runner: &Runner, run: &Run) {
    for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
        _ = fs_err::remove_file(runner.path("results").join(name));
    }
    for name in ["inflight", "runner.log", "lock", "last-words.json"] {
        _ = fs_err::remove_file(run.dir.join(name));
    }
}

#[track_caller]
fn assert_recovers(runner: &Runner, told: &HashSet<String>, expected: &BTreeMap<String, Value>) {
    assert_listed_truly(runner);
    go_on_until_complete(runner);
    assert_kept(&runner.only_run(), told);
    assert_same_end(&runner.only_run(), expected);
    assert_whole(runner);
}

/// Where the rows end that were on disk for certain: before the last commit.
fn synced_length(run: &Run, told: &HashSet<String>) -> usize {
    let index = run.read("index.jsonl");
    let mut length = 0;
    let mut synced = 0;
    for line in index.split_inclusive('\n') {
        length += line.len();
        if told.contains(line.trim_end()) {
            synced = length;
        }
    }
    synced
}

#[test]
fn rows_that_were_not_synced_may_be_cut_anywhere_or_be_zeros_or_garbage() {
    let expected = undisturbed();
    let args = ["exec", "scenario.toml", "--json", "-j", "2"];
    for tail in 0..10_usize {
        let runner = every_kind();
        // It waits between the write and the sync of its second commit, and is killed there.
        let dying = runner.start_failing(&args, "row.written@2=kill");
        let told = acknowledged(&dying.finish_killed().stdout);
        let run = runner.only_run();
        let path = run.dir.join("index.jsonl");
        let mut index = fs_err::read(&path).unwrap();
        let synced = synced_length(&run, &told);
        let written = index.len();
        assert!(written > synced);
        match tail {
            0 => index.truncate(synced),
            1..7 => index.truncate(synced + (written - synced) * tail / 7),
            7 => index[synced..].fill(0),
            8 => index[synced + (written - synced) / 2..].fill(0),
            _ => index[synced..]
                .iter_mut()
                .for_each(|byte| *byte = byte.wrapping_mul(31)),
        }
        fs_err::write(&path, index).unwrap();
        lose_what_is_never_synced(&runner, &run);
        assert_recovers(&runner, &told, &expected);
    }
}

#[test]
fn a_manifest_whose_new_name_was_not_synced_may_be_the_old_one() {
    let expected = undisturbed();
    for step in ["stage", "finish", "sweep", "opening"] {
        let runner = every_kind();
        let exec = &["exec", "scenario.toml", "--json", "-j", "2"];
        let resume = &["resume", "--from", "latest", "--json"];
        let is_resumed = matches!(step, "sweep" | "opening");
        let mut told = HashSet::new();
        let mut die = |args: &[&str], place: &str| {
            let dying = runner.start_failing(args, &format!("{place}=kill"));
            told.extend(acknowledged(&dying.finish_killed().stdout));
        };
        // The manifest as it is right before its replacement.
        if is_resumed {
            die(exec, "row.synced@2");
            die(resume, &format!("{step}.written"));
        } else {
            die(exec, &format!("{step}.written"));
        }
        let manifest = runner.only_run().dir.join("benchmark.json");
        let old = fs_err::read(&manifest).unwrap();
        let is_over = runner
            .run(&["resume", "--from", "latest", "--dry-run"])
            .code;
        assert_eq!(is_over, Some(0));
        fs_err::write(&manifest, old).unwrap();
        lose_what_is_never_synced(&runner, &runner.only_run());
        assert_recovers(&runner, &told, &expected);
    }
}

#[test]
fn a_birth_whose_manifest_was_not_synced_was_none_and_is_in_nobodys_way() {
    let runner = every_kind();
    let args = ["exec", "scenario.toml", "-j", "2"];
    runner
        .start_failing(&args, "birth.renamed=kill")
        .finish_killed();
    let dir = runner.only_run().dir;
    fs_err::remove_file(dir.join("benchmark.json")).unwrap();
    assert!(runner.list(&[]).is_empty());
    runner.run(&["resume"]).expect(2);

    runner.run(&args).expect(1);
    assert_listed_truly(&runner);
    assert_whole(&runner);
    assert!(dir.join("lock").exists(), "nobody but `prune` removes it");
}

#[test]
fn a_store_entry_that_was_cut_short_is_put_there_again_by_the_next_birth() {
    let runner = every_kind();
    let args = ["exec", "scenario.toml", "-j", "2"];
    runner
        .start_failing(&args, "content.renamed=kill")
        .finish_killed();
    let store = walkdir::WalkDir::new(runner.path("results/store")).into_iter();
    let mut cut = 0;
    for entry in store.flatten().filter(|entry| entry.file_type().is_file()) {
        if entry.path().file_name().is_some_and(|name| name != ".lock") {
            fs_err::write(entry.path(), "").unwrap();
            cut += 1;
        }
    }
    assert!(cut > 0);
    runner.run(&args).expect(1);
    assert_same_end(&runner.only_run(), &undisturbed());
}
