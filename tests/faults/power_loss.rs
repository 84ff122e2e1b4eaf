//! A loss of power: what was not synced is gone, or comes back as zeros or as anything else.
//!
//! No test can take the power away, so each takes away what a file system may lose: bytes after the last sync, files that
//! are never synced, and names that were given without a sync of their directory. Where several processes worked on a run
//! before, `support/power.rs` knows what each of them has synced.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::support::{
    power::Power,
    rows::row_text,
    runner::{Run, Runner, tests},
    truth::{
        acknowledged, assert_kept, assert_listed_truly, assert_same_end, assert_whole, canonical,
        every_kind, go_on_until_complete, undisturbed,
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
        if row_text(line.as_bytes()).is_some_and(|row| told.contains(&row)) {
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
    for step in ["finish", "sweep", "opening"] {
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
        runner.run(&["cleanup", "--no-dry-run"]).expect(0);
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

#[test]
fn rows_that_somebody_else_believed_are_on_disk_by_then() {
    let expected = undisturbed();
    let every_commit = ["row.written@1", "row.written@2", "row.written@3"];
    let believers: [&[&str]; 5] = [
        &["cleanup", "--no-dry-run"],
        &["exec", "other.toml", "-j", "2"],
        &["stop", "latest"],
        &["cancel", "latest"],
        &["resume", "--from", "latest", "--json"],
    ];
    for killed in every_commit {
        for (believer, args) in believers.iter().enumerate() {
            let runner = every_kind();
            let scenario = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
            runner.write("other.toml", scenario.replace("40 }", "41 }"));
            let root = runner.path("results");
            fs_err::create_dir(&root).unwrap();
            let power = Power::of(&root);
            // One after another, they take more than two commits on the slowest disk.
            let exec = ["exec", "scenario.toml", "--json", "-j", "1"];
            let dying = runner.start_failing(&exec, &power.armed(&format!("{killed}=kill")));
            let told = acknowledged(&dying.finish_killed().stdout);
            let run = runner.only_run();
            // The resume is killed once its manifest says what it found.
            let failpoint = if believer == 4 {
                "opening.synced=kill"
            } else {
                ""
            };
            runner.start_failing(args, &power.armed(failpoint)).wait();

            let believed = run.manifest();
            power.lose(&root);
            assert_eq!(run.manifest()["status"], believed["status"], "{args:?}");
            let rows = canonical(&run).len();
            let counts = believed["counts"].as_object().unwrap();
            let counts = counts
                .iter()
                .filter(|(name, _)| *name != "planned" && *name != "flaky");
            let counted: u64 = counts.map(|(_, count)| count.as_u64().unwrap()).sum();
            assert!(
                rows as u64 >= counted,
                "{args:?} after {killed}: {rows} of {counted}"
            );
            assert_kept(&run, &told);
            if believer == 1 {
                continue;
            }
            assert_recovers(&runner, &told, &expected);
        }
    }
}

#[test]
fn a_run_that_a_sweep_calls_completed_has_its_rows() {
    let runner =
        Runner::hostile_in_memory(&tests(r#"one | { do = "echo", value = 1 } | equals = 1"#));
    let root = runner.path("results");
    fs_err::create_dir(&root).unwrap();
    let power = Power::of(&root);
    let armed = power.armed("row.written=kill");
    let dying = runner.start_failing(&["exec", "scenario.toml"], &armed);
    dying.finish_killed();
    let sweep = ["cleanup", "--no-dry-run"];
    runner
        .start_failing(&sweep, &power.armed(""))
        .finish()
        .expect(0);

    power.lose(&root);
    let run = runner.only_run();
    assert_eq!(run.manifest()["status"], "completed");
    assert_eq!(run.rows().len(), 1);
    runner.run(&["verify", run.id()]).expect(0);
}
