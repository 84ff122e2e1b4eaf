//! Losses of power: unsynced bytes are gone, even if processes have read them before.

#![cfg(debug_assertions)]

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use serde_json::Value;

use super::{TRIALS, writing_runner};
use crate::messages::outputs::snapshot;
use crate::support::{
    random::Random,
    run::Run,
    runner::Runner,
    running::{Finished, Running, finished},
    truth::{assert_consistent, assert_kept, assert_whole, results},
};

/// Runs a command that records the files it syncs.
pub(crate) fn noting(runner: &Runner, args: &[&str], fault: Option<&str>) -> Finished {
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
pub(crate) fn lose_power(runner: &Runner, run: &Run, how: usize, random: &mut Random) -> usize {
    let mut lost = 0;
    for name in ["index.jsonl", "logs.jsonl", "calls.jsonl"] {
        if !run.dir.join(name).exists() {
            continue;
        }
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
            assert_consistent(&runner);
            let resumed = noting(&runner, &["resume", "latest", "--json"], None);
            told.extend(resumed.expect(0).acknowledged());
            assert_kept(&assert_whole(&runner, TRIALS), &told);
        }
    }
    assert!(lost > 0, "nothing was unsynced");
}

#[test]
fn believed_rows_are_on_disk() {
    // The first rows are written but not synced. Then another process reads them, and counts them.
    for command in ["cleanup --yes", "stop latest", "cancel latest", "resume latest"] {
        let runner = Runner::hostile_in_memory(
            "[[tests]]\nid = \"nap\"\nrepeat = 6\ninput = { do = \"sleep\", ms = 30 }\n",
        );
        let exec = ["exec", "scenario.toml", "-j", "4"];
        noting(&runner, &exec, Some("rows-sync:kill:1"));
        let run = runner.only_run();
        let rows = run.rows().len();
        assert!(rows > 0, "the process died too early");
        assert_eq!(synced(&runner, "index.jsonl"), 0);
        let args: Vec<_> = command.split(' ').collect();
        noting(&runner, &args, None).expect(0);
        let counted = run.count("passed");
        assert!(counted >= rows as u64, "{command}: {counted} of {rows}");
        assert_eq!(lose_power(&runner, &run, 0, &mut Random::new()), 0, "{command}");
        assert_eq!(results(&run).len() as u64, counted, "{command}");
        runner.run(&["resume", run.id(), "--force"]).expect(0);
        assert_whole(&runner, 6);
    }
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
    assert_consistent(&runner);
    let resumed = runner.run(&["resume", run.id()]).expect(0);
    snapshot(&resumed);
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
            run.write("index.jsonl", "");
        } else {
            fs::remove_file(run.dir.join("benchmark.json")).unwrap();
        }
        assert_eq!(runner.list(), Vec::<Value>::new());
        runner.exec(&[]).expect(0);
        assert_eq!(runner.list().len(), 1);
    }
}

/// Returns the files of the store.
fn stored(runner: &Runner) -> Vec<PathBuf> {
    let shelves = fs::read_dir(runner.path("results/store")).unwrap();
    let shelves = shelves.filter_map(|shelf| fs::read_dir(shelf.unwrap().path()).ok());
    shelves.flatten().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn cut_store_entries_are_replaced() {
    for damage in ["cut", "overwritten", "link", "pipe"] {
        let runner = writing_runner();
        runner.exec(&["--test", "logs"]).expect(0);
        let entries = stored(&runner);
        assert!(entries.len() >= 2, "the tests and the plugin are in the store");
        for entry in &entries {
            let bytes = fs::read(entry).unwrap();
            fs::remove_file(entry).unwrap();
            match damage {
                "cut" => fs::write(entry, &bytes[..bytes.len() / 2]).unwrap(),
                "overwritten" => fs::write(entry, vec![b'x'; bytes.len()]).unwrap(),
                "link" => {
                    let copy = runner.path("copy");
                    fs::write(&copy, bytes).unwrap();
                    symlink(&copy, entry).unwrap();
                }
                _ => drop(finished(Command::new("mkfifo").arg(entry)).expect(0)),
            }
        }
        runner.exec(&["--test", "logs"]).expect(0);
        assert!(entries.iter().all(|entry| fs::symlink_metadata(entry).unwrap().is_file()));
        runner.run(&["verify"]).expect(0);
        let newest = runner.runs().pop().unwrap();
        let log = newest.text("runner.log");
        for entry in &entries {
            let digest = entry.file_name().unwrap().to_str().unwrap();
            assert!(log.contains(&format!("{digest} in the store was damaged and is replaced")));
        }
        runner.run(&["resume", newest.id(), "--rerun", "all"]).expect(0);
    }
}
