//! Rows that were counted and are gone, and rows of another run: both are told, and none is believed.

use serde_json::Value;

use crate::support::runner::{Ran, Run, Runner};

/// So many tests, of which every other one fails.
fn scenario(prefix: &str, tests: usize) -> String {
    let tests = (1..=tests).map(|n| {
        format!(
            "[[tests]]\nid = \"{prefix}{n}\"\ninput = {}\nexpect.equals = 1\n",
            n % 2
        )
    });
    let head = "name = \"rows\"\n[providers.p]\nplugin = \"bundled:echo\"\n";
    head.to_owned() + &tests.collect::<String>()
}

/// A run of 14 tests that is completed, and one that gave up after its third.
fn run(args: &[&str], code: i32) -> (Runner, Run) {
    let runner = Runner::new(&[]);
    runner.scenario(&scenario("t", 14));
    runner
        .exec(&[&["--quiet", "-j1"], args].concat())
        .expect(code);
    let run = runner.only_run();
    (runner, run)
}

const TOLD: &str = "the manifest counts 14 final rows, and 12 of them are missing";

#[test]
fn whoever_reads_rows_says_how_many_are_gone_and_counts_those_that_are_left() {
    let (runner, run) = run(&[], 1);
    let commands: [&[&str]; 5] = [
        &["show"],
        &["show", "--json"],
        &["report"],
        &["report", "--csv"],
        &["report", "--html"],
    ];
    for command in commands {
        let ran = runner.run(command).expect(0);
        assert!(!ran.stderr.contains("missing"), "{command:?}: {ran:?}");
    }
    run.keep_rows(2);
    for command in commands {
        let ran = runner.run(command).expect(0);
        let told = format!("{TOLD}; `runner resume` makes them again");
        ran.says(&[&told, run.id()]);
        assert_eq!(ran.stderr.matches("missing").count(), 1, "{ran:?}");
    }
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("2 of 14: 1 passed, 1 failed"), "{shown}");
    let report = runner.run(&["report"]).expect(0).stdout;
    assert!(report.contains("2 of 14 trials"), "{report}");
    let document = runner.run(&["show", "--json"]).document();
    assert_eq!(document["run"]["counts"]["passed"], 1);

    // A damaged line is told as such, and not once more as missing.
    let (runner, run) = self::run(&[], 1);
    let index = run.read("index.jsonl");
    run.write("index.jsonl", index.replacen("\"seq\":3,", "\"seq\":9,", 1));
    let ran = runner.run(&["show"]).expect(0);
    ran.says(&["line 3 of"]);
    assert!(!ran.stderr.contains("missing"), "{ran:?}");
    assert!(ran.stdout.contains("13 of 14"), "{ran:?}");
}

#[test]
fn a_resume_says_which_rows_are_gone_on_the_screen_and_in_the_log() {
    let told = "14 final rows, and 12 of them are missing; their trials run again";
    let (runner, run) = run(&[], 1);
    run.keep_rows(2);
    runner
        .run(&["resume", "--from", "latest"])
        .expect(1)
        .says(&[told]);
    assert!(run.read("runner.log").contains(told));
    runner.run(&["verify"]).expect(0);
    // Nothing is missing any more, and what is asked to run again is not.
    for args in [&["--rerun", "all"][..], &["--rerun", "failed"], &[]] {
        let ran = runner.run(&[&["resume", "--from", "latest"], args].concat());
        assert!(!ran.expect(1).stderr.contains("missing"), "{args:?}");
    }

    // A run that was cut short, of which every row is gone.
    let (runner, run) = self::run(&["--fail-fast=3"], 4);
    let counted = run.lines().len();
    let told = format!("counts {counted} final rows, and {counted} of them are missing");
    fs_err::remove_file(run.dir.join("index.jsonl")).unwrap();
    let ran = runner.run(&["resume", "--from", "latest", "--rerun", "failed"]);
    // Its limit of failures holds for this session, too.
    ran.expect(4).says(&[&told]);
    assert!(run.read("runner.log").contains(&told));
    let shown = runner.run(&["show"]).expect(0);
    assert!(!shown.stderr.contains("missing"), "{shown:?}");
}

// A release build has no failpoints.
#[cfg(debug_assertions)]
#[test]
fn rows_that_went_while_a_session_was_dead_are_told_by_whoever_sweeps_it() {
    let (runner, run) = run(&["--fail-fast=3"], 4);
    let counted = run.lines().len();
    let resume = ["resume", "--from", "latest", "-j1"];
    runner
        .start_failing(&resume, "row.written@1=kill")
        .finish_killed();
    let is_quiet = |ran: &Ran| !ran.stderr.contains("missing");
    let shown = runner.run(&["show"]).expect(0);
    assert!(is_quiet(&shown), "{shown:?}");
    run.keep_rows(1);
    let told = format!(
        "counts {counted} final rows, and {} of them are missing",
        counted - 1
    );
    runner.run(&["show"]).expect(0).says(&[&told]);
    let swept = runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    swept.says(&[&told]);
    assert!(run.read("runner.log").contains(&told));
    let resumed = runner.run(&["resume", "--from", "latest"]).expect(4);
    assert!(is_quiet(&resumed), "{resumed:?}");
}

#[test]
fn rows_of_another_run_are_found_and_not_gone_on_with() {
    let runner = Runner::new(&[]);
    for prefix in ["other", "t"] {
        runner.scenario(&scenario(prefix, 14));
        runner.exec(&["--quiet", "-j1"]).expect(1);
    }
    let (other, run) = (&runner.runs()[0], &runner.runs()[1]);
    runner.run(&["verify", run.id()]).expect(0);
    let own = run.read("index.jsonl");
    run.write("index.jsonl", other.read("index.jsonl"));
    let verified = runner.run(&["verify", run.id(), "--json"]).expect(1);
    let damages = &verified.document()["damages"];
    assert_eq!(damages.as_array().map(Vec::len), Some(14), "{damages}");
    assert_eq!(damages[0]["line"], 1);
    let problem = damages[0]["problem"].as_str().unwrap_or_default();
    assert!(
        problem.contains("other1@p#1 has place 0, which is that of t1@p#1"),
        "{problem}"
    );
    let manifest = run.read("benchmark.json");
    for args in [&[][..], &["--rerun", "all"], &["--dry-run"]] {
        let ran = runner.run(&[&["resume", "--from", run.id()], args].concat());
        ran.expect(2)
            .says(&["`other1@p#1`", "`t1@p#1`", "another run's row"]);
    }
    assert_eq!(run.read("benchmark.json"), manifest);

    // A single one behind its own is found as well.
    let cut =
        |text: &str| -> Vec<String> { text.lines().map(|line| format!("{line}\n")).collect() };
    let (own, foreign) = (cut(&own), cut(&other.read("index.jsonl")));
    run.write("index.jsonl", own[..13].concat() + &foreign[13]);
    let verified = runner.run(&["verify", run.id(), "--json"]).expect(1);
    assert_eq!(verified.document()["damages"][0]["line"], 14);
    assert_eq!(verified.document()["damages"][1], Value::Null);
    let ran = runner.run(&["resume", "--from", run.id()]).expect(2);
    ran.says(&["row 14 of run"]);
}
