//! `--into`, which puts a run into a folder of the user's choice, and labels.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::json;

use super::{ENDLESS, SHORT, Worked, listed, sleepers, sleeping};
use crate::messages::outputs::snapshot;
use crate::support::{
    random::times,
    run::Run,
    runner::Runner,
    running::Running,
    truth::{assert_consistent, assert_whole},
    wait::wait_until,
};

fn into(runner: &Runner) -> Command {
    runner.command(&["exec", "scenario.toml", "--into", "results/ci", "--json"])
}

#[test]
fn run_has_the_folder_that_was_named() {
    let runner = sleepers(2, SHORT);
    let label = ["--label", "team=night", "--label", "empty="];
    let args = ["exec", "scenario.toml", "--into", "results/ci"];
    runner.run(&[&args[..], &label].concat()).expect(0);
    let run = assert_whole(&runner, 2);
    assert_eq!(run.id(), "ci");
    let manifest = run.manifest();
    assert_eq!(manifest["id"], "ci");
    assert_eq!(manifest["labels"], json!({"team": "night", "empty": ""}));
    assert_eq!(runner.list()[0]["labels"]["team"], "night");
    // The run exists already: nothing is left to do, and no file changes.
    let before = run.bytes("benchmark.json");
    snapshot(&runner.run(&args).expect(0));
    assert_eq!(run.bytes("benchmark.json"), before);
    // A dry run shows the plan of a new run, which would be wrong here.
    let dry = runner.run(&[&args[..], &["--dry-run"]].concat()).expect(2);
    snapshot(&dry);
    runner.run(&["resume", "results/ci", "--dry-run"]).expect(0);
    let new = ["exec", "scenario.toml", "--into", "new/ci", "--dry-run"];
    runner.run(&new).expect(0);
    // The folder may have any name, and the results root need not exist yet.
    for (name, id) in [("other/run", "run"), ("here", "here"), ("./other/./two/", "two")] {
        runner.run(&["exec", "scenario.toml", "--into", name]).expect(0);
        let manifest = fs::read_to_string(runner.path(name).join("benchmark.json")).unwrap();
        assert!(manifest.contains(&format!("\"id\": \"{id}\"")), "{manifest}");
    }
    for name in ["results/-x", "results/--failed"] {
        let refused = runner.run(&["exec", "scenario.toml", "--into", name]).expect(2);
        snapshot(&refused);
        refused.says(&[name]);
    }
    for bad in [&["--label", "team"][..], &["--label", "=x"]] {
        runner.run(&[&args[..], bad].concat()).expect(2);
    }
}

#[test]
fn run_in_a_named_folder_is_continued() {
    // Nine seconds one after another, so the kill comes before the end.
    let runner = sleepers(30, 10 * SHORT);
    let mut running = Running::start(into(&runner).args(["-j", "1"]));
    running.wait_for_rows(2);
    running.kill();
    assert_eq!(listed(&runner, "ci"), "incomplete");
    Running::start(into(&runner).args(["-j", "30"])).finish().expect(0);
    let run = assert_whole(&runner, 30);
    let sessions = run.manifest()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
}

#[test]
fn other_plans_do_not_go_into_a_run() {
    let runner = sleepers(2, SHORT);
    Running::start(&mut into(&runner)).finish().expect(0);
    let run = runner.only_run();
    let before = (run.bytes("benchmark.json"), run.bytes("index.jsonl"));
    let refused = |runner: &Runner, args: &[&str], says: &str| {
        let ran = Running::start(into(runner).args(args)).finish().expect(2);
        snapshot(&ran);
        ran.says(&[says]);
        assert_eq!((run.bytes("benchmark.json"), run.bytes("index.jsonl")), before);
    };
    runner.scenario(&sleeping("scenario", 3, SHORT));
    refused(&runner, &[], "its scenario");
    runner.scenario(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    refused(&runner, &["--test", "a"], "its scenario");
    fs::remove_dir_all(&run.dir).unwrap();
    Running::start(into(&runner).args(["--test", "a"])).finish().expect(0);
    let ran = Running::start(into(&runner).args(["--test", "b"])).finish().expect(2);
    snapshot(&ran);
    Running::start(into(&runner).args(["--test", "a"])).finish().expect(0);
}

#[test]
fn foreign_folders_are_left_alone() {
    let runner = sleepers(1, SHORT);
    fs::create_dir_all(runner.path("results/ci/sub")).unwrap();
    let ran = Running::start(&mut into(&runner)).finish().expect(2);
    snapshot(&ran);
    fs::remove_dir(runner.path("results/ci/sub")).unwrap();
    fs::write(runner.path("results/file"), "mine").unwrap();
    std::os::unix::fs::symlink("ci", runner.path("results/link")).unwrap();
    for bad in ["results/file", "results/link", "results/latest", "..", "/", "results/store"] {
        let ran = runner.run(&["exec", "scenario.toml", "--into", bad]);
        assert!(matches!(ran.code, Some(2 | 7)), "{bad}: {ran:?}");
    }
    assert_eq!(fs::read(runner.path("results/file")).unwrap(), b"mine");
    fs::remove_file(runner.path("results/link")).unwrap();
    assert!(fs::read_dir(runner.path("results/ci")).unwrap().next().is_none());
    runner.run(&["exec", "scenario.toml", "scenario.toml", "--into", "results/ci"]).expect(2);
    // An empty folder counts as no run.
    Running::start(&mut into(&runner)).finish().expect(0);
    assert_whole(&runner, 1);
}

#[test]
fn losers_of_a_folder_exit_with_six() {
    let runner = sleepers(1, SHORT);
    let mut codes = BTreeSet::new();
    for round in 0..times(8, 100) {
        let name = format!("results/{round}");
        let start = |_| runner.started(&["exec", "scenario.toml", "--into", &name, "--json"]);
        let all: Vec<_> = (0..4).map(start).collect();
        let ran: Vec<_> = all.into_iter().map(Running::finish).collect();
        assert!(ran.iter().all(|ran| matches!(ran.code, Some(0 | 6))), "{ran:?}");
        codes.extend(ran.iter().map(|ran| ran.code));
    }
    assert!(codes.contains(&Some(0)), "{codes:?}");
}

#[test]
fn one_of_four_has_the_named_folder() {
    let runner = sleepers(2, ENDLESS);
    let start = |_| Running::start(into(&runner).args(["-j", "2"]));
    let mut all: Vec<_> = (0..4).map(start).collect();
    let mut lost = 0;
    wait_until("three of four have ended", || {
        all.retain_mut(|running| {
            running.is_alive() || {
                lost += 1;
                false
            }
        });
        lost >= 3
    });
    let mut owner = all.pop().unwrap();
    owner.wait_until_running(&runner, 2);
    // Later processes are refused; the message names the run.
    let ran = Running::start(&mut into(&runner)).finish().expect(6);
    ran.says(&["run ci is held by process"]);
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 1);
    owner.kill();
    // One of four takes over a dead run.
    let mut all: Vec<_> = (0..4).map(start).collect();
    wait_until("three of four have ended", || {
        all.iter_mut().map(|running| usize::from(!running.is_alive())).sum::<usize>() == 3
    });
    let mut codes = Vec::new();
    for mut running in all {
        if running.is_alive() {
            running.wait_until_running(&runner, 2);
            running.kill();
        } else {
            codes.push(running.finish().code);
        }
    }
    assert_eq!(codes, [Some(6); 3]);
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 2);
    assert_consistent(&runner);
}

#[test]
fn folder_of_an_uncreated_run_is_taken_over() {
    for fault in ["lock", "manifest-write", "manifest-rename", "store-keep"] {
        let runner = sleepers(1, SHORT);
        let ran = Running::start(into(&runner).env("RUNNER_FAULT", format!("{fault}:kill")));
        assert_eq!(ran.finish().code, None, "{fault}");
        assert!(runner.runs().is_empty());
        assert!(runner.list().is_empty());
        Running::start(&mut into(&runner)).finish().expect(0);
        let run = assert_whole(&runner, 1);
        assert_eq!(run.id(), "ci");
        let left = fs::read_dir(&run.dir).unwrap();
        let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(left.all(|name| !name.starts_with(".new")), "{fault}");
    }
}

#[test]
fn detached_run_has_the_folder_that_was_named() {
    let runner = sleepers(2, ENDLESS);
    let args = ["exec", "scenario.toml", "--into", "results/ci", "--detach"];
    assert_eq!(runner.run(&args).expect(0).stdout, "ci\n");
    let run = Run { dir: runner.path("results/ci") };
    let worked = Worked::on(&run);
    // A second start is refused before the process detaches.
    let ran = runner.run(&args).expect(6);
    assert_eq!(ran.stdout, "");
    ran.says(&["run ci is held by process"]);
    worked.0.signal(rustix::process::Signal::KILL);
    runner.run(&["wait", "ci"]).expect(4);
}
