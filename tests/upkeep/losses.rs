//! Rows and manifests that another program has lost, moved or doubled.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::{ended, going_on, held, naps, short};
use crate::support::{
    run::Run,
    runner::{Runner, tests},
};

const PROVIDER: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";

fn echoes(names: &str) -> String {
    let line = |name| format!("{name} | {{ do = \"echo\" }} |");
    tests(&names.chars().map(line).collect::<Vec<_>>().join("\n"))
}

/// Fails unless `list` and `show` report this verdict and number of passed trials.
#[track_caller]
fn assert_counted(runner: &Runner, run: &Run, verdict: &str, passed: u64) {
    for summary in [&runner.list()[0], &runner.show(run)["run"]] {
        assert_eq!(summary["verdict"], verdict, "{summary}");
        assert_eq!(summary["counts"]["passed"], passed, "{summary}");
    }
}

/// Replaces the first row of a test.
fn replace_row(run: &Run, test: &str, change: impl Fn(&str) -> String) {
    let rows = run.text("index.jsonl");
    let key = format!("\"test\":\"{test}\"");
    let row = rows.split_inclusive('\n').find(|row| row.contains(&key)).unwrap();
    run.write("index.jsonl", rows.replacen(row, &change(row), 1));
}

#[test]
fn losses_after_accepted_changes_are_counted() {
    let runner = Runner::hostile(&echoes("abcd"));
    runner.exec(&["-q"]).expect(0);
    runner.scenario(&format!("{}{PROVIDER}", echoes("abce")));
    runner.run(&["resume", "--accept-changes", "-q"]).expect(0);
    let run = runner.only_run();
    assert_counted(&runner, &run, "passed", 4);
    let lose: fn(&str) -> String = |_| String::new();
    let damage: fn(&str) -> String = |row| row.replacen("passed", "pissed", 1);
    for (test, change) in [("a", lose), ("b", damage), ("e", lose)] {
        replace_row(&run, test, change);
        assert_counted(&runner, &run, "damaged", 3);
        runner.run(&["wait"]).expect(8);
        runner.run(&["verify"]).expect(1);
        runner.run(&["resume", run.id(), "-q"]).expect(0);
        assert_counted(&runner, &run, "passed", 4);
        runner.run(&["wait"]).expect(0);
        runner.run(&["verify"]).expect(0);
    }
    // The plan has no such test any more.
    replace_row(&run, "d", lose);
    assert_eq!(runner.list()[0]["verdict"], "damaged");
    runner.run(&["resume", run.id()]).expect(0).says(&["nothing is left to do"]);
    assert_counted(&runner, &run, "passed", 4);
    runner.run(&["verify"]).expect(0);
    run.write("index.jsonl", "");
    assert_counted(&runner, &run, "damaged", 0);
    runner.run(&["resume", run.id(), "-q"]).expect(0);
    assert_counted(&runner, &run, "passed", 4);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn moved_and_doubled_rows_are_no_fault() {
    let runner = Runner::hostile(&tests(
        "a | { do = \"verdict\", verdict = \"fail\" } |\nb | { do = \"echo\" } |\nc | { do = \"echo\" } |",
    ));
    runner.exec(&["-q", "-j", "1"]).expect(1);
    let run = runner.only_run();
    let rows = run.text("index.jsonl");
    let reversed: String = rows.split_inclusive('\n').rev().collect();
    let cut: String = rows.split_inclusive('\n').skip(1).collect();
    let texts = [
        (reversed, "it is not in the place where it was written"),
        (format!("{rows}{rows}"), "it repeats row 1"),
        (cut, "it is row 2, and row 1 belongs here"),
    ];
    for (text, problem) in texts {
        run.write("index.jsonl", text);
        runner.run(&["resume", run.id(), "-q"]).expect(1);
        let verified = runner.run(&["verify"]).expect(0);
        verified.says(&[problem, "another program has changed the file", "no result is lost"]);
        let shown = runner.run(&["show"]).expect(0);
        shown.says(&["a@hostile#1"]);
        assert!(!shown.stdout.contains("2 repeats"), "{}", shown.stdout);
    }
}

#[test]
fn resume_repairs_changes_that_keep_the_time() {
    let runner = naps(3, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    let path = run.dir.join("index.jsonl");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    replace_row(&run, "nap", |row| row.replacen("passed", "pissed", 1));
    fs::File::open(&path).unwrap().set_modified(before).unwrap();
    runner.run(&["verify"]).expect(1).says(&["the checksum does not match"]);
    runner.run(&["resume", run.id(), "-q"]).expect(0);
    runner.run(&["verify"]).expect(0);
    assert_eq!(run.text("index.jsonl").lines().count(), 4);
}

#[test]
fn unreadable_runs_are_listed_and_kept() {
    let runner = naps(1, 1);
    let runs = ended(&runner, 2);
    let manifest = runs[1].text("benchmark.json");
    runs[0].write("benchmark.json", "");
    runs[1].write("benchmark.json", manifest.replacen("\"format\": 3", "\"format\": 9", 1));
    let listed = runner.run(&["list"]).expect(0);
    runner.run(&["reindex"]).expect(0).says(&[runs[0].id(), runs[1].id()]);
    for (run, why) in [(&runs[0], "it is damaged"), (&runs[1], "its format is 9")] {
        listed.says(&[run.id(), why]);
        let pruned = runner.run(&["prune", run.id(), "--yes"]).expect(2);
        pruned.says(&[run.id(), why, "deleted 0 runs"]);
        assert!(run.dir.join("index.jsonl").exists());
    }
}

#[test]
fn damaged_newest_run_stays_the_newest() {
    let runner = naps(1, 1);
    let [older, newest] = ended(&runner, 2).try_into().unwrap();
    let manifest = newest.bytes("benchmark.json");
    for cut in [Some(300), Some(0), None] {
        match cut {
            Some(bytes) => newest.write("benchmark.json", &manifest[..bytes]),
            None => fs::remove_file(newest.dir.join("benchmark.json")).unwrap(),
        }
        let delete = format!("rm -r results/{}", newest.id());
        for command in ["show", "logs", "wait", "verify", "resume"] {
            runner.run(&[command, "latest"]).expect(2).says(&[newest.id(), &delete]);
        }
        runner.run(&["verify"]).expect(2);
        runner.run(&["resume", "--rerun", "all"]).expect(2).says(&[&delete]);
        runner.run(&["prune", newest.id(), "--yes"]).expect(2).says(&[&delete]);
        runner.run(&["list"]).expect(0).says(&[&delete]);
        runner.run(&["show", "latest~1"]).expect(0).says(&[older.id()]);
        runner.exec(&["--last-failed"]).expect(5);
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&text.replace("repeat = 1", "repeat = 2"));
        let ran = runner.exec(&["--dry-run", "--last-failed"]);
        assert_ne!(ran.stderr, "", "{ran:?}");
        runner.scenario(&text);
    }
    fs::remove_dir_all(&newest.dir).unwrap();
    runner.run(&["show", "latest"]).expect(0).says(&[older.id()]);
    let copy = runner.path("results/nightly");
    fs::rename(&older.dir, &copy).unwrap();
    runner.exec(&["-q"]).expect(0);
    fs::write(copy.join("benchmark.json"), "{").unwrap();
    runner.run(&["show", "latest"]).expect(0);
    runner.run(&["show", "latest~1"]).expect(2).says(&["nightly"]);
}

#[test]
fn session_writes_its_lost_manifest_again() {
    let runner = held(2);
    let running = going_on(&runner);
    let run = runner.only_run();
    let works = format!("process {} on ", running.process().0);
    for is_removed in [false, true] {
        if is_removed {
            fs::remove_file(run.dir.join("benchmark.json")).unwrap();
        } else {
            run.write("benchmark.json", "{");
        }
        for args in [&["list"][..], &["show", run.id()], &["verify", run.id()], &["stop", run.id()]]
        {
            let ran = runner.run(args).expect(if args == ["list"] { 0 } else { 2 });
            ran.says(&[&works, "works on the run, and writes the file again when it ends"]);
            assert!(!ran.stderr.contains("rm -r"), "{ran:?}");
        }
    }
    running.end_by(Signal::INT).0.expect(130);
    assert_eq!(run.ending()[..2], ["incomplete", "interrupted"]);
    runner.run(&["resume", "-q", "-j", "2"]).expect(0);
    assert_counted(&runner, &run, "passed", 5);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn damaged_cancelled_runs_continue_by_force() {
    let runner = naps(400, 100);
    going_on(&runner).end_by(Signal::INT).0.expect(130);
    let run = runner.only_run();
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.split_inclusive('\n').take(2).collect::<String>());
    runner.run(&["cancel", run.id()]).expect(0);
    runner.run(&["list"]).expect(0).says(&["damaged (cancelled)"]);
    let forced = format!("runner resume {} --force", run.id());
    runner.run(&["verify"]).expect(1).says(&[&forced]);
    let short = short(&run);
    runner.run(&["show"]).expect(0).says(&[&format!("runner resume {short} --force")]);
    runner.run(&["resume", run.id()]).expect(2).says(&[&forced]);
}

#[test]
fn prune_removes_unfinished_files() {
    let runner = naps(1, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    for name in [".new-benchmark.json", ".new-live.json"] {
        run.write(name, "{");
        runner.run(&["prune", "--keep-last", "1"]).expect(0);
        assert!(run.dir.join(name).exists(), "a preview changes nothing");
        runner.run(&["prune", "--keep-last", "1", "--yes"]).expect(0);
        assert!(!run.dir.join(name).exists());
    }
    assert_eq!(runner.list()[0]["verdict"], "passed");
}

#[test]
fn rows_lost_under_a_session_have_one_answer() {
    for is_replaced in [false, true] {
        let runner = naps(40, 50);
        let mut running = runner.start(&["-j", "1"]);
        running.wait_for_rows(3);
        let run = runner.only_run();
        let rows = run.text("index.jsonl");
        fs::remove_file(run.dir.join("index.jsonl")).unwrap();
        if is_replaced {
            run.write("index.jsonl", rows.lines().next().unwrap().to_owned() + "\n");
        }
        let finished = running.finish().expect(8).events().pop().unwrap();
        assert_eq!([&finished["verdict"], &finished["exit_code"]], [&json!("damaged"), &json!(8)]);
        for _ in 0..2 {
            let listed = &runner.list()[0];
            assert_eq!([&listed["state"], &listed["exit_code"]], [&json!("damaged"), &json!(8)]);
            assert_counted(&runner, &run, "damaged", u64::from(is_replaced));
            runner.run(&["wait", "-q"]).expect(8);
            fs::remove_file(runner.path("results/runner.db")).unwrap();
        }
        runner.run(&["resume", run.id(), "-q", "-j", "20"]).expect(0);
        assert_counted(&runner, &run, "passed", 40);
        runner.run(&["verify"]).expect(0);
    }
}
