//! Grades of attempts that a timeout or a limit has cut off, by what is left in their workspaces.

use std::fs;

use serde_json::{Value, json};

use super::graded_workspaces::{change, graded};
use crate::support::{
    guests::component,
    run::Run,
    runner::Runner,
    running::Running,
    web::{hello, net},
};

/// An attempt that writes its answer and ends only by its timeout.
fn endless() -> Value {
    json!([["write", "/work/answer", "42"], ["sleep"]])
}

/// Creates a scenario with a grader of the workspace that ends with this code, and one that needs an output.
fn scenario(keys: &str, code: u8, tests: &[(&str, Value)]) -> Runner {
    let look = json!([["read", "/work/answer"], ["exit", code]]);
    let graders = [("look", "workspace = \"read\"", look), ("text", "", json!([]))];
    graded(&format!("[defaults]\ntimeout = \"1s\"\n{keys}"), &graders, tests)
}

/// Returns the outcome of a row, whether it is final, and its graders with their verdicts.
fn judged(row: &Value) -> Value {
    let grades = row["grades"].as_array().into_iter().flatten();
    let grades: Vec<_> =
        grades.map(|grade| json!([grade["grader"], grade["verdict"], grade["partial"]])).collect();
    json!([row["outcome"], row["final"], grades])
}

/// Returns the newest row.
fn last(run: &Run) -> Value {
    run.rows().pop().unwrap()
}

fn all_judged(run: &Run) -> Value {
    run.rows().iter().map(judged).collect()
}

/// The retry comes first, and the grader without a workspace is not called.
#[test]
fn graders_add_their_grades_to_a_timeout() {
    let retries = "retries = { max = 1, on = [\"timeout\"] }\n";
    for (code, verdict) in [(0, "pass"), (3, "fail")] {
        let runner = scenario(retries, code, &[("a", endless())]);
        let ran = runner.exec(&[]).expect(1);
        assert!(!ran.stdout.contains("2 repeats"), "{}", ran.stdout);
        let run = runner.only_run();
        let expected = json!([
            ["timeout", false, []],
            ["timeout", true, []],
            ["timeout", true, [["look", verdict, true]]]
        ]);
        assert_eq!(all_judged(&run), expected);
        let row = last(&run);
        assert_eq!((&row["cut_by"], &row["error"]["code"]), (&json!("timeout"), &json!("timeout")));
        assert_eq!(run.manifest()["counts"]["timeout"], 1);
        assert_eq!(run.ending()[0], "completed");
        runner.run(&["verify"]).expect(0);
        let rows = run.rows();
        runner.run(&["rescore"]).expect(1);
        assert_eq!(run.rows(), rows, "there is nothing to judge");
        let shown = runner.run(&["show", run.id(), "a"]).expect(0);
        shown.says(&["look", "partial"]);
    }
}

#[test]
fn what_is_left_decides_if_the_test_says_so() {
    let keys = "judge_partial = true\n";
    for (code, expect, outcome, graders) in [
        (0, "", "passed", 1),
        (3, "", "failed", 1),
        (0, ", workspace = { changed = [] }", "failed", 0),
        (0, ", workspace = { files.answer.equals = \"42\" }", "passed", 1),
    ] {
        let runner = scenario(keys, code, &[("a", endless())]);
        change(&runner, "\"text\"]", &format!("\"text\"]{expect}"));
        let exit = (outcome != "passed").into();
        runner.exec(&[]).expect(exit);
        let run = runner.only_run();
        let row = last(&run);
        assert_eq!(
            (&row["outcome"], &row["cut_by"]),
            (&json!(outcome), &json!("timeout")),
            "{row}"
        );
        let grades = row["grades"].as_array().map_or(0, Vec::len);
        assert_eq!((grades, &row["flaky"]), (graders, &Value::Null), "{row}");
        runner.run(&["verify"]).expect(0);
        runner.run(&["rescore"]).expect(exit);
        assert_eq!(last(&run), row, "there is nothing to judge");
    }
}

/// A limit that ends the guest cuts its attempt off, and a reply that is too large is an answer.
#[test]
fn only_limits_that_end_the_guest_are_judged() {
    let server = hello();
    let runner = scenario("judge_partial = true\n", 0, &[("a", json!([["list", "/work"]]))]);
    change(&runner, "from = \"base\" }\n", "from = \"base\" }\nlimits = { reply = \"8B\" }\n");
    runner.exec(&[]).expect(1);
    let row = last(&runner.only_run());
    let ended = [&row["outcome"], &row["error"]["code"], &row["cut_by"], &row["grades"]];
    assert_eq!(json!(ended), json!(["error", "reply", null, null]));

    let input = format!(
        "{{ do = \"usage\", reports = [9], requests = 21, url = \"{}\" }}",
        server.url("/")
    );
    let runner = scenario("judge_partial = true\n", 0, &[("a", json!(input))]);
    change(&runner, &json!(input).to_string(), &input);
    change(&runner, "[\"read\",\"/work/answer\"]", "[\"list\",\"/work\"]");
    let keys = "from = \"base\" }\n";
    let limits =
        format!("{keys}limits = {{ total_tokens = 9 }}\ngrants.{}\n", net(&[&server.origin()]));
    change(&runner, keys, &limits);
    change(&runner, "plugin = \"files.wasm\"", "plugin = \"hostile.wasm\"");
    runner.link(&component("hostile"), "hostile.wasm");
    runner.exec(&[]).expect(0);
    let row = last(&runner.only_run());
    let ended = [&row["outcome"], &row["error"]["class"], &row["cut_by"]];
    assert_eq!(json!(ended), json!(["passed", "limit", "total_tokens"]));
}

/// An agent that does nothing would pass a check of unchanged files.
#[test]
fn checks_that_nothing_passes_do_not_decide() {
    let runner = scenario("judge_partial = true\n", 0, &[("a", endless())]);
    let expect = "{ equals = \"42\", workspace = { unchanged = [\"src\"] }, graders = [\"text\"] }";
    change(&runner, "{ graders = [\"look\", \"text\"] }", expect);
    runner.exec(&[]).expect(1);
    assert_eq!(judged(&last(&runner.only_run())), json!(["timeout", true, []]));
}

/// The session ends by its timeout, with a summary, although all trials have their results.
#[test]
fn timeout_of_the_session_ends_partial_grades() {
    let runner = scenario("", 0, &[("a", endless())]);
    change(&runner, "[\"read\",\"/work/answer\"]", "[\"sleep\"]");
    let ran = runner.exec(&["--timeout", "3s"]).expect(1);
    assert_eq!(runner.only_run().ending()[0], "completed");
    ran.says(&["1 of 1"]);
}

/// The run is killed at each of its rows, and each end is continued.
#[test]
fn killed_runs_keep_what_was_judged() {
    for (keys, kept) in [("", ["timeout"; 2]), ("judge_partial = true\n", ["ungraded", "passed"])] {
        for row in 1..=2 {
            let runner = scenario(keys, 0, &[("a", endless())]);
            let mut command = runner.command(&["exec", "scenario.toml"]);
            command.env("RUNNER_FAULT", format!("rows-write:kill:{row}"));
            Running::start(&mut command).finish();
            let run = runner.only_run();
            runner.run(&["resume"]);
            runner.run(&["verify"]).expect(0);
            let rows = run.rows_of("a");
            let calls = rows.iter().filter(|row| row["judged"].is_null()).count();
            assert_eq!(calls, 1, "the attempt was not kept: {rows:?}");
            assert_eq!(rows[0]["outcome"], kept[0]);
            let end = rows.last().unwrap();
            assert_eq!((&end["outcome"], &end["final"]), (&json!(kept[1]), &json!(true)));
            runner.run(&["rescore"]);
            assert_eq!(last(&run)["grades"].as_array().unwrap().len(), 1);
        }
    }
}

/// Rows of an earlier version have no `cut_by`.
#[test]
fn rescore_judges_what_stored_attempts_left() {
    let runner = scenario("", 0, &[("a", endless())]);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    change(&runner, "expect = { graders = [\"look\", \"text\"] }", "");
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let without = run.text("index.jsonl").replace(",\"cut_by\":\"timeout\"", "");
    let lines: Vec<_> = without.lines().map(crate::support::run::sealed).collect();
    run.write("index.jsonl", lines.join("\n") + "\n");
    assert_eq!(last(&run)["cut_by"], Value::Null);

    runner.scenario(&text);
    runner.run(&["rescore"]).expect(1);
    let partial = json!(["timeout", true, [["look", "pass", true]]]);
    assert_eq!(judged(&last(&run)), partial);
    runner.scenario(&text.replace("[defaults]\n", "[defaults]\njudge_partial = true\n"));
    runner.run(&["rescore"]).expect(0);
    assert_eq!(judged(&last(&run)), json!(["passed", true, [["look", "pass", null]]]));
    assert_eq!(last(&run)["cut_by"], "timeout");
    runner.scenario(&text);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(judged(&last(&run)), partial);
    assert_eq!(last(&run)["error"]["code"], "timeout");
    runner.run(&["verify"]).expect(0);
    assert_eq!(run.rows().iter().filter(|row| row["judged"].is_null()).count(), 1);
}
