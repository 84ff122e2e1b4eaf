//! `--rerun`: which trials run again, also after interruptions.

use std::{fs, time::Duration};

use rustix::process::Signal;

use super::continuing::{Model, model};
use super::{FOUR, assert_rows, assert_status, assert_unchanged, waiting};
use crate::messages::outputs::snapshot;
use crate::support::runner::Runner;

#[test]
fn each_selector_runs_what_it_means() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let mut expected = [("breaks", 1), ("fails", 1), ("hangs", 1), ("passes", 1)];
    for (rerun, again) in [
        ("errors", &["breaks", "hangs"][..]),
        ("failed", &["breaks", "fails", "hangs"]),
        ("all", &["breaks", "fails", "hangs", "passes"]),
        ("pa*", &["passes"]),
        ("fails@hostile#1", &["fails"]),
        ("{hangs,breaks}", &["hangs", "breaks"]),
    ] {
        runner.run(&["resume", "--rerun", rerun]).expect(1);
        for (test, count) in &mut expected {
            *count += usize::from(again.contains(test));
        }
        assert_rows(&run, &expected);
        let manifest = run.manifest();
        let session = manifest["sessions"].as_array().unwrap().last().unwrap();
        assert_eq!(session["rerun"], rerun);
        assert_status(&runner, "completed");
    }
    // Attempt numbers continue, and rows were only appended.
    for test in ["passes", "breaks"] {
        let rows = run.rows_of(test);
        let attempts: Vec<_> = rows.iter().map(|row| row["attempt"].as_u64().unwrap()).collect();
        assert!(attempts.iter().copied().eq(1..=rows.len() as u64), "{attempts:?}");
    }
    assert_eq!(run.count("failed"), 1);
}

#[test]
fn unmatched_rerun_changes_nothing() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&["--test", "passes"]).expect(0);
    assert_unchanged(&runner, || {
        for rerun in ["failed", "errors", "other*"] {
            runner.run(&["resume", "--rerun", rerun]).expect(5);
        }
        runner.run(&["resume", "--rerun", "{a"]).expect(2).says(&["{a", "glob"]);
        // The rerun is finished.
        let ran = runner.run(&["resume", "latest"]).expect(0);
        snapshot(&ran);
        runner.run(&["resume", "--accept-changes"]).expect(0);
        runner.run(&["resume", "--accept-changes", "--rerun", "failed"]).expect(0);
    });
}

#[test]
fn errors_are_named_with_what_runs_them_again() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&[]).expect(1);
    let ran = runner.run(&["resume", "latest"]).expect(1);
    snapshot(&ran);
}

/// Writes twelve trials, each of which waits for an answer of the server.
fn naps() -> (Runner, Model) {
    let server = model(Duration::ZERO);
    // In memory: if a busy disk does not sync in time, the watchdog ends a stopped session without its end.
    let runner = Runner::hostile_in_memory("");
    runner.scenario(&format!(
        "{}[[tests]]\nid = \"nap\"\nrepeat = 12\ninput = {{ path = \"/\" }}\n",
        waiting("hostile", &server)
    ));
    (runner, server)
}

/// Lets `count` more trials end.
fn answer(server: &Model, count: usize) {
    server.hold_from(server.requests().len() + count + 1);
}

#[test]
fn killed_rerun_is_finished_by_the_next() {
    let (runner, server) = naps();
    runner.exec(&["-j", "2"]).expect(0);
    let run = runner.only_run();
    answer(&server, 2);
    let mut again = runner.started(&["resume", "--rerun", "all", "-j", "1", "--json"]);
    again.wait_for_rows(2);
    // The third has asked, so its request is none of the next session's.
    server.wait_for_requests(15);
    let told = again.kill().acknowledged().len();
    // Each trial has a final row, but the run is not completed.
    assert_status(&runner, "incomplete");
    assert_eq!(runner.list()[0]["reason"], "crashed");
    let before = run.rows().len();
    assert!(before >= 12 + told);

    // A stop in the middle keeps it incomplete: another session finishes it.
    answer(&server, 1);
    let mut again = runner.started(&["resume", "-j", "1", "--json"]);
    again.wait_for_rows(1);
    let (stopped, _) = again.end_by(Signal::INT);
    assert_eq!(stopped.code, Some(130));
    assert_status(&runner, "incomplete");
    assert_eq!(run.ending()[1], "interrupted");

    server.open();
    runner.run(&["resume"]).expect(0);
    assert_status(&runner, "completed");
    let finals = run.rows().iter().filter(|row| row["final"] == true).count();
    assert_eq!(finals, 24);
    for repeat in 1..=12 {
        let trial = format!("nap@hostile#{repeat}");
        let rows = run.rows();
        let rows = rows.iter().filter(|row| row["trial"] == trial.as_str() && row["final"] == true);
        assert_eq!(rows.count(), 2, "{trial}");
    }
    runner.run(&["resume", "latest"]).expect(0);
    assert_eq!(run.rows().iter().filter(|row| row["final"] == true).count(), 24);
}

#[test]
fn counts_are_right_during_a_rerun() {
    let (runner, server) = naps();
    runner.exec(&["-j", "4"]).expect(0);
    answer(&server, 3);
    let mut again = runner.started(&["resume", "--rerun", "all", "-j", "1", "--json"]);
    again.wait_for_rows(3);
    let listed = runner.list();
    assert_eq!(listed[0]["status"], "running");
    assert_eq!(listed[0]["counts"]["passed"], 12);
    server.open();
    assert_eq!(again.finish().code, Some(0));
}

#[test]
fn second_resume_names_the_process_of_the_first() {
    // In memory: if a busy disk does not sync in time, the watchdog ends a stopped session without its rows.
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"long\"\ntimeout = \"10m\"\ninput = { do = \"sleep\" }\n",
    );
    let mut ran = runner.start(&[]);
    ran.wait_until_running(&runner, 1);
    ran.end_by(Signal::INT);
    let mut first = runner.started(&["resume", "--json"]);
    first.wait_until_running(&runner, 1);
    let pid = first.process().0.to_string();
    for args in
        [&["resume", "latest"][..], &["resume", "--rerun", "all"], &["resume", "--accept-changes"]]
    {
        runner.run(args).expect(6).says(&[&pid]);
    }
    let (first, _) = first.end_by(Signal::INT);
    assert_eq!(first.code, Some(130));
    assert_rows(&runner.only_run(), &[("long", 2)]);
}

#[test]
fn cancelled_runs_go_on_only_by_force() {
    let (runner, server) = naps();
    answer(&server, 2);
    let mut ran = runner.start(&["-j", "1"]);
    ran.wait_for_rows(2);
    let id = runner.only_run().id().to_owned();
    runner.run(&["cancel", &id]).expect(0);
    assert_eq!(ran.finish().code, Some(4));
    assert_status(&runner, "cancelled");
    assert_unchanged(&runner, || {
        for more in [&[][..], &["--rerun", "all"], &["--accept-changes"], &["--dry-run"]] {
            let ran = runner.run(&[&["resume", id.as_str()], more].concat()).expect(2);
            ran.says(&["cancelled", "--force"]);
        }
    });
    server.open();
    runner.run(&["resume", &id, "--force"]).expect(0);
    assert_status(&runner, "completed");
    assert_eq!(runner.only_run().count("passed"), 12);
}

#[test]
fn altered_content_of_the_store_is_named() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let manifest = run.manifest();
    for key in [&manifest["metadata"]["suite"], &manifest["providers"][0]["digest"]] {
        let digest = key.as_str().unwrap();
        let path = runner.path(&format!("results/store/{}/{digest}", &digest[..2]));
        let bytes = fs::read(&path).unwrap();
        let mut altered = bytes.clone();
        altered[0] ^= 1;
        fs::write(&path, altered).unwrap();
        assert_unchanged(&runner, || {
            runner.run(&["resume", "--rerun", "all"]).expect(2).says(&[digest]);
        });
        fs::remove_file(&path).unwrap();
        runner.run(&["resume", "--rerun", "all"]).expect(2).says(&[digest]);
        fs::write(&path, bytes).unwrap();
    }
    let sha = manifest["metadata"]["scenario_sha256"].as_str().unwrap();
    let text = run.text("scenario.toml");
    run.write("scenario.toml", format!("{text}\n# altered\n"));
    runner.run(&["resume", "--rerun", "all"]).expect(2).says(&[sha, "scenario.toml"]);
    run.write("scenario.toml", text);
    runner.run(&["resume", "--rerun", "all"]).expect(1);
}

#[test]
fn last_failed_runs_what_had_not_passed() {
    let runner = Runner::hostile(FOUR);
    snapshot(&runner.exec(&["--last-failed"]).expect(2));
    runner.exec(&[]).expect(1);
    runner.exec(&["--last-failed"]).expect(1);
    let runs = runner.runs();
    assert_rows(&runs[1], &[("breaks", 1), ("fails", 1), ("hangs", 1)]);

    // A partial run keeps the failures that it did not run.
    let fixed = FOUR.replace("equals = 2", "equals = 1").replace("\"trap\"", "\"echo\"");
    runner.scenario(&format!("{fixed}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"));
    runner.exec(&["--last-failed", "--test", "fails"]).expect(0);
    let ran = runner.exec(&["--last-failed"]).expect(1);
    ran.says(&[&format!("the results of 3 runs; the oldest is {}", runs[0].id())]);
    assert_rows(&runner.runs()[3], &[("breaks", 1), ("hangs", 1)]);
    runner.exec(&["--last-failed", "--test", "breaks"]).expect(5);
}

#[test]
fn last_failed_runs_what_changed_since() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&["--test", "passes"]).expect(0);
    snapshot(&runner.exec(&["--last-failed"]).expect(5));
    let changed = FOUR.replace("equals = 1", "equals = 3");
    runner.scenario(&format!("{changed}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n"));
    let ran = runner.exec(&["--last-failed"]).expect(1);
    snapshot(&ran);
    assert_rows(&runner.runs()[1], &[("passes", 1)]);
    // Its newest result is of the current test.
    let ran = runner.exec(&["--last-failed", "--dry-run"]).expect(0);
    assert!(!ran.stderr.contains("changed since"), "{}", ran.stderr);
}

#[test]
fn misspelt_rerun_of_an_incomplete_run_starts_nothing() {
    let runner = Runner::hostile(FOUR);
    runner.exec(&["-j", "1", "--fail-fast"]);
    assert_status(&runner, "incomplete");
    assert_unchanged(&runner, || {
        for more in [&[][..], &["--accept-changes"], &["--dry-run"]] {
            let ran = runner.run(&[&["resume", "latest", "--rerun", "faild"], more].concat());
            snapshot(&ran.expect(2));
        }
    });
    // A trial without a result may be named.
    runner.run(&["resume", "latest", "--rerun", "hangs", "--fail-fast=off"]).expect(1);
    assert_status(&runner, "completed");
}
