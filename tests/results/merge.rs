//! `merge`: one run of the shards of a plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::shards;
use crate::faults::PLACES;
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    random::{Random, times},
    run::{Run, calls, sealed},
    runner::{Runner, tests},
    running::{Finished, Running},
    truth::{assert_numbered, results},
    wait::wait_until,
};

/// A scenario with each kind of row: retries, graders, logs, artifacts, errors and a gate.
fn all_kinds_of_rows() -> Runner {
    let list = tests(
        r#"
        logs   | { do = "log" } |
        large  | { do = "huge-reply", bytes = 100000 } |
        comes  | { do = "fail-until", attempt = 2 } |
        fails  | { do = "echo", value = 1 } | equals = 2
        traps  | { do = "trap" } |
        graded | { do = "echo", value = 1 } | graders = ["judge"]
        "#,
    );
    Runner::hostile(&format!(
        "[graders.judge]\nplugin = \"hostile.wasm\"\ninput = {{ do = \"echo\", value = {{ verdict = \"pass\", score = 0.5 }} }}\n\
         [gate]\npass_rate = 0.5\n[defaults]\nrepeat = 4\nretries = {{ max = 1 }}\n{list}"
    ))
}

/// Runs all shards into `shards`. Returns their folders.
fn run_shards(runner: &Runner, count: u32) -> Vec<String> {
    let shard = |index| {
        let shard = format!("{index}/{count}");
        let ran = runner.exec(&["--shard", &shard, "--into", "shards/{shard}", "--scheduler-exit"]);
        ran.expect(0);
        let width = count.to_string().len();
        format!("shards/{index:0width$}-of-{count}")
    };
    (1..=count).map(shard).collect()
}

fn merge(runner: &Runner, shards: &[String], more: &[&str]) -> Finished {
    let shards = shards.iter().map(String::as_str);
    let args: Vec<_> = ["merge", "--into", "results/whole"].into_iter().chain(shards).collect();
    runner.run(&[&args, more].concat())
}

fn at(runner: &Runner, path: &str) -> Run {
    Run { dir: runner.path(path) }
}

/// Returns the attempts of each trial without times, numbers and places, which differ from run to run.
fn canonical(run: &Run) -> BTreeMap<String, Vec<Value>> {
    let mut trials: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for mut row in run.rows() {
        for key in [
            "seq",
            "session",
            "crc",
            "started_at",
            "duration_ms",
            "usage",
            "logs",
            "judged",
            "grades",
        ] {
            let has = row.as_object_mut().unwrap().remove(key).is_some();
            if has && ["logs", "judged", "grades"].contains(&key) {
                row[key] = true.into();
            }
        }
        if row["test"] == "logs" {
            // The time that is left.
            row["output"].take();
        }
        trials.entry(row["trial"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    trials
}

/// Returns the files of a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => _ = found.insert(path.clone(), fs::read(&path).unwrap()),
        }
    }
    found
}

#[test]
fn same_shards_merged_at_once_make_one_run() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    for round in 0..times(6, 60) {
        let into = format!("results/whole-{round}");
        let args = ["merge", "--json", "--into", &into, &shards[0], &shards[1]];
        let both = [(); 2].map(|()| runner.started(&args)).map(Running::finish);
        let outcome = |ran: Finished| ran.expect(0).document()["outcome"].clone();
        let outcomes = both.map(outcome);
        let is_known = |outcome: &Value| outcome == "merged" || outcome == "already-merged";
        assert!(outcomes.iter().all(is_known), "{outcomes:?}");
        assert!(outcomes.contains(&json!("merged")), "{outcomes:?}");
    }
    let runs = runner.list();
    assert!(runs.iter().all(|run| run["state"] == runs[0]["state"]), "{runs:?}");
}

#[test]
fn merged_shards_equal_one_run() {
    let runner = all_kinds_of_rows();
    runner.exec(&["--into", "one/run"]).expect(0);
    let shards = run_shards(&runner, 3);
    let before = files(&runner.path("shards"));
    merge(&runner, &shards, &["--dry-run"]).expect(0).says(&["24 of 24 trials can be merged"]);
    assert!(!runner.path("results").exists());
    merge(&runner, &shards, &[]).expect(0).says(&["passed", "results/whole"]);
    let changed = files(&runner.path("shards")) != before;
    assert!(!changed, "a shard has changed");
    let (one, whole) = (at(&runner, "one/run"), at(&runner, "results/whole"));
    assert_eq!(canonical(&whole), canonical(&one));
    assert_numbered(&whole.rows());
    let (manifest, other) = (whole.manifest(), one.manifest());
    for key in ["status", "verdict", "counts", "gate", "metadata", "scenario", "labels"] {
        assert_eq!(manifest[key], other[key], "{key}");
    }
    assert_eq!(manifest["merged"].as_array().unwrap().len(), 3);
    runner.run(&["verify"]).expect(0);
    // Readers find logs and outputs of a shard.
    runner.run(&["logs", "latest"]).expect(0).says(&["logs@hostile#1"]);
    let shown = runner.run(&["show", "latest", "large"]).expect(0);
    shown.says(&["large"]);
    let judged = whole.rows_of("graded").into_iter().find(|row| row["judged"].is_u64()).unwrap();
    let base = &whole.rows()[judged["judged"].as_u64().unwrap() as usize - 1];
    assert_eq!((&base["trial"], &base["outcome"]), (&judged["trial"], &json!("ungraded")));
    let logs = whole.bytes("logs.jsonl");
    for row in whole.rows_of("logs") {
        let [at, length] = ["at", "bytes"].map(|key| row["logs"][key].as_u64().unwrap() as usize);
        let log: Value = serde_json::from_slice(&logs[at..at + length]).unwrap();
        assert_eq!((&log["trial"], &log["session"]), (&row["trial"], &row["session"]));
    }
    // Artifacts are not copied.
    let artifacts = files(&whole.dir.join("artifacts"));
    assert!(!artifacts.is_empty());
    assert!(artifacts.keys().all(|path| path.metadata().unwrap().nlink() > 1));
    // The shards are not needed any more.
    fs::remove_dir_all(runner.path("shards")).unwrap();
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "whole", "--rerun", "failed"]).expect(0);
    assert_numbered(&whole.rows());
    runner.run(&["rescore", "whole"]).expect(0);
}

#[test]
fn order_of_shards_changes_no_byte() {
    let runner = all_kinds_of_rows();
    let mut shards = run_shards(&runner, 3);
    merge(&runner, &shards, &[]).expect(0);
    let whole = at(&runner, "results/whole");
    let manifest = whole.bytes("benchmark.json");
    shards.reverse();
    // They were merged before.
    snapshot(&merge(&runner, &shards, &[]).expect(0));
    assert_eq!(whole.bytes("benchmark.json"), manifest);
    let other: Vec<_> = shards.iter().map(String::as_str).collect();
    runner.run(&[&["merge", "--into", "other/whole"], &other[..]].concat()).expect(0);
    let other = at(&runner, "other/whole");
    for name in ["index.jsonl", "logs.jsonl", "scenario.toml"] {
        assert!(whole.bytes(name) == other.bytes(name), "{name}");
    }
    let stable = |run: &Run| {
        let mut manifest = run.manifest();
        // The merge has a command, a process and a time of its own.
        for list in ["sessions", "transitions"] {
            manifest[list].as_array_mut().unwrap().pop();
        }
        for key in ["completed_at", "rows"] {
            manifest[key].take();
        }
        manifest
    };
    assert_eq!(stable(&whole), stable(&other));
    // Another result of a shard is another run.
    runner.run(&["resume", "shards/1-of-3", "--rerun", "all"]);
    snapshot(&merge(&runner, &shards, &[]).expect(2));
    assert_eq!(whole.bytes("benchmark.json"), manifest);
}

#[test]
fn all_problems_of_shards_are_named() {
    let runner = shards::runner();
    let mut shards = run_shards(&runner, 4);
    let of_other_plan = ["--into", "other/3-of-4", "--shard", "3/4", "--provider", "a"];
    runner.exec(&of_other_plan);
    runner.exec(&["--into", "other/1-of-2", "--shard", "1/2"]);
    runner.exec(&["--into", "other/none"]);
    fs::create_dir(runner.path("other/notes")).unwrap();
    runner.write("other/file", "");
    fs::rename(runner.path("other/3-of-4"), runner.path("shards/3-of-4-other")).unwrap();
    shards[2] = "shards/3-of-4-other".to_owned();
    // A row of shard 1 is damaged, and one of shard 2 is replaced by one of shard 4.
    let [first, second] = [0, 1].map(|index| at(&runner, &shards[index]));
    let text = first.text("index.jsonl");
    // The order of the rows is not that of the plan.
    let (row, rest) = text.split_once('\n').unwrap();
    let [is, other] = match row.contains("\"passed\"") {
        true => ["\"passed\"", "\"failed\""],
        false => ["\"failed\"", "\"passed\""],
    };
    first.write("index.jsonl", format!("{}\n{rest}", row.replacen(is, other, 1)));
    let text = second.text("index.jsonl");
    let foreign = at(&runner, &shards[3]).text("index.jsonl");
    let (_, rest) = text.split_once('\n').unwrap();
    let line = sealed(foreign.lines().next().unwrap());
    second.write("index.jsonl", format!("{line}\n{rest}"));
    // A run of another format.
    let copy = runner.path("other/format");
    fs::create_dir(&copy).unwrap();
    let manifest = at(&runner, &shards[3]).text("benchmark.json");
    fs::write(copy.join("benchmark.json"), manifest.replace("\"format\": 3", "\"format\": 2"))
        .unwrap();
    shards.extend(
        ["other/1-of-2", "other/none", "other/notes", "other/file", "other/missing"]
            .map(str::to_owned),
    );
    shards.extend(["./shards/4-of-4", "other/format"].map(str::to_owned));
    let ran = merge(&runner, &shards, &["--allow-holes"]).expect(2);
    ran.says(&[
        "nothing was merged",
        "shards/1-of-4/index.jsonl, line 1: the checksum does not match",
        "shards/2-of-4/index.jsonl, line 1:",
        "the row is of another run",
        "shards/3-of-4-other: it has another plan than",
        "other/1-of-2: it is one of 2 shards, and shards/1-of-4 is one of 4",
        "shards/4-of-4: shard 4/4 is given twice, also as ./shards/4-of-4",
        "other/none: not a shard",
        "other/notes: not a run",
        "other/file: it is a file, not a folder",
        "other/missing: there is no such folder",
        "other/format: ",
        "its format is 2",
    ]);
    assert!(!runner.path("results").exists(), "there is a merged run");
}

#[test]
fn shards_with_other_random_numbers_are_refused() {
    let runner = Runner::new(&["hostile"]);
    let scenario = |keys: &str| {
        let grader = r#"[graders.judge]
plugin = "hostile.wasm"
input = { do = "echo", value = { verdict = "pass" } }
[providers.hostile]
plugin = "hostile.wasm"
"#;
        let test = r#"a | { do = "echo", value = 1 } | graders = ["judge"]"#;
        runner.scenario(&format!("{keys}[defaults]\nrepeat = 2\n{grader}{}", tests(test)));
    };
    for (folder, keys, code) in [("plain", "", 0), ("exact", "[run]\ndeterministic = true\n", 2)] {
        scenario(keys);
        let shards = [1, 2].map(|index| {
            let (into, shard) = (format!("{folder}/{index}"), format!("{index}/2"));
            runner.exec(&["--shard", &shard, "--into", &into]).expect(0);
            into
        });
        // An earlier version gave the grader the numbers of its provider.
        let second = at(&runner, &shards[1]);
        let mut manifest = second.manifest();
        manifest["metadata"].as_object_mut().unwrap().remove("random_recipe");
        second.write("benchmark.json", manifest.to_string());
        let into = format!("{folder}/whole");
        let merge = ["merge", "--into", &into, &shards[0], &shards[1]];
        snapshot(&runner.run(&merge).expect(code));
    }
}

#[test]
fn running_shard_is_not_merged() {
    let runner = Runner::endless(4, "sleep", "");
    let mut command = runner.command(&[
        "exec",
        "scenario.toml",
        "--json",
        "--shard",
        "1/1",
        "--into",
        "results/part",
    ]);
    let running = Running::start(&mut command);
    wait_until("it runs", || running.printed().contains("\"started\""));
    let ran = runner.run(&["merge", "results/part", "--into", "results/whole"]).expect(2);
    snapshot(&ran);
    running.kill();
    // Its process is dead, so all of its trials are holes.
    let ran = runner.run(&["merge", "results/part", "--into", "results/whole"]).expect(2);
    snapshot(&ran);
}

#[test]
fn merged_run_with_holes_is_finished_by_resume() {
    let mut transcript = Transcript::default();
    let runner = all_kinds_of_rows();
    runner.exec(&["--into", "one/run"]).expect(0);
    let mut shards = run_shards(&runner, 4);
    shards.remove(1);
    transcript.add("merge", &merge(&runner, &shards, &[]).expect(2));
    let ran = merge(&runner, &shards, &["--allow-holes", "--json"]).expect(4);
    let document = ran.document();
    assert_eq!((&document["outcome"], &document["missing"]), (&json!("merged"), &json!([2])));
    let whole = at(&runner, "results/whole");
    let manifest = whole.manifest();
    assert_eq!((&manifest["status"], &manifest["reason"]), (&json!("incomplete"), &json!("holes")));
    let message = manifest["message"].as_str().unwrap();
    let hole = document["holes"][0].as_str().unwrap();
    assert!(message.contains(hole) && message.contains("missing: shard 2/4"), "{message}");
    assert!(!results(&whole).contains_key(hole));
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "whole"]).expect(0);
    assert_eq!(canonical(&whole), canonical(&at(&runner, "one/run")));
    for key in ["counts", "verdict", "gate"] {
        assert_eq!(whole.manifest()[key], at(&runner, "one/run").manifest()[key], "{key}");
    }
    // The run is still that of these shards.
    snapshot(&merge(&runner, &shards, &["--allow-holes"]).expect(0));
    transcript.check("merged_run_with_holes_is_finished_by_resume");
}

/// A `--rerun` of a shard selects trials among its own, also if the merged run has others with the same outcome.
#[test]
fn reruns_of_shards_select_no_other_trials() {
    let runner = Runner::hostile(&format!(
        "[defaults]\nrepeat = 12\n{}",
        tests("f | { do = \"echo\", value = 1 } | equals = 2\nlast | { do = \"sleep\", ms = 1 } |")
    ));
    let shards = run_shards(&runner, 2);
    let [first, second] = [0, 1].map(|index| at(&runner, &shards[index]));
    // The second shard repeats its failed trials, and stops after one.
    let rerun = ["resume", "shards/2-of-2", "--rerun", "failed", "-j", "1"];
    runner.run(&[&rerun[..], &["--fail-fast", "1"]].concat()).expect(4);
    let rows = second.rows().len();
    let again = second.rows().iter().filter(|row| row["session"] == 2).count() as u64;
    let left = second.count("failed") - again;
    assert!(left > 0 && again > 0, "{again} of {left}");
    snapshot(&merge(&runner, &shards, &[]).expect(2));
    merge(&runner, &shards, &["--allow-holes"]).expect(4);
    let whole = at(&runner, "results/whole");
    assert_eq!(whole.rows().len(), first.rows().len() + rows);
    let pending = runner.run(&["resume", "whole", "--dry-run"]).expect(0).stdout;
    assert_eq!(pending.lines().count() as u64, left, "{pending}");
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "whole", "--fail-fast", "off"]).expect(1);
    assert_eq!(whole.rows().len() as u64, (first.rows().len() + rows) as u64 + left);
    // A finished rerun of a shard leaves nothing to do.
    runner.run(&[&rerun[..], &["--fail-fast", "off"]].concat()).expect(1);
    let args = ["merge", "--into", "results/second", "shards/1-of-2", "shards/2-of-2"];
    runner.run(&args).expect(1);
    snapshot(&runner.run(&["resume", "second"]).expect(1));
    runner.run(&["verify", "second"]).expect(0);
}

#[test]
fn rescored_shards_keep_their_judgements() {
    let runner = Runner::hostile(&format!(
        "[defaults]\nrepeat = 6\n{}",
        tests("t | { do = \"echo\", value = 1 } | equals = 2")
    ));
    let shards = run_shards(&runner, 2);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["rescore", &shards[0]]).expect(0);
    let args = ["merge", &shards[0], &shards[1], "--into", "results/part"];
    snapshot(&runner.run(&args).expect(1));
    snapshot(&runner.run(&["rescore", "part"]).expect(0));
    runner.run(&["rescore", &shards[1]]).expect(0);
    merge(&runner, &shards, &[]).expect(0);
    let whole = at(&runner, "results/whole");
    assert_eq!((whole.count("passed"), whole.rows().len()), (6, 12));
    runner.run(&["verify"]).expect(0);
    snapshot(&runner.run(&["resume", "whole"]).expect(0));
}

#[test]
fn merged_run_lists_graders_of_all_shards() {
    let test = |expect: &str| tests(&format!("t | {{ do = \"echo\", value = 1 }} | {expect}"));
    let repeats = "[defaults]\nrepeat = 6\n";
    let runner = Runner::hostile(&format!("{repeats}{}", test("equals = 1")));
    let shards = run_shards(&runner, 2);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let text = text.replace("equals = 1", "graders = [\"one\"]");
    let grader = "[graders.one]\nplugin = \"bundled:echo\"\ninput = { verdict = \"pass\" }\n";
    runner.scenario(&format!("{text}\n{grader}"));
    runner.run(&["rescore", &shards[1]]).expect(0);
    merge(&runner, &shards, &[]).expect(0);
    let whole = at(&runner, "results/whole");
    let shown = runner.show(&whole)["graders"].clone();
    assert_eq!((&shown[0]["grader"], shown.as_array().map(Vec::len)), (&json!("one"), Some(1)));
    assert_eq!(whole.manifest()["planned_graders"], json!([]));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn gate_of_merged_run_is_of_all_trials() {
    let runner = Runner::new(&[]);
    let list = tests("good | 1 | equals = 1\nbad | 1 | equals = 2");
    runner.scenario(&format!(
        "[gate]\nmax_errors = 0\npass_rate = 0.5\n[providers.a]\nplugin = \"bundled:echo\"\n[defaults]\nrepeat = 5\n{list}"
    ));
    let shards = run_shards(&runner, 4);
    snapshot(&merge(&runner, &shards, &[]).expect(0));
    let gate = at(&runner, "results/whole").manifest()["gate"].take();
    assert_eq!(merge(&runner, &shards, &["--json"]).expect(0).document()["gate"], gate);
    let rate = gate["conditions"].as_array().unwrap().iter().find(|one| one["key"] == "pass_rate");
    let rate = rate.unwrap();
    assert_eq!(
        (&gate["held"], &rate["trials"], &rate["value"]),
        (&json!(true), &json!(10), &json!(0.5))
    );
}

#[test]
fn folder_with_other_files_is_not_merged_into() {
    let runner = shards::runner();
    let shards = run_shards(&runner, 2);
    fs::create_dir_all(runner.path("results/whole")).unwrap();
    runner.write("results/whole/notes", "mine");
    snapshot(&merge(&runner, &shards, &[]).expect(2));
    fs::remove_file(runner.path("results/whole/notes")).unwrap();
    // An empty folder is used, and a results root with its own files names its shards.
    let all: Vec<_> = fs::read_dir(runner.path("shards")).unwrap().collect();
    let all = all
        .into_iter()
        .map(|entry| format!("shards/{}", entry.unwrap().file_name().to_str().unwrap()));
    let all: Vec<_> = all.filter(|path| !path.contains("/.")).collect();
    assert!(all.len() > 3, "{all:?}");
    merge(&runner, &all, &[]).expect(1);
    let ran = runner.run(&["merge", "--into", "results/whole", "results/whole"]);
    snapshot(&ran.expect(2));
}

#[test]
fn merged_run_has_the_reports_of_its_scenario() {
    let runner = Runner::new(&[]);
    let list = tests("good | 1 | equals = 1\nbad | 1 | equals = 2");
    runner.scenario(&format!(
        "[report]\njunit = true\ncsv = \"all.csv\"\n[providers.a]\nplugin = \"bundled:echo\"\n[defaults]\nrepeat = 5\n{list}"
    ));
    let shards = run_shards(&runner, 2);
    merge(&runner, &shards, &[]).expect(1).says(&["report: results/whole/junit.xml"]);
    let whole = at(&runner, "results/whole");
    assert_eq!(whole.text("junit.xml").matches("<testcase").count(), 10);
    assert_eq!(whole.text("all.csv").lines().count(), 11);
    let ran =
        runner.run(&["merge", &shards[0], "--into", "results/holes", "--allow-holes", "--json"]);
    assert_eq!(ran.expect(4).document()["outcome"], "merged");
    assert!(runner.path("results/holes/junit.xml").exists());
}

#[test]
fn lost_report_of_a_merge_is_an_error() {
    let runner = Runner::new(&[]);
    // In a page, each of these characters takes four.
    let input = "<".repeat(2000);
    runner.scenario(&format!(
        "[report]\nhtml = true\n[providers.a]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"a\"\nrepeat = 60\ninput = \"{input}\"\nexpect = {{ equals = \"b\" }}\n"
    ));
    let shards = run_shards(&runner, 2).join(" ");
    // In blocks of 512 or 1024 bytes, which are enough for the rows.
    let script =
        format!("ulimit -f 700; exec \"$runner\" merge --into results/whole --json {shards}");
    let ran = Running::start(&mut runner.shell(&script)).finish().expect(7);
    ran.says(&["cannot write results/whole/report.html", "`ulimit -f`"]);
    assert_eq!(
        [&ran.document()["outcome"], &ran.document()["run"]["exit_code"]],
        [&json!("merged"), &json!(1)]
    );
}

#[test]
fn no_run_is_put_into_a_shard() {
    let mut transcript = Transcript::default();
    let runner = shards::runner();
    let shards = run_shards(&runner, 2);
    let before = files(&runner.path("shards"));
    let into = ["--into", "shards/2-of-2/whole"];
    transcript.run(&runner, &[&["merge", &shards[0], &shards[1]], &into[..]].concat()).expect(2);
    transcript.exec(&runner, &into).expect(2);
    assert!(files(&runner.path("shards")) == before, "a shard has changed");
    transcript.check("no_run_is_put_into_a_shard");
}

#[test]
fn shard_that_lacks_its_store_is_named() {
    let runner = shards::runner();
    let shards = run_shards(&runner, 2);
    fs::create_dir(runner.path("copy")).unwrap();
    fs::rename(runner.path(&shards[0]), runner.path("copy/1-of-2")).unwrap();
    let ran = runner.run(&["merge", "copy/1-of-2", &shards[1], "--into", "results/whole"]);
    snapshot(&ran.expect(2));
}

#[cfg(debug_assertions)]
#[test]
fn death_while_merging_leaves_no_run() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    let before = files(&runner.path("shards"));
    let mut deaths = 0;
    for place in PLACES {
        for (count, action) in [(1, "kill"), (2, "kill"), (1, "full")] {
            let mut command = runner.command(&["merge", "--into", "results/whole"]);
            command.args(&shards).env("RUNNER_FAULT", format!("{place}:{action}:{count}"));
            let ran = Running::start(&mut command).finish();
            if ran.code == Some(0) {
                fs::remove_dir_all(runner.path("results")).unwrap();
                continue;
            }
            deaths += 1;
            assert!(ran.code.is_none() || ran.code == Some(7), "{place}: {ran:?}");
            assert_eq!(runner.list(), Vec::<Value>::new(), "{place}");
            runner.run(&["prune", "--keep-last", "10", "--yes"]).expect(0);
            let left: Vec<_> = fs::read_dir(runner.path("results")).into_iter().flatten().collect();
            let is_left = |name: &str| name.starts_with(".gone-") || name == "whole";
            let mut names = left.iter().map(|entry| entry.as_ref().unwrap().file_name());
            assert!(
                !names.any(|name| is_left(name.to_str().unwrap())),
                "{place} {action}: {left:?}"
            );
        }
    }
    assert!(deaths >= 2 * 6, "only {deaths} deaths");
    assert!(files(&runner.path("shards")) == before, "a shard has changed");
    merge(&runner, &shards, &[]).expect(0);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn sorted_and_doubled_rows_are_merged_once() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    merge(&runner, &shards, &[]).expect(0);
    let whole = at(&runner, "results/whole");
    let (rows, logs) = (whole.bytes("index.jsonl"), whole.bytes("logs.jsonl"));
    for shard in &shards {
        let shard = at(&runner, shard);
        let text = shard.text("index.jsonl");
        let mut lines: Vec<_> = text.lines().rev().collect();
        lines.insert(1, lines[0]);
        shard.write("index.jsonl", lines.join("\n") + "\n");
    }
    let args: Vec<_> = shards.iter().map(String::as_str).collect();
    runner.run(&[&["merge", "--into", "results/again"], &args[..]].concat()).expect(0);
    let again = at(&runner, "results/again");
    assert!(again.bytes("index.jsonl") == rows && again.bytes("logs.jsonl") == logs);
    runner.run(&["verify", "again"]).expect(0);
}

#[test]
fn calls_are_merged_with_their_sessions() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    let start = r#"{"start":{"clock":"2026-11-20T09:18:04.015Z","timeout_us":1,"compile_key":"0123456789abcdef"}}"#;
    let lines = |run: &str, place: usize| {
        let session = &at(&runner, run).manifest()["sessions"][place];
        let trial = |repeat| {
            calls(&format!("logs@hostile#{repeat}"), 9, session, &"0".repeat(32), &[start])
        };
        [trial(1), trial(2)].concat().concat()
    };
    at(&runner, &shards[0]).write("calls.jsonl", lines(&shards[0], 0));
    // One line of the second shard is damaged, and the last one is torn.
    let damaged = lines(&shards[1], 0).replacen("logs", "sgol", 1);
    at(&runner, &shards[1]).write("calls.jsonl", damaged + "{\"v\":1,");
    merge(&runner, &shards, &[]).expect(0);
    let whole = at(&runner, "results/whole");
    let second = lines("results/whole", 1).lines().nth(1).unwrap().to_owned() + "\n";
    assert_eq!(whole.text("calls.jsonl"), lines("results/whole", 0) + "{}\n" + &second);
    assert_eq!(whole.dir.metadata().unwrap().mode() & 0o777, 0o700);
    runner.run(&["verify"]).expect(0).says(&["calls.jsonl:3: it is damaged"]);
}

/// The tail of a row has its place by the text that the runner writes.
#[test]
fn row_in_another_form_is_not_left_out() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    let shard = at(&runner, &shards[0]);
    let rows = shard.text("index.jsonl");
    let first = rows.lines().next().unwrap();
    let spaced = sealed(&first.replacen(",\"fingerprint\":", ", \"fingerprint\":", 1));
    shard.write("index.jsonl", rows.replacen(first, &spaced, 1));
    runner.run(&["verify", &shards[0]]).expect(0);
    // Which row is the first differs.
    merge(&runner, &shards, &[]).expect(2).says(&["1-of-2/index.jsonl:", "a row"]);
    assert!(!runner.path("results/whole").exists());
}

#[test]
fn one_of_two_merges_into_a_folder_wins() {
    let runner = all_kinds_of_rows();
    let shards = run_shards(&runner, 2);
    let start = |shards: &[String]| {
        Running::start(runner.command(&["merge", "--into", "results/whole"]).args(shards))
    };
    let (first, second) = (start(&shards), start(&shards));
    let codes = [first, second].map(|merge| merge.finish().code);
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 2))), "{codes:?}");
    assert_numbered(&at(&runner, "results/whole").rows());
    runner.run(&["verify", "whole"]).expect(0);
}

/// Returns the trials that `resume` would run or grade.
fn pending(runner: &Runner, run: &str) -> BTreeSet<String> {
    let ran = runner.run(&["resume", run, "--dry-run"]).expect(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

/// Shards are killed, resumed, repeated and judged again at random. The merged run has the state of each trial.
#[test]
fn merged_run_has_the_state_of_any_shards() {
    let mut random = Random::new();
    for _ in 0..times(2, 60) {
        let runner = all_kinds_of_rows();
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        let count = 1 + random.below(3);
        let mut folders = Vec::new();
        for index in 1..=count {
            let folder = format!("shards/{index}");
            let shard = format!("{index}/{count}");
            let exec = ["exec", "scenario.toml", "--shard", &shard, "--into", &folder, "--json"];
            let mut commands = vec![exec.map(str::to_owned).to_vec()];
            for _ in 0..random.below(4) {
                let more = [
                    &["resume", &folder, "--rerun", "failed"][..],
                    &["resume", &folder, "--rerun", "logs*"],
                    &["resume", &folder, "--rerun", "outcome(passed)"],
                    &["rescore", &folder],
                    &["resume", &folder],
                ];
                let more = more[random.below(5)].iter().chain(&["--json"]);
                commands.push(more.map(ToString::to_string).collect());
            }
            for command in commands {
                let other = text.replace("equals = 2", &format!("equals = {}", random.below(3)));
                if command[0] == "rescore" {
                    runner.scenario(&other);
                }
                let command: Vec<_> = command.iter().map(String::as_str).collect();
                let mut running = runner.started(&[&command, &["-j", "2"][..]].concat());
                let rows = random.below(20);
                wait_until("there are rows", || {
                    running.printed().lines().count() >= rows || !running.is_alive()
                });
                if random.below(2) == 0 {
                    running.kill();
                } else {
                    running.finish();
                }
                runner.scenario(&text);
            }
            if runner.path(&folder).join("benchmark.json").exists() {
                folders.push(folder);
            }
        }
        if folders.is_empty() {
            continue;
        }
        let ran = merge(&runner, &folders, &["--allow-holes"]);
        assert!(matches!(ran.code, Some(0 | 1 | 4)), "{ran:?}");
        let whole = at(&runner, "results/whole");
        let (rows, newest) = (whole.rows(), results(&whole));
        assert_numbered(&rows);
        let mut expected = BTreeSet::new();
        for folder in &folders {
            let shard = at(&runner, folder);
            for (trial, row) in results(&shard) {
                for key in ["outcome", "attempt", "output", "checks", "grades", "flaky"] {
                    assert_eq!(newest[&trial][key], row[key], "{trial} of {folder}");
                }
            }
            expected.extend(pending(&runner, folder));
        }
        let missing = (1..=count).filter(|index| !folders.contains(&format!("shards/{index}")));
        for index in missing {
            let shard = format!("{index}/{count}");
            let ran = runner.exec(&["--shard", &shard, "--dry-run"]).expect(0);
            expected.extend(ran.stdout.lines().map(str::to_owned));
        }
        let left = if ran.code == Some(4) { pending(&runner, "whole") } else { BTreeSet::new() };
        assert_eq!(left, expected);
        runner.run(&["verify", "whole"]).expect(0);
        runner.run(&["resume", "whole"]);
        assert_eq!(whole.ending()[0], "completed");
        runner.run(&["verify", "whole"]).expect(0);
    }
}

#[test]
fn more_shards_than_open_files_are_reported() {
    let runner = shards::runner();
    let shards = run_shards(&runner, 16).join(" ");
    let merge = |limit: &str| {
        // On one core: the program needs eight files for the worker of each, also for a merge.
        let script = format!(
            r#"cpu=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
            ulimit {limit}; exec taskset -c "$cpu" "$runner" merge --into results/whole {shards}"#
        );
        Running::start(&mut runner.shell(&script)).finish()
    };
    // The soft limit is raised.
    merge("-Sn 40").expect(1);
    snapshot(&runner.run(&["show"]));
    fs::remove_dir_all(runner.path("results")).unwrap();
    merge("-n 40").expect(3).says(&["cannot open", "`ulimit -n`"]);
    assert!(!runner.path("results").exists());
}
