//! Graders and stored outputs that are not what they seem: equal graders, own artifacts, hidden secrets, and repeated answers.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::{Runner, tests},
    running::Running,
};

const PROVIDER: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";
const ECHO: &str = r#"{ do = "echo", value = 1 }"#;
const PASS: &str = r#"do = "verdict", verdict = "pass""#;
/// Longer than a busy machine needs to send a signal.
const NAP: &str = r#"do = "sleep", ms = 5000"#;

fn grader(name: &str, input: &str) -> String {
    format!("[graders.{name}]\nplugin = \"hostile.wasm\"\ninput = {{ {input} }}\n")
}

fn scenario(table: &str, graders: &str) -> String {
    format!("{}\n{PROVIDER}\n{graders}", tests(table))
}

/// Returns the newest row of a test.
#[track_caller]
fn newest(run: &Run, test: &str) -> Value {
    run.rows_of(test).pop().unwrap()
}

/// Returns the names of the graders in a row.
fn names(row: &Value) -> Vec<&str> {
    let grades = row["grades"].as_array().into_iter().flatten();
    grades.filter_map(|grade| grade["grader"].as_str()).collect()
}

#[test]
fn equal_graders_keep_their_own_answers() {
    let table = |graders: &str| format!("a | {ECHO} | graders = [{graders}]");
    let both = grader("one", PASS) + &grader("two", r#"do = "echo", value = "no answer""#);
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table(r#""one", "two""#), &both));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let asked = newest(&run, "a")["grades"][0]["duration_ms"].clone();
    // Now both have the settings of the first.
    let equal = grader("one", PASS) + &grader("two", PASS);
    runner.scenario(&scenario(&table(r#""one", "two""#), &equal));
    snapshot(&runner.run(&["rescore"]).expect(0));
    let row = newest(&run, "a");
    assert_eq!((names(&row), &row["grades"][0]["duration_ms"]), (vec!["one", "two"], &asked));

    // A grader with another name has not answered.
    runner.scenario(&scenario(&table(r#""three""#), &grader("three", PASS)));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!(names(&newest(&run, "a")), ["three"]);
    assert!(!run.text("runner.log").contains("was killed"), "{}", run.text("runner.log"));
}

#[test]
fn secret_in_an_escaped_answer_is_redacted() {
    let answers = [
        r#"{"verdict": "pass", "explanation": "hunt\\u0065r2-hunter2"}"#,
        r#"{"verdict": "pass", "explanation": {"hunt\\u0065r2-hunter2": 1}}"#,
        r#"{"verdict": "hunt\\u0065r2-hunter2"}"#,
        r#"{"score": "hunt\\u0065r2-hunter2"}"#,
    ];
    let tests = answers.iter().zip(1..).map(|(answer, index)| {
        let answer = answer.replace('"', "\\\"");
        format!(
            "[[tests]]\nid = \"t{index}\"\ninput = {ECHO}\nreference = \"{answer}\"\nexpect = {{ graders = [\"one\"] }}\n"
        )
    });
    let runner = Runner::new(&["hostile"]);
    let grader = grader("one", r#"do = "echo", value = "{{reference}}""#)
        + "grants = { secrets = [\"KEY\"] }\n";
    runner.scenario(&format!("{}{PROVIDER}{grader}", tests.collect::<String>()));
    let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
    let ran = Running::start(command.env("KEY", "hunter2-hunter2")).finish().expect(1);
    let run = runner.only_run();
    assert_eq!((run.count("passed"), run.count("error")), (2, 2));
    for text in [&ran.stdout, &ran.stderr, &run.text("index.jsonl")] {
        assert!(!text.contains("hunter2-"), "{text}");
    }
    assert_eq!(run.row("t1")["grades"][0]["explanation"], "[secret KEY]");
}

#[test]
fn artifact_of_the_provider_cannot_be_its_output() {
    // The content is not JSON.
    let artifact = r#"{ do = "artifact", name = "output.json" }"#;
    let copy =
        grader("copy", r#"do = "echo", value = { verdict = "pass", explanation = "{{output}}" }"#);
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&format!("a | {artifact} | graders = [\"copy\"]"), &copy));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.row("a")["grades"][0]["explanation"], r#"["bad-name","bad-name"]"#);
    runner.scenario(&scenario(&format!("a | {artifact} | equals = [1]"), ""));
    snapshot(&runner.run(&["rescore"]).expect(1));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn rows_with_long_grades_are_judged_again() {
    let names: Vec<_> = (0..16).map(|index| format!("g{index}")).collect();
    let graders: String =
        names.iter().map(|name| grader(name, r#"do = "judge", text = "{{reference}}""#)).collect();
    let test = |equals: u32| {
        format!(
            "[[tests]]\nid = \"a\"\ninput = {ECHO}\nreference = \"{}\"\nexpect = {{ equals = {equals}, graders = {} }}\n{PROVIDER}{graders}",
            "\\u0001".repeat(5_000),
            json!(names)
        )
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&test(1));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("a")["grades"][0]["explanation"], Value::Null);
    runner.scenario(&test(2));
    snapshot(&runner.run(&["rescore"]).expect(1));
    assert_eq!(newest(&run, "a")["checks"][0]["verdict"], "fail");
}

#[test]
fn tests_that_never_hold_judge_nothing() {
    let runner = Runner::new(&["hostile"]);
    let table = format!("a | {ECHO} | schema = \"schema.json\"");
    runner.scenario(&scenario(&table, ""));
    runner.write("schema.json", r#"{"type": "integer"}"#);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let rows = run.rows().len();
    runner.write("schema.json", r#"{"type": 1}"#);
    snapshot(&runner.run(&["rescore"]).expect(4));
    assert_eq!((run.rows().len(), &*run.ending()[3]), (rows, "passed"));
}

#[test]
fn repeated_answers_are_spent_again() {
    let judge = grader("one", r#"do = "measure", score = 1, tokens = 10"#)
        + "budget = { metrics = { tokens = 25 } }\n";
    let runner = Runner::new(&["hostile"]);
    // Without `min_score` the answer is an error, so each `rescore` asks again.
    runner.scenario(&scenario(&format!("a | {ECHO} | graders = [\"one\"]"), &judge));
    for args in [&["exec", "scenario.toml"][..], &["rescore"], &["rescore"]] {
        runner.run(args).expect(1);
    }
    snapshot(&runner.run(&["resume", "latest", "--rerun", "errors"]).expect(4));
}

#[test]
fn rescore_keeps_limits_of_the_command_line() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&format!("a | {ECHO} | graders = [\"one\"]"), &grader("one", PASS)));
    runner.exec(&["--limit", "memory=64MiB"]).expect(0);
    snapshot(&runner.run(&["rescore"]).expect(0));
}

#[test]
fn outputs_of_other_inputs_are_not_judged() {
    let table = |value: u32| format!("a | {{ do = \"echo\", value = {value} }} | equals = {value}");
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table(1), ""));
    runner.exec(&[]).expect(0);
    runner.scenario(&scenario(&table(2), ""));
    let ran = runner.run(&["rescore", "--explain"]).expect(0);
    snapshot(&ran);
    snapshot(&runner.run(&["rescore"]).expect(0));
}

#[test]
fn lost_outputs_are_counted_when_expectations_change() {
    let table = |equals: u32| {
        format!("a | {{ do = \"huge-reply\", bytes = 300000 }} | equals = {equals}\nb | {ECHO} |")
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table(1), ""));
    runner.exec(&[]).expect(1);
    fs::remove_dir_all(runner.only_run().dir.join("artifacts")).unwrap();
    runner.scenario(&scenario(&table(2), "").replace("id = \"b\"", "id = \"c\""));
    let ran = runner.run(&["rescore"]).expect(1);
    snapshot(&ran);
}

/// Runs a command until it has written an `ungraded` row of a test, and interrupts it.
fn interrupt(runner: &Runner, args: &[&str], test: &str) {
    let mut running = runner.started(args);
    running.wait_for_event(|event| {
        event["row"]["outcome"] == "ungraded" && event["row"]["test"] == test
    });
    running.end_by(Signal::INT).0.expect(130);
}

#[test]
fn interrupted_rescore_leaves_finished_trials_to_no_resume() {
    let table =
        |graders: &str| format!("done | {ECHO} | {graders}\nwaits | {ECHO} | graders = [\"nap\"]");
    let nap = grader("nap", NAP);
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table(""), &nap));
    interrupt(&runner, &["exec", "scenario.toml", "--json", "-j", "1"], "waits");
    runner.scenario(&scenario(&table("graders = [\"nap\"]"), &nap));
    interrupt(&runner, &["rescore", "--json"], "done");
    let run = runner.only_run();
    let rows = run.rows_of("done").len();
    runner.run(&["resume"]).expect(1);
    assert_eq!((run.count("passed"), run.count("error")), (1, 1));
    assert_eq!(run.rows_of("done").len(), rows);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn selected_trial_runs_after_an_interrupted_rescore() {
    let table = |a: &str| format!("a | {ECHO} | {a}\nwaits | {ECHO} | graders = [\"nap\"]");
    let nap = grader("nap", NAP);
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table("equals = 2"), &nap));
    interrupt(&runner, &["exec", "scenario.toml", "--json", "-j", "1"], "waits");
    runner.scenario(&scenario(&table("graders = [\"nap\"]"), &nap));
    interrupt(&runner, &["rescore", "--json"], "a");
    runner.run(&["resume", "--rerun", "failed"]).expect(1);
    assert_eq!(newest(&runner.only_run(), "a")["attempt"], 2);
}

#[test]
fn rescore_names_results_that_a_run_has_lost() {
    let table = |equals: u32| {
        format!("a | {ECHO} | equals = {equals}\nb | {{ do = \"echo\", value = 5 }} | equals = 5")
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&table(2), ""));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    // The checksum of the line is wrong now.
    run.write("index.jsonl", run.text("index.jsonl").replace("\"output\":5", "\"output\":6"));
    let ran = runner.run(&["rescore"]).expect(1);
    snapshot(&ran);
    runner.scenario(&scenario(&table(1), ""));
    snapshot(&runner.run(&["rescore"]).expect(7));
    assert_eq!(run.ending()[..2], ["incomplete", "storage"]);
    runner.run(&["resume"]).expect(0);
}

#[test]
fn messages_tell_graders_from_providers() {
    let test = format!("a | {ECHO} | graders = [\"one\"]");
    let judge = grader("one", r#"do = "measure", score = 1, tokens = 30"#)
        + "min_score = 0.5\nbudget = { metrics = { tokens = 25 } }\n";
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&format!("{test}\nb | {ECHO} | graders = [\"one\"]"), &judge));
    snapshot(&runner.exec(&["-j", "1"]).expect(4));
    let chat = "[graders.two]\nplugin = \"bundled:chat\"\nconfig = { none = 1 }\n";
    runner.scenario(&scenario(&test.replace("one", "two"), chat));
    let ran = runner.run(&["resume", "--dry-run"]).expect(0);
    snapshot(&ran);
    snapshot(&runner.run(&["rescore"]).expect(4));
}

#[test]
fn stop_of_a_rescore_is_reported_as_one() {
    let test = |graders: &str| format!("a | {ECHO} | {graders}");
    let nap = grader("nap", r#"do = "sleep""#) + "timeout = \"10m\"\n";
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(&test(""), ""));
    runner.exec(&[]).expect(0);
    runner.scenario(&scenario(&test("graders = [\"nap\"]"), &nap));
    let mut running = runner.started(&["rescore", "--json"]);
    running.wait_for_event(|event| event["row"]["outcome"] == "ungraded");
    snapshot(&runner.run(&["stop", "latest"]).expect(0));
    running.finish().expect(4);
    assert_eq!(runner.only_run().ending()[0], "completed");
}
