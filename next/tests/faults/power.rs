//! Losses of power: unsynced bytes are gone, even if processes have read them before.

#![cfg(debug_assertions)]

use std::fs;

use serde_json::Value;

use super::{TRIALS, writing_runner};
use crate::support::{
    random::Random,
    run::Run,
    runner::Runner,
    running::{Ran, Running},
    truth::{assert_kept, assert_told_truly, assert_whole},
};

/// Runs a command that records the files it syncs.
fn noting(runner: &Runner, args: &[&str], fault: Option<&str>) -> Ran {
    let mut command = runner.command(args);
    command.env("RUNNER_SYNCED", runner.path("synced"));
    if let Some(fault) = fault {
        command.env("RUNNER_FAULT", fault);
    }
    Running::start(&mut command).finish()
}

/// Returns a file's length at its last sync.
fn synced(runner: &Runner, name: &str) -> usize {
    let notes = fs::read_to_string(runner.path("synced")).unwrap_or_default();
    let mut of_file = notes.lines().filter_map(|line| line.strip_prefix(name));
    of_file.next_back().map_or(0, |length| length.trim().parse().unwrap())
}

/// Removes or garbles bytes that were not synced. Returns their number.
fn lose_power(runner: &Runner, run: &Run, how: usize, random: &mut Random) -> usize {
    let mut lost = 0;
    for name in ["index.jsonl", "logs.jsonl"] {
        let mut bytes = run.bytes(name);
        let kept = synced(runner, name);
        assert!(kept <= bytes.len(), "{name} was longer before");
        lost += bytes.len() - kept;
        match how {
            0 => bytes.truncate(kept),
            1 => bytes.truncate(kept + random.below(bytes.len() - kept + 1)),
            2 => bytes[kept..].fill(0),
            _ => bytes[kept..].fill_with(|| random.below(256) as u8 | 0x80),
        }
        run.write(name, bytes);
    }
    for name in ["lock", "live.json", "runner.log", "../runner.db"] {
        // Some of the files may not exist.
        let _ = fs::remove_file(run.dir.join(name));
    }
    lost
}

#[test]
fn unsynced_bytes_lose_no_acknowledged_row() {
    let (mut random, mut lost) = (Random::new(), 0);
    for how in 0..4 {
        for fault in ["rows-sync:kill:2", "rows-write:kill:3", "rows-sync:kill:4"] {
            let runner = writing_runner();
            let exec = ["exec", "scenario.toml", "--json", "-j", "2"];
            let mut told = noting(&runner, &exec, Some(fault)).acknowledged();
            let run = runner.only_run();
            lost += lose_power(&runner, &run, how, &mut random);
            assert_kept(&run, &told);
            assert_told_truly(&runner);
            let resumed = noting(&runner, &["resume", "latest", "--json"], None);
            told.extend(resumed.expect(0).acknowledged());
            assert_kept(&assert_whole(&runner, TRIALS), &told);
        }
    }
    assert!(lost > 0, "nothing was unsynced");
}

#[test]
fn believed_rows_are_on_disk() {
    // The last rows are written but not synced. Then another process finds a row for every trial.
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"nap\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 300 }\n",
    );
    let exec = ["exec", "scenario.toml", "-j", "4"];
    noting(&runner, &exec, Some("rows-sync:kill:1"));
    let run = runner.only_run();
    assert!(!run.rows().is_empty(), "the process died too early");
    assert_eq!(synced(&runner, "index.jsonl"), 0);
    // A new run sweeps, and so does a resume.
    noting(&runner, &["resume", run.id()], None).expect(0);
    let index = run.bytes("index.jsonl");
    assert_eq!(synced(&runner, "index.jsonl"), index.len());
    assert_whole(&runner, 4);
}

#[test]
fn older_manifest_may_come_back() {
    let runner = writing_runner();
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(3);
    let run = runner.only_run();
    let older = run.bytes("benchmark.json");
    running.finish().expect(0);
    assert_eq!(run.ending()[0], "completed");
    run.write("benchmark.json", older);
    assert_told_truly(&runner);
    let resumed = runner.run(&["resume", run.id()]).expect(0);
    resumed.says(&["nothing is left to do"]);
    assert_eq!(assert_whole(&runner, TRIALS).ending()[0], "completed");
}

#[test]
fn lost_creation_leaves_no_run() {
    for lost in ["", "whole"] {
        let runner = writing_runner();
        runner.exec(&[]).expect(0);
        let run = runner.only_run();
        if lost.is_empty() {
            run.write("benchmark.json", "");
        } else {
            fs::remove_file(run.dir.join("benchmark.json")).unwrap();
        }
        assert_eq!(runner.list(), Vec::<Value>::new());
        runner.exec(&[]).expect(0);
        assert_eq!(runner.list().len(), 1);
    }
}

#[test]
fn cut_store_entries_are_replaced() {
    let runner = writing_runner();
    runner.exec(&[]).expect(0);
    let store = runner.path("results/store");
    let mut cut = 0;
    for folder in fs::read_dir(&store).unwrap() {
        let folder = folder.unwrap().path();
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap().path();
            let length = fs::metadata(&entry).unwrap().len();
            let file = fs::File::options().write(true).open(&entry).unwrap();
            file.set_len(length / 2).unwrap();
            cut += 1;
        }
    }
    assert!(cut >= 2, "the tests and the plugin are in the store");
    runner.exec(&["--test", "nap"]).expect(0);
    let newest = runner.runs().pop().unwrap();
    runner.run(&["resume", newest.id()]).expect(0);
}
