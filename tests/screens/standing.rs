//! How a run stands, while it runs and afterwards, and what to type next.

use serde_json::{Value, json};

use super::{interrupted, three};
use crate::support::runner::{CommandExt as _, Signal};

/// The last line of what a program says, if it is not empty.
fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[test]
fn what_a_person_reads_last_tells_of_the_tests_once_they_have_been_run() {
    let runner = three();
    for (test, code, line) in [
        ("pass", 0, "✓ passed: 1 of 1"),
        ("fail", 1, "✗ failed: 1 of 1"),
    ] {
        let ran = runner.exec(&["--test", test]).expect(code);
        assert!(last_line(&ran.stderr).starts_with(line), "{}", ran.stderr);
        for command in ["wait", "logs"] {
            let args: &[&str] = match command {
                "logs" => &["logs", "-f"],
                _ => &["wait"],
            };
            let ran = runner.run(args);
            assert!(last_line(&ran.stderr).ends_with(line), "{}", ran.stderr);
        }
        let shown = runner.run(&["show"]).expect(0).stdout;
        assert!(shown.lines().next().unwrap().ends_with(line), "{shown}");
        let again = runner.run(&["stop", "latest"]).expect(0).stdout;
        assert!(
            last_line(&again).ends_with(&format!("had ended already: {line}")),
            "{again}"
        );
    }
    let both = runner.exec(&["--exclude", "endless"]).expect(1);
    assert!(
        last_line(&both.stderr).starts_with("✗ failed: 1 of 2 (1 passed, 1 failed) in "),
        "{}",
        both.stderr
    );
    assert!(
        both.stderr.trim_end().ends_with("; exit code 1"),
        "{}",
        both.stderr
    );
    assert!(!both.stderr.contains("completed"), "{}", both.stderr);

    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let id = runner.runs().pop().unwrap().id().to_owned();
    let line = "◐ incomplete (interrupted, SIGINT): 2 of 3 done (1 passed, 1 failed)";
    let waited = runner.run(&["wait"]).expect(130);
    assert!(
        last_line(&waited.stderr).ends_with(line),
        "{}",
        waited.stderr
    );

    runner.run(&["cancel", &id]).expect(0);
    let waited = runner.run(&["wait"]).expect(4);
    let line = "⊘ cancelled: 2 of 3 done (1 passed, 1 failed)";
    assert!(
        last_line(&waited.stderr).ends_with(line),
        "{}",
        waited.stderr
    );
    assert!(!waited.stderr.contains("resume"), "{}", waited.stderr);
}

#[test]
fn an_ending_that_leaves_work_says_what_to_type_next() {
    let runner = three();
    let ran = interrupted(&runner, &["-j", "1"]).finish().expect(130);
    assert!(!ran.stdout.contains("resume with"), "{}", ran.stdout);
    let id = runner.only_run().id().to_owned();
    let next = format!("resume with: runner resume --from {}", &id[id.len() - 8..]);
    for args in [
        &["wait"][..],
        &["logs", "-f"],
        &["list"],
        &["stop", "latest"],
    ] {
        runner.run(args).says(&[&next]);
    }
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(
        shown.contains(&next.replace("resume with:", "resume   ")),
        "{shown}"
    );

    // What is offered does what it says.
    let offered: Vec<_> = next.split(' ').skip(3).collect();
    runner
        .run(&[&offered[..], &["--dry-run"]].concat())
        .expect(0)
        .says(&["1 of 3 trials would run"]);
    let elsewhere = ["--results", "other root"];
    runner
        .exec(
            &[
                &["--fail-fast", "--test", "fail", "--repeat", "2", "-j1"][..],
                &elsewhere,
            ]
            .concat(),
        )
        .expect(4)
        .says(&["--results 'other root' "]);
    runner
        .run(&[&["list"], &elsewhere[..]].concat())
        .expect(0)
        .says(&["--results 'other root'"]);

    // Another run whose id ends in the same way makes it longer, by the digit before the dash.
    let (head, tail) = id.split_at(id.len() - 9);
    let digit = if head.ends_with('0') { '1' } else { '0' };
    let twin = format!("2026-01-01_00-00-00-00{digit}{tail}");
    fs_err::create_dir(runner.path(&format!("results/{twin}"))).unwrap();
    runner
        .run(&["list"])
        .expect(0)
        .says(&[&format!("--from {}", &id[id.len() - 10..])]);
}

#[test]
fn a_run_that_somebody_works_on_is_shown_with_its_progress_and_what_is_in_flight() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    live.wait_until_running(1);
    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in [
        "○ running: 2 of 3 done (1 passed, 1 failed)",
        "running   for ",
        &format!("owner     pid {} on ", live.id()),
        "progress  2 of 3 (66 %), ",
        "in flight endless@hostile#1 for ",
    ] {
        assert!(shown.contains(text), "`{text}` is not in\n{shown}");
    }
    let document = runner.run(&["show", "--json"]).expect(0).document();
    let seen = &document["live"];
    assert_eq!(
        (&seen["pid"], &seen["done"]),
        (&json!(live.id()), &json!(2))
    );
    let attempt = &seen["in_flight"][0];
    assert_eq!(
        (&attempt["trial"], &attempt["attempt"]),
        (&json!("endless@hostile#1"), &json!(1))
    );
    assert!(attempt["elapsed_ms"].is_number(), "{attempt}");

    live.end_by(Signal::INT).0.expect(130);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(
        !shown.contains("in flight") && !shown.contains("owner"),
        "{shown}"
    );
}

#[test]
fn what_was_in_flight_when_a_process_died_is_named() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    live.wait_until_running(1);
    live.kill();
    // Before a sweep and after it.
    for _ in 0..2 {
        let shown = runner.run(&["show"]).expect(0).stdout;
        assert!(shown.contains("\ndied with endless@hostile#1\n"), "{shown}");
        let history = runner.run(&["show", "--history"]).expect(0).stdout;
        let line = "\nsession 1 died with endless@hostile#1 in flight\n";
        assert!(history.contains(line), "{history}");
        runner.run(&["cleanup", "--no-dry-run"]).expect(0);
    }
    let mut live = runner.command(&["resume", "--json"]).start();
    live.wait_until_running(1);
    live.end_by(Signal::INT).0.expect(130);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(!shown.contains("died with"), "{shown}");
    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(history.contains("session 1 died with"), "{history}");
}

#[test]
fn documents_have_times_counts_and_the_exit_code() {
    let runner = three();
    let mut live = runner.start(&["-j", "1"]);
    live.wait_for(|event| event["row"]["test"] == "fail");
    let document = |args: &[&str]| -> Value { runner.run(args).expect(0).document() };
    assert_eq!(
        document(&["show", "--json"])["run"]["exit_code"],
        Value::Null
    );
    let stopped = document(&["stop", "--json"]);
    live.finish().expect(4);
    assert_eq!(stopped["result"], "stopped");
    let listed = document(&["list", "--json"])["runs"][0].clone();
    let shown = document(&["show", "--json"])["run"].clone();
    for run in [&stopped, &listed, &shown] {
        assert_eq!(
            (&run["exit_code"], &run["counts"]["passed"]),
            (&json!(4), &json!(1))
        );
        assert!(
            run["started_at"].is_string() && run["completed_at"].is_string(),
            "{run}"
        );
        assert!(run["elapsed_ms"].as_f64().unwrap() > 0.0, "{run}");
    }
    let cancelled = document(&["cancel", "latest", "--json"]);
    assert_eq!(
        (&cancelled["status"], &cancelled["exit_code"]),
        (&json!("cancelled"), &json!(4))
    );
    runner.exec(&["--test", "pass"]).expect(0);
    assert_eq!(document(&["list", "--json"])["runs"][0]["exit_code"], 0);
}
