//! Bounds of graders: rate, concurrency, `fail_fast` and grants; and graders whose workers are killed.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    guests::command, run::Run, runner::Runner, running::Running, truth::assert_whole,
    wait::wait_until,
};

/// Creates a scenario with `repeat` outputs for the grader `judge`, which is the hostile guest.
fn graded(keys: &str, repeat: u32, scenario: &str) -> Runner {
    Runner::hostile(&format!(
        r#"
        {scenario}
        [graders.judge]
        plugin = "hostile.wasm"
        {keys}
        [[tests]]
        id = "a"
        repeat = {repeat}
        input = {{ do = "echo" }}
        expect = {{ graders = ["judge"] }}
        "#
    ))
}

/// Fails unless the provider has run once for each of `trials`.
#[track_caller]
fn assert_no_output_is_made_again(run: &Run, trials: usize) {
    let rows = run.rows();
    assert_eq!(rows.iter().filter(|row| row["judged"].is_null()).count(), trials);
    assert!(rows.iter().all(|row| row["attempt"] == 1));
}

#[test]
fn rate_of_a_grader_spaces_its_calls() {
    let runner = graded("rate = \"2/s\"\ninput = { do = \"verdict\", verdict = \"pass\" }", 6, "");
    let started = Instant::now();
    runner.exec(&["-j", "4"]).expect(0);
    assert!(started.elapsed() >= Duration::from_millis(2_400), "{:?}", started.elapsed());
    let rows = assert_whole(&runner, 6).rows();
    // The provider does not wait.
    let place = |outcome: &str, count: usize| {
        let mut places = (0..rows.len()).filter(|row| rows[*row]["outcome"] == outcome);
        places.nth(count - 1).unwrap()
    };
    assert!(place("ungraded", 6) < place("passed", 4), "{rows:?}");
}

#[test]
fn fail_of_a_grader_counts_for_fail_fast() {
    let runner =
        graded("input = { do = \"verdict\", verdict = \"fail\" }", 5, "[run]\nfail_fast = 2");
    runner.exec(&["-j", "1"]).expect(4).says(&["2 trials did not pass"]);
    let run = runner.only_run();
    assert_eq!(run.ending()[..2], ["incomplete", "fail-fast"]);
    assert_eq!(run.count("failed"), 2);
    runner.run(&["verify"]).expect(0);
    runner.run(&["resume", "--fail-fast", "off"]).expect(1);
    assert_no_output_is_made_again(&assert_whole(&runner, 5), 5);
}

/// Kills all workers of a session while the grader runs, and waits for its end.
#[track_caller]
fn kill_grader(runner: &Runner, mut running: Running) {
    running.wait_until_running(runner, 1);
    running.workers().iter().for_each(|worker| worker.signal(Signal::KILL));
    running.finish().expect(1);
    let run = assert_judged(runner);
    assert_no_output_is_made_again(&run, 1);
    runner.run(&["verify"]).expect(0);
}

/// Fails unless the grader has answered, if only with a text.
#[track_caller]
fn assert_judged(runner: &Runner) -> Run {
    let run = runner.only_run();
    let last = run.rows().pop().unwrap();
    let told = json!([last["final"], last["error"]["class"], last["grades"][0]["error"]["code"]]);
    assert_eq!(told, json!([true, "grader", "answer"]), "{last}");
    assert_eq!(last["grades"][0]["attempt"], 1);
    run
}

#[test]
fn killed_workers_of_resume_and_rescore_lose_no_grade() {
    // Longer than a busy machine needs to send a signal.
    let runner = graded("input = { do = \"sleep\", ms = 2500 }", 1, "");
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    kill_grader(&runner, runner.started(&["resume", "latest", "-j", "1", "--json"]));
    let rows = runner.only_run().rows().len();
    kill_grader(&runner, runner.started(&["rescore", "-j", "1", "--json"]));
    assert!(runner.only_run().rows().len() > rows, "a grader that failed is asked again");
}

/// Kills the workers of a session whenever they run the grader. Fails unless the grader is given up.
#[track_caller]
fn kill_until_given_up(runner: &Runner, mut running: Running) {
    let mut killed = 0;
    while running.is_alive() {
        let is_grading = || {
            let run = runner.runs().pop();
            run.is_some_and(|run| !run.in_flight(SystemTime::UNIX_EPOCH).is_empty())
        };
        wait_until("it is graded", || !running.is_alive() || is_grading());
        for worker in running.workers() {
            worker.signal(Signal::KILL);
            killed += 1;
        }
        let _ = fs::remove_file(runner.only_run().dir.join("live.json"));
        assert!(killed < 20, "it is called again and again");
    }
    running.finish().expect(1);
    let run = runner.only_run();
    let last = run.rows().pop().unwrap();
    let told = json!([last["final"], last["error"]["class"], last["error"]["code"]]);
    assert_eq!(told, json!([true, "grader", "crash"]), "{last}");
    assert_no_output_is_made_again(&run, 1);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn grader_that_kills_sessions_is_an_error() {
    let endless = || graded("input = { do = \"sleep\" }\ntimeout = \"10m\"", 1, "");
    let runner = endless();
    kill_until_given_up(&runner, runner.start(&["-j", "1"]));
    kill_until_given_up(&runner, runner.started(&["rescore", "latest", "-j", "1", "--json"]));
    let runner = endless();
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    kill_until_given_up(&runner, runner.started(&["resume", "latest", "-j", "1", "--json"]));
}

#[test]
fn denials_of_a_grader_name_its_grants() {
    let runner = graded("input = { do = \"http\" }", 2, "");
    let grants = ["judge: GET https://example.com, in 2 attempts", "[graders.judge.grants]"];
    let ran = runner.exec(&[]).expect(1);
    ran.says(&grants);
    ran.says(&["add \"https://example.com\" to `net` of [graders.judge.grants]"]);
    let run = assert_whole(&runner, 2);
    for row in run.rows().iter().filter(|row| row["final"] == true) {
        assert_eq!(row["grades"][0]["denied"][0]["what"], "GET https://example.com", "{row}");
        assert!(row["denied"].is_null());
    }
    runner.run(&["show"]).expect(0).says(&grants);
    runner.run(&["show", "latest", "a@hostile#1"]).expect(0).says(&["denied: GET https://"]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn unused_grader_is_noted_once() {
    let idle = "[graders.idle]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"b\"\ninput = { do = \"echo\" }";
    let runner = graded("input = { do = \"verdict\", verdict = \"pass\" }", 1, idle);
    for args in [&["validate", "scenario.toml"][..], &["exec", "scenario.toml"]] {
        let ran = runner.run(args).expect(0);
        assert_eq!(ran.stderr.matches("no test names grader `idle`").count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("`judge` in"), "{}", ran.stderr);
    }
    // The selected tests may need fewer graders.
    let ran = runner.exec(&["--test", "b"]).expect(0);
    assert!(!ran.stderr.contains("no test names"), "{}", ran.stderr);
}

#[test]
fn grader_that_never_sees_the_output_is_noted() {
    let text = "plugin = \"bundled:echo\"\nmin_score = 0.5\n";
    for (grader, fault) in [
        (format!("{text}input = \"Grade it.\""), "its `input` has no `{{output}}`"),
        (
            format!(
                "{text}input = {{ score = 1, a = [\"{{{{reference}}}} {{{{{{{{output}}}}\"] }}"
            ),
            "its `input` has no `{{output}}`",
        ),
        (format!("{text}input = {{ score = 1, of = [\"{{{{output.text}}}}\"] }}"), ""),
        (format!("{text}input = {{ score = 1, of = \"a {{{{metrics.tokens}}}}\" }}"), ""),
        (text.to_owned(), ""),
        (
            "plugin = \"command.wasm\"\nstdin = \"{{input.reference}}\"".to_owned(),
            "its `args` and `stdin` have no",
        ),
        (
            "plugin = \"command.wasm\"\nargs = [\"cat\"]".to_owned(),
            "its `args` and `stdin` have no",
        ),
        ("plugin = \"command.wasm\"".to_owned(), "its `args` and `stdin` have no"),
        ("plugin = \"command.wasm\"\nprotocol = \"json\"".to_owned(), ""),
        ("plugin = \"command.wasm\"\nargs = [\"{{input.output.x}}\"]".to_owned(), ""),
        ("plugin = \"command.wasm\"\nstdin = \"{{input}}\"".to_owned(), ""),
        ("plugin = \"command.wasm\"\ninput = \"{{output}}\"\nstdin = \"{{input}}\"".to_owned(), ""),
    ] {
        let runner = Runner::hostile(&format!(
            "[graders.judge]\n{grader}\n[[tests]]\nid = \"a\"\ninput = {{ do = \"echo\" }}\nexpect = {{ graders = [\"judge\"] }}\n"
        ));
        runner.link(&command(), "command.wasm");
        for args in [&["validate", "scenario.toml"][..], &["exec", "scenario.toml", "--dry-run"]] {
            let ran = runner.run(args);
            let count = ran.stderr.matches("grader `judge` judges every output alike").count();
            assert_eq!(count, usize::from(!fault.is_empty()), "{grader}: {}", ran.stderr);
            assert!(ran.stderr.contains(fault), "{grader}: {}", ran.stderr);
        }
    }
}
