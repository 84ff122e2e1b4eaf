//! `--shard` and `merge`: a plan in parts, each a run of its own, and one run of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    runner::{CommandExt as _, Ran, Run, Runner, tests},
    truth::{assert_same_end, canonical, every_kind, scenario},
};

const COUNT: u32 = 4;

/// What merges these shards into `merged/whole`.
fn merging(shards: &[String]) -> Vec<&str> {
    let dirs = shards.iter().map(String::as_str);
    ["merge", "--into", "merged/whole"]
        .into_iter()
        .chain(dirs)
        .collect()
}

/// Runs the scenario in shards, each in a results root of its own, and gives the directories in another order.
fn run_shards(runner: &Runner, count: u32) -> Vec<String> {
    let mut dirs: Vec<_> = (1..=count)
        .map(|index| {
            let shard = format!("{index}/{count}");
            let into = format!("roots/{index}/shard-{{shard}}");
            let ran = runner.exec(&["--shard", &shard, "--into", &into, "--scheduler-exit"]);
            ran.expect(0);
            format!("roots/{index}/shard-{index}-of-{count}")
        })
        .collect();
    dirs.rotate_left(1);
    dirs.reverse();
    dirs
}

/// Merges these shards into `merged/whole`.
fn merge(runner: &Runner, dirs: &[String], more: &[&str]) -> Ran {
    let dirs = dirs.iter().map(String::as_str);
    let args: Vec<_> = ["merge", "--into", "merged/whole"]
        .into_iter()
        .chain(dirs)
        .collect();
    runner.run(&[&args, more].concat())
}

fn merged(runner: &Runner) -> Run {
    runner.run_at("merged/whole")
}

/// What a run of the same scenario comes to on one machine.
fn expected(runner: &Runner) -> BTreeMap<String, Value> {
    runner.exec(&[]).expect(1);
    canonical(&runner.only_run())
}

fn verify(runner: &Runner, dir: &str) {
    runner.run(&["verify", dir]).expect(0);
}

#[test]
fn shards_that_are_merged_are_the_run_of_one_machine() {
    let runner = every_kind();
    let expected = expected(&runner);
    let shards = run_shards(&runner, COUNT);
    let mut trials = 0;
    for dir in &shards {
        verify(&runner, dir);
        let shard = runner.run_at(dir);
        let own = canonical(&shard);
        trials += own.len();
        let manifest = shard.manifest();
        assert_eq!(manifest["status"], "completed");
        assert_eq!(manifest["metadata"]["planned_test_count"], own.len());
        assert_eq!(manifest["shard"]["planned_test_count"], expected.len());
        let whole = &runner.only_run().manifest()["metadata"];
        assert_eq!(manifest["shard"]["plan_digest"], whole["plan_digest"]);
        assert_eq!(manifest["shard"]["suite"], whole["suite"]);
    }
    assert_eq!(trials, expected.len());

    let dry = merge(&runner, &shards, &["--dry-run", "--json"])
        .expect(0)
        .document();
    runner.assert_valid("merge", std::slice::from_ref(&dry));
    assert_eq!(
        (&dry["outcome"], &dry["run"]),
        (&json!("mergeable"), &Value::Null)
    );
    assert!(!runner.path("merged").exists());

    // It fails as its tests do.
    let told = merge(&runner, &shards, &["--json"]).expect(1).document();
    assert_eq!(
        (&told["outcome"], &told["missing"]),
        (&json!("merged"), &json!([]))
    );
    assert_eq!(told["run"]["exit_code"], 1);
    let run = merged(&runner);
    assert_same_end(&run, &expected);
    verify(&runner, "merged/whole");
    let (manifest, whole) = (run.manifest(), runner.only_run().manifest());
    for key in [
        "metadata",
        "providers",
        "selection",
        "status",
        "verdict",
        "counts",
    ] {
        assert_eq!(manifest[key], whole[key], "{key}");
    }
    assert_eq!(
        manifest["merged_from"].as_array().unwrap().len(),
        COUNT as usize
    );
    let origins = manifest["sessions"].as_array().unwrap().iter();
    let origins: Vec<_> = origins
        .map(|session| session["origin"]["run_id"].clone())
        .collect();
    assert_eq!(
        origins,
        (1..=COUNT)
            .map(|n| format!("shard-{n}-of-{COUNT}"))
            .collect::<Vec<_>>()
    );

    // Once more changes nothing, in whichever order.
    let (index, text) = (run.read("index.jsonl"), run.read("benchmark.json"));
    let mut reversed = shards;
    reversed.reverse();
    let again = merge(&runner, &reversed, &[]).expect(1);
    again.prints("merged there before");
    assert_eq!(
        (run.read("index.jsonl"), run.read("benchmark.json")),
        (index.clone(), text.clone())
    );

    // Elsewhere it is the same bytes.
    fs_err::rename(runner.path("merged"), runner.path("before")).unwrap();
    merge(&runner, &reversed, &[]).expect(1);
    assert_eq!(
        (run.read("index.jsonl"), run.read("benchmark.json")),
        (index, text)
    );
    let listed = runner
        .run(&["list", "--json", "--results", "merged"])
        .expect(0)
        .document();
    assert_eq!(listed["runs"][0]["run"], "whole");
    for args in [
        &["show", "--failed"][..],
        &["report"],
        &["logs", "--trial", "warns"],
    ] {
        runner
            .run(&[args, &["--results", "merged"]].concat())
            .expect(0);
    }
}

#[test]
fn what_sessions_of_shards_did_stays_true_of_the_whole() {
    let runner = every_kind();
    let expected = expected(&runner);
    let shards = run_shards(&runner, 2);
    // Each has another session, which runs again what was bad there, and what has a name.
    for (dir, rerun) in shards.iter().zip(["failed", "*a*"]) {
        runner
            .run(&["resume", "--from", dir, "--rerun", rerun])
            .expect(1);
    }
    merge(&runner, &shards, &[]).expect(1);
    let run = merged(&runner);
    verify(&runner, "merged/whole");
    assert_same_end(&run, &expected);
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 4);
    // Rows say the same as the manifest when they are read as those of a run that died.
    let counts = run.manifest()["counts"].clone();
    run.change_manifest(|manifest| {
        manifest["status"] = "running".into();
        manifest["verdict"] = "none".into();
        manifest.as_object_mut().unwrap().remove("completed_at");
        let last = manifest["sessions"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap();
        last.as_object_mut().unwrap().remove("closed_at");
        manifest["transitions"].as_array_mut().unwrap().truncate(1);
    });
    runner
        .run(&["cleanup", "--no-dry-run", "--results", "merged"])
        .expect(0);
    let manifest = run.manifest();
    assert_eq!(
        (&manifest["counts"], &manifest["status"]),
        (&counts, &json!("completed"))
    );
}

#[test]
fn holes_are_named_and_merged_only_if_asked_and_then_run_by_resume() {
    let runner = every_kind();
    let expected = expected(&runner);
    let mut shards = run_shards(&runner, COUNT);
    // One of them never ran, and one was cut short in the middle of a row.
    shards.retain(|dir| !dir.contains("shard-2"));
    let cut = runner.run_at(shards.iter().find(|dir| dir.contains("shard-3")).unwrap());
    let index = cut.read("index.jsonl");
    cut.write("index.jsonl", &index[..index.len() - 20]);
    cut.forget_its_end();

    let refused = merge(&runner, &shards, &[]).expect(2);
    refused.prints("shard 2 of 4 is not here");
    refused.prints("shard-3-of-4 ends in the middle of a row");
    refused.prints("has no result");
    refused.prints("--allow-holes");
    let refused = merge(&runner, &shards, &["--json"]).expect(2).document();
    assert_eq!(
        (&refused["outcome"], &refused["missing"]),
        (&json!("has-holes"), &json!([2]))
    );
    let lacking = refused["planned"].as_u64().unwrap() - refused["done"].as_u64().unwrap();
    assert!(!runner.path("merged").exists());

    merge(&runner, &shards, &["--allow-holes"]).expect(4);
    let run = merged(&runner);
    assert_eq!(run.ending(), ["incomplete", "holes", "", "none"]);
    verify(&runner, "merged/whole");
    assert_eq!(
        canonical(&run).len() as u64,
        expected.len() as u64 - lacking
    );
    for hole in refused["holes"].as_array().unwrap() {
        assert!(
            !canonical(&run).contains_key(hole.as_str().unwrap()),
            "{hole}"
        );
    }
    runner.run(&["resume", "--from", "merged/whole"]).expect(1);
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    assert_same_end(&run, &expected);
    verify(&runner, "merged/whole");
}

#[test]
fn what_is_no_shard_of_the_same_plan_is_refused_by_its_name() {
    let runner = every_kind();
    let shards = run_shards(&runner, 2);
    let [second, first] = [&shards[0], &shards[1]].map(|dir| dir.replace("roots", "copies"));
    let copy = || {
        let _ = fs_err::remove_dir_all(runner.path("copies"));
        runner.shell("cp -r roots copies").run().expect(0);
    };
    let refused = |dirs: &[&str], says: &str| {
        let dirs: Vec<_> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
        let ran = merge(&runner, &dirs, &["--allow-holes"]).expect(2);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains(says), "`{says}` is not in\n{said}");
        assert!(!runner.path("merged").exists());
    };
    copy();
    refused(&[&first, "nowhere"], "nowhere is no run\n");
    refused(&[&first, &first, &second], "their trials overlap");
    let held = format!("exec 9<>{first}/lock; flock -x 9; exec sleep 60");
    let held = runner.shell(&held).start();
    while runner
        .shell(&format!("flock -n {first}/lock true"))
        .run()
        .code
        == Some(0)
    {}
    refused(&[&first, &second], "is running");
    held.kill();

    // A run of the whole, shards of another number and of another scenario.
    runner.exec(&["--into", "copies/1/all"]).expect(1);
    refused(
        &["copies/1/all", &first, &second],
        "is a run of a whole plan, and no shard",
    );
    runner
        .exec(&["--shard", "2/3", "--into", "copies/1/other"])
        .expect(1);
    refused(
        &[&first, "copies/1/other"],
        "it is one of 3 shards, not of 2",
    );
    let hostile = "\n[providers.hostile]\nplugin = \"hostile.wasm\"\n";
    runner.scenario(&(scenario("poison_after = 0").replace("zwölf", "elf") + hostile));
    let ran = runner.exec(&["--shard", "2/2", "--into", "copies/1/changed"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    refused(&[&first, "copies/1/changed"], "is of another plan than");

    // Rows that are another shard's, and what both need is gone.
    let (one, other) = (runner.run_at(&first), runner.run_at(&second));
    one.write("index.jsonl", other.read("index.jsonl"));
    refused(&[&first, &second], "which is another shard's trial");
    copy();
    fs_err::remove_dir_all(runner.path(&first).parent().unwrap().join("store")).unwrap();
    fs_err::remove_dir_all(runner.path(&second).parent().unwrap().join("store")).unwrap();
    refused(&[&first, &second], "copy it along with them");

    // A damaged row is a hole.
    copy();
    let one = runner.run_at(&first);
    one.write(
        "index.jsonl",
        one.read("index.jsonl")
            .replacen("\"outcome\"", "\"out-come\"", 1),
    );
    let dirs = [first, second];
    merge(&runner, &dirs, &[])
        .expect(2)
        .prints("1 damaged line of rows, the first of them line 1");
    merge(&runner, &dirs, &["--allow-holes"]).expect(4);

    // Something else is where the merged run was to be.
    for content in ["merged/whole/notes.txt", "merged/whole"] {
        fs_err::remove_dir_all(runner.path("merged")).unwrap();
        runner.write(content, "mine");
        merge(&runner, &shards, &[])
            .expect(2)
            .says(&["is not empty"]);
        assert_eq!(
            fs_err::read_to_string(runner.path(content)).unwrap(),
            "mine"
        );
    }
    fs_err::remove_dir_all(runner.path("merged")).unwrap();
    runner
        .shell("mkdir merged && cp -r roots/1/shard-1-of-2 merged/whole")
        .run()
        .expect(0);
    merge(&runner, &shards, &[])
        .expect(2)
        .says(&["there is a run that was not merged"]);
}

#[test]
fn a_task_that_is_queued_again_goes_on_where_it_was() {
    let runner = Runner::hostile(
        &(0..8)
            .map(|n| format!("[[tests]]\nid = \"t{n}\"\ninput = {{ do = \"sleep\", ms = 100 }}\n"))
            .collect::<String>(),
    );
    let args = ["--shard", "1/2", "--into", "results/{shard}", "-j1"];
    let mut running = runner.start(&args);
    running.wait_for(|event| event["event"] == "row");
    running.kill();
    let before = runner.only_run().rows().len();
    assert!(before >= 1);
    runner.exec(&args).expect(0);
    let run = runner.only_run();
    assert_eq!(run.id(), "1-of-2");
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(run.ending()[0], "completed");
    // It has nothing left to do, and says so in the same way.
    runner.exec(&args).expect(0);
    let other = runner
        .exec(&["--shard", "2/2", "--into", "results/1-of-2"])
        .expect(2);
    other.says(&["there is a run of another plan"]);
    runner
        .exec(&["--into", "results/{shard}"])
        .expect(2)
        .says(&["`--shard` is not given"]);
}

/// More rows than are read at once, some of them with what was said, in more than one file.
#[cfg(debug_assertions)]
#[test]
fn rows_keep_their_order_and_what_was_said_however_many_there_are() {
    let (plain, saying) = (900, 60);
    let long = "x".repeat(600);
    let table = format!(
        "plain | {{ do = \"echo\", value = \"{long}\" }}\nsaying | {{ do = \"flood-log\", count = 1, bytes = 20 }}"
    );
    let scenario = tests(&table);
    let scenario = scenario.replacen("input", &format!("repeat = {plain}\ninput"), 1);
    let (before, saying_test) = scenario.rsplit_once("input").unwrap();
    let runner = Runner::hostile(&format!("{before}repeat = {saying}\ninput{saying_test}"));
    let shards = run_shards(&runner, 2);
    let args = merging(&shards);
    runner
        .start_failing(&args, "full=300000")
        .finish()
        .expect(0);
    verify(&runner, "merged/whole");
    let run = merged(&runner);
    assert!(runner.path("merged/whole/index.seal-2").exists());
    let mut trials = BTreeMap::new();
    for (row, seq) in run.lines().iter().zip(1..) {
        assert_eq!(row["seq"], seq);
        let ordinal = row["ordinal"].as_u64().unwrap();
        let logs = &row["logs"];
        if ordinal >= plain {
            let number = |key: &str| usize::try_from(logs[key].as_u64().unwrap()).unwrap();
            let session = row["session"].as_u64().unwrap_or(1);
            let said = run.read(&format!("logs-{session}-{}.jsonl", number("file")));
            let said = &said[number("at")..][..number("bytes")];
            let said: Value = serde_json::from_str(said).unwrap();
            assert_eq!(said["ordinal"], ordinal);
        } else {
            assert_eq!(*logs, Value::Null);
        }
        trials.insert(ordinal, row["trial"].as_str().unwrap().to_owned());
    }
    let plain = (1..=plain).map(|repeat| format!("plain@hostile#{repeat}"));
    let saying = (1..=saying).map(|repeat| format!("saying@hostile#{repeat}"));
    assert!((0..).zip(plain.chain(saying)).eq(trials));

    // Foreign line ends are the same rows.
    let shard = runner.run_at(&shards[1]);
    let foreign = shard.read("index.jsonl").replace('\n', "\r\n");
    shard.write("index.jsonl", foreign);
    merge(&runner, &shards, &[])
        .expect(0)
        .prints("these shards were merged there before");
}

#[test]
fn a_shard_without_a_trial_is_completed_and_merged() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 1"));
    let shards = run_shards(&runner, 3);
    let planned = shards
        .iter()
        .map(|dir| runner.run_at(dir).manifest()["counts"]["planned"].clone());
    let mut planned: Vec<_> = planned.map(|planned| planned.as_u64().unwrap()).collect();
    planned.sort_unstable();
    assert_eq!(planned, [0, 0, 1]);
    merge(&runner, &shards, &[])
        .expect(0)
        .prints("3 shards merged");
    assert_eq!(merged(&runner).rows().len(), 1);
}

#[cfg(debug_assertions)]
#[test]
fn whoever_dies_while_shards_are_merged_leaves_a_whole_run_or_none() {
    use runner::record::failpoint::PLACES;

    let runner = every_kind();
    let shards = run_shards(&runner, 2);
    let args = merging(&shards);
    for place in PLACES.iter().filter(|place| place.starts_with("merge.")) {
        for fault in ["kill", "broken"] {
            let _ = fs_err::remove_dir_all(runner.path("merged"));
            let failing = runner.start_failing(&args, &format!("{place}={fault}"));
            match fault {
                "kill" => drop(failing.finish_killed()),
                _ => drop(failing.finish().expect(7)),
            }
            let listed = |code| {
                let listed = runner
                    .run(&["list", "--json", "--results", "merged"])
                    .expect(code);
                listed.document()["runs"].as_array().unwrap().len()
            };
            assert_eq!(listed(0), 0, "{place}={fault}");
            merge(&runner, &shards, &[]).expect(1);
            verify(&runner, "merged/whole");
            assert_eq!(listed(0), 1, "{place}={fault}");
        }
    }
}

#[test]
fn a_link_among_the_files_of_a_shard_leads_nowhere() {
    let runner = every_kind();
    let shards = run_shards(&runner, 1);
    runner.write("secrets/private.txt", "mine");
    let shard = runner.path(&shards[0]);
    // Instead of a file of an attempt, and of all those of an attempt that there was not.
    let artifacts = shard.join("artifacts/0");
    fs_err::create_dir_all(artifacts.join("0-7")).unwrap();
    let secrets = runner.path("secrets");
    std::os::unix::fs::symlink(
        secrets.join("private.txt"),
        artifacts.join("0-7/private.txt"),
    )
    .unwrap();
    std::os::unix::fs::symlink(&secrets, artifacts.join("0-8")).unwrap();
    std::os::unix::fs::symlink(&secrets, shard.join("artifacts/1")).unwrap();
    merge(&runner, &shards, &[]).expect(1);
    let merged = walkdir::WalkDir::new(runner.path("merged")).into_iter();
    let mut names = merged.map(|entry| entry.unwrap().file_name().to_owned());
    assert!(names.all(|name| name != "private.txt"));
}
