//! Deadlines of attempts, trials and runs.

use crate::support::{
    runner::Runner,
    truth::{assert_consistent, assert_whole},
};

#[test]
fn trial_timeout_bounds_all_attempts() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "a"
        input = { do = "error", kind = "unavailable" }
        retries = { max = 1000, backoff = "20ms" }
        trial_timeout = "4s"
        [[tests]]
        id = "b"
        input = { do = "sleep" }
        timeout = "10m"
        trial_timeout = "2s"
        "#,
    );
    runner.exec(&["-j", "2"]).expect(1);
    let run = runner.only_run();
    let rows = run.rows_of("a");
    assert!((3..1000).contains(&rows.len()), "{}", rows.len());
    assert!(rows.iter().rev().skip(1).all(|row| row["final"] == false));
    assert_eq!(rows.last().unwrap()["final"], true);
    let row = run.row("b");
    assert_eq!(row["outcome"], "timeout");
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains("trial_timeout"), "{message}");
    assert_consistent(&runner);
}

#[test]
fn end_names_the_timeout_that_passed() {
    for (key, flags, message) in [
        ("", &["--timeout", "60ms"][..], "the time of the run is over: `--timeout` is 60 ms"),
        ("timeout_minutes = 0.001", &[], "the time of the run is over: `timeout_minutes` is 60 ms"),
    ] {
        let test = "[[tests]]\nid = \"a\"\ninput = { do = \"sleep\", ms = 9000 }\n";
        let runner = Runner::hostile(&format!("{key}\n{test}"));
        runner.exec(flags).expect(4).says(&[message]);
        runner.run(&["show"]).says(&[message]);
        let log = runner.only_run().text("runner.log");
        assert!(log.contains(message), "{log}");
    }
}

#[test]
fn run_timeout_leaves_work_to_resume() {
    let scenario = r#"
        [[tests]]
        id = "quick"
        input = { do = "echo", value = 1 }
        [[tests]]
        id = "slow"
        repeat = 2
        timeout = "10m"
        input = { do = "wait-for-stop", until_attempt = 2 }
        "#;
    // A busy machine may need longer to start its workers.
    let ended = ["0.05", "0.2", "1"].iter().find_map(|minutes| {
        let runner = Runner::hostile(scenario);
        // Compiles the guest, which would count.
        runner.run(&["validate", "scenario.toml"]).expect(0);
        runner.exec(&["-j", "2", "--timeout-minutes", minutes]).expect(4);
        let run = runner.only_run();
        (!run.rows_of("quick").is_empty()).then_some((runner, run))
    });
    let (runner, run) = ended.expect("a minute is enough");
    assert_eq!(run.ending(), ["incomplete", "timeout", "", "none"]);
    assert_eq!(run.row("quick")["outcome"], "passed");
    let slow = run.rows_of("slow");
    assert!(
        slow.iter().all(|row| row["outcome"] == "stopped" && row["final"] == false),
        "{slow:?}"
    );
    assert_eq!(runner.list()[0]["reason"], "timeout");
    assert_consistent(&runner);
    runner.run(&["resume", "latest", "-j", "2", "--timeout-minutes", "5"]).expect(0);
    assert_whole(&runner, 3);
}
