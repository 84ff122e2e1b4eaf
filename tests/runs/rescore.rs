//! `runner rescore`: stored outputs judged again by changed expectations, and no provider runs.

#[cfg(debug_assertions)]
use runner::record::failpoint::PLACES;
use serde_json::{Value, json};

use crate::support::runner::{Run, Runner, tests};

/// A run with every way to end, whose scenario has changed since: `b` and `c` pass now, `d` and `e` do not.
const BEFORE: &str = r#"
    a | { do = "echo", value = "hello" } | equals = "hello"
    b | { do = "echo", value = "hello" } | equals = "bye"
    c | { do = "verdict", verdict = "pass" } | min_score = 0.7
    d | { do = "echo", value = { n = 1 } } | json = { n = 1 }
    e | { do = "echo", value = "hello" } | contains = ["ell"]
    f | { do = "trap" } | equals = 1
    g | { do = "error", kind = "internal" } | error = "internal"
    h | { do = "verdict", verdict = "fail" } | max_duration = "1h"
"#;
const AFTER: &str = r#"
    a | { do = "echo", value = "hello" } | equals = "hello"
    b | { do = "echo", value = "hello" } | equals = "hello"
    c | { do = "verdict", verdict = "pass" } | max_duration = "1h"
    d | { do = "echo", value = { n = 1 } } | json = { n = 2 }
    e | { do = "echo", value = "hello" } | contains = ["x"]
    f | { do = "trap" } | equals = 2
    g | { do = "error", kind = "internal" } | error = "timeout"
    h | { do = "verdict", verdict = "fail" } | max_duration = "2h"
"#;
const HOSTILE: &str = "\n[providers.hostile]\nplugin = \"hostile.wasm\"\n";

fn changed() -> Runner {
    let runner = Runner::hostile(&tests(BEFORE));
    runner.exec(&["-j1"]).expect(1);
    runner.scenario(&(tests(AFTER) + HOSTILE));
    runner
}

/// What each trial comes to by `show`, by its test.
fn outcomes(runner: &Runner) -> Vec<(String, String)> {
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    let rows = shown["rows"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (text(row, "test"), text(row, "outcome")))
        .collect()
}

fn is(runner: &Runner, expected: &[(&str, &str)]) {
    let owned = |(test, outcome): &(&str, &str)| ((*test).to_owned(), (*outcome).to_owned());
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(outcomes(runner), expected);
}

/// How many attempts the lines of a run are.
fn attempts(run: &Run) -> usize {
    let lines = run.lines();
    lines
        .iter()
        .filter(|line| line.get("kind").is_none())
        .count()
}

#[test]
fn changed_expectations_judge_what_is_stored_and_run_nothing() {
    let runner = changed();
    let run = runner.only_run();
    let before = run.read("index.jsonl");

    let dry = runner.run(&["rescore", "--dry-run", "--json"]).expect(0);
    let dry = dry.document();
    runner.assert_valid("rescore", std::slice::from_ref(&dry));
    assert_eq!(
        (run.read("index.jsonl"), run.manifest()["format"].clone()),
        (before.clone(), json!(1))
    );
    let rescored = json!({
        "fixed": 2, "regressed": 3, "other": 0, "same": 1, "unchanged": 1, "kept": 1, "ungraded": 0,
    });
    assert_eq!(dry["rescored"], rescored, "{dry:#}");

    let done = runner.run(&["rescore", "--json"]).expect(1).document();
    runner.assert_valid("rescore", std::slice::from_ref(&done));
    assert_eq!(
        (&done["rescored"], &done["session"]),
        (&rescored, &json!(2))
    );
    assert_eq!(
        (&done["changes"], &done["kept"]),
        (&dry["changes"], &dry["kept"])
    );
    assert_eq!(done["kept"][0]["trial"], "f@hostile#1");
    let because = done["kept"][0]["because"].as_str().unwrap();
    assert!(because.starts_with("it has no output: "), "{because}");
    let check = &done["changes"][0]["checks"][0];
    assert_eq!(
        (&check["name"], &check["before"], &check["after"]),
        (&json!("equals"), &json!("fail"), &json!("pass"))
    );

    assert!(run.read("index.jsonl").starts_with(&before));
    assert_eq!((attempts(&run), run.lines().len()), (8, 14));
    runner.assert_valid("row", &run.lines());
    runner.assert_valid("benchmark", &[run.manifest()]);
    is(
        &runner,
        &[
            ("a", "passed"),
            ("b", "passed"),
            ("c", "passed"),
            ("d", "failed"),
            ("e", "failed"),
            ("f", "error"),
            ("g", "error"),
            ("h", "failed"),
        ],
    );
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    runner.assert_valid("show", std::slice::from_ref(&shown));
    assert_eq!(shown["rows"][1]["judged"]["session"], 2);
    assert_eq!(shown["rows"][0].get("judged"), None);
    assert_eq!(run.manifest()["counts"]["passed"], 3);
    assert_eq!(runner.list(&[])[0]["counts"]["passed"], 3);
    runner.run(&["reindex"]).expect(0);
    assert_eq!(runner.list(&[])[0]["counts"]["passed"], 3);
    runner.run(&["verify"]).expect(0);
    let csv = runner.run(&["report", "--csv"]).expect(0).stdout;
    assert!(csv.contains("b@hostile#1,b,hostile,1,,,passed,"), "{csv}");
    let junit = runner.run(&["report", "--junit"]).expect(0).stdout;
    assert!(
        junit.contains("tests=\"8\" failures=\"3\" errors=\"2\""),
        "{junit}"
    );

    // What came of it stays readable, and doing it again changes nothing.
    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(
        history.contains("b@hostile#1  failed (session 1), then passed (session 2)"),
        "{history}"
    );
    assert!(!history.contains("judgements:"), "{history}");
    let index = run.read("index.jsonl");
    let again = runner.run(&["rescore", "--json"]).expect(1).document();
    assert_eq!(
        (&again["rescored"]["unchanged"], &again["session"]),
        (&json!(7), &Value::Null)
    );
    assert_eq!(run.read("index.jsonl"), index);

    // By the first expectations everything is as it was, and by them only what a filter means.
    runner.scenario(&(tests(BEFORE) + HOSTILE));
    let one = runner
        .run(&["rescore", "-E", "test(b)", "--json"])
        .expect(1);
    assert_eq!(one.document()["rescored"]["regressed"], 1);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(run.manifest()["counts"]["passed"], 4);
    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    let story = "b@hostile#1  failed (session 1), then passed (session 2), then failed (session 3)";
    assert!(history.contains(story), "{history}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn what_changed_is_explained_in_words() {
    let runner = changed();
    let said = runner.run(&["rescore", "--dry-run", "--explain"]).expect(0);
    said.says(&["nothing was written"]);
    for line in [
        "6 trials would be judged again by scenario.toml: 3 regressed, 2 fixed, 1 the same, 1 judged so already, 1 not judged",
        "  d@hostile#1  passed → ✗ failed",
        "      `json` held, and does not hold now: ",
        "      `min_score` did not hold, and is not checked any more",
        "      `max_duration` was not checked, and holds now",
        "not judged, and as before 1",
        "  f@hostile#1  error  it has no output: ",
        "4 of 8 passed; it would be 3 of 8 passed",
    ] {
        assert!(said.stdout.contains(line), "{line}\n{}", said.stdout);
    }
}

#[test]
fn tests_that_a_scenario_lacks_are_listed_and_others_are_found_wherever_they_are() {
    let runner = changed();
    let few = "e | { do = \"echo\", value = 1 } | contains = [\"h\"]\nb | 1 | equals = \"hello\"\n";
    runner.write("few.toml", tests(few) + HOSTILE);
    let done = runner
        .run(&["rescore", "--scenario", "few.toml", "--json"])
        .expect(1);
    let done = done.document();
    assert_eq!(done["scenario"], "few.toml");
    let rescored = &done["rescored"];
    assert_eq!(
        (&rescored["fixed"], &rescored["same"], &rescored["kept"]),
        (&json!(1), &json!(1), &json!(6))
    );
    assert_eq!(
        done["kept"][0]["because"],
        "its test is not in the scenario"
    );
    runner.run(&["verify"]).expect(0);
}

#[test]
fn large_outputs_are_judged_from_their_files_and_what_is_lost_is_listed() {
    let text = "x".repeat(100_000);
    let table = |expect: &str| {
        let input = format!("{{ do = \"echo\", value = \"{text}\" }}");
        format!("a | {input} | {expect}\nb | {input} | {expect}")
    };
    let runner = Runner::hostile(&tests(&table("contains = [\"y\"]")));
    runner.exec(&["-j1"]).expect(1);
    let run = runner.only_run();
    let files = walkdir::WalkDir::new(run.dir.join("artifacts")).sort_by_file_name();
    let files = files.into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let files: Vec<_> = files.map(|entry| entry.into_path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    fs_err::write(&files[1], "\"other\"").unwrap();
    runner.scenario(&(tests(&table("contains = [\"x\"]")) + HOSTILE));
    let done = runner.run(&["rescore", "--json"]).expect(1).document();
    assert_eq!(done["rescored"]["fixed"], 1);
    assert_eq!(done["kept"][0]["trial"], "b@hostile#1");
    let because = done["kept"][0]["because"].as_str().unwrap();
    assert!(
        because.starts_with("its output cannot be read"),
        "{because}"
    );
}

#[test]
fn a_trial_that_passes_now_after_an_attempt_that_did_not_is_flaky() {
    let scenario = |value: u32| {
        let table = format!("a | {{ do = \"fail-until\", attempt = 2 }} | equals = {value}");
        let keys = "[defaults]\nretries = { max = 2, backoff = \"1ms\" }\n";
        format!("{keys}{}{HOSTILE}", tests(&table))
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(7));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.lines().len(), 2);
    runner.scenario(&scenario(2));
    let done = runner.run(&["rescore", "--json"]).expect(0).document();
    assert_eq!(done["after"]["flaky"], 1, "{done:#}");
    assert_eq!(run.manifest()["counts"]["flaky"], 1);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn only_what_was_run_is_judged_and_the_run_goes_on_as_before() {
    let runner = Runner::hostile(&tests(BEFORE));
    runner.exec(&["-j1"]).expect(1);
    let run = runner.only_run();
    run.change_manifest(|manifest| {
        manifest["status"] = "incomplete".into();
        manifest["reason"] = "stopped".into();
        manifest["verdict"] = "none".into();
        manifest["transitions"][1]["to"] = "incomplete".into();
    });
    run.keep_rows(3);
    runner.scenario(&(tests(AFTER) + HOSTILE));
    let done = runner.run(&["rescore", "--json"]).expect(4).document();
    assert_eq!(done["rescored"]["fixed"], 2);
    assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);
    assert_eq!(run.manifest()["counts"]["passed"], 3);

    // What is left runs by what was stored, and what was judged stays so.
    runner.run(&["resume", "--from", "latest"]).expect(1);
    assert_eq!(attempts(&run), 8);
    assert_eq!(outcomes(&runner)[1].1, "passed");
    runner.run(&["verify"]).expect(0);
    // A filter over what trials come to goes by the newest judgement.
    runner
        .run(&[
            "resume",
            "--from",
            "latest",
            "--rerun",
            "outcome(passed) & test(b)",
        ])
        .expect(1);
    assert_eq!(attempts(&run), 9);
    assert_eq!(run.manifest()["counts"]["failed"], 2);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn what_cannot_be_judged_at_all_is_refused_in_words() {
    let runner = changed();
    let run = runner.only_run();
    runner.run(&["rescore", "nothing"]).expect(2);
    runner
        .run(&["rescore", "--scenario", "gone.toml"])
        .expect(2)
        .says(&["gone.toml"]);
    runner.write("bad.toml", "name = 1");
    runner
        .run(&["rescore", "--scenario", "bad.toml"])
        .expect(2)
        .says(&["bad.toml"]);
    runner.run(&["rescore", "-E", "outcome("]).expect(2);

    // A damaged row is told, and the others are judged.
    let index = run.read("index.jsonl");
    run.write(
        "index.jsonl",
        index.replacen("\"ordinal\":2", "\"ordinal\":5", 1),
    );
    let ran = runner.run(&["rescore"]).expect(4);
    ran.says(&["line 3", "damaged"]);
    assert!(run.read("index.jsonl").lines().count() > 8);

    let suite = run.manifest()["metadata"]["suite"]
        .as_str()
        .unwrap()
        .to_owned();
    let stored = walkdir::WalkDir::new(runner.path("results"))
        .into_iter()
        .map(Result::unwrap);
    let mut stored = stored.filter(|entry| {
        suite.ends_with(entry.file_name().to_str().unwrap()) && entry.file_type().is_file()
    });
    fs_err::remove_file(stored.next().unwrap().path()).unwrap();
    runner.scenario(&(tests(BEFORE) + HOSTILE));
    runner
        .run(&["rescore"])
        .expect(7)
        .says(&["what the run was planned with"]);

    run.change_manifest(|manifest| {
        manifest["status"] = "cancelled".into();
        let last = manifest["transitions"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap();
        last["to"] = "cancelled".into();
    });
    runner.run(&["rescore"]).expect(2).says(&["was cancelled"]);
}

#[test]
fn a_run_that_is_worked_on_is_busy() {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } | equals = 2
        b | { do = "loop" } | equals = 1
        "#,
    ));
    let mut running = runner.start(&["-j1"]);
    running.wait_for(|event| event["event"] == "row");
    runner.scenario(&(tests("a | { do = \"echo\", value = 1 } | equals = 1") + HOSTILE));
    runner.run(&["rescore"]).expect(6);
    let dry = runner.run(&["rescore", "--dry-run", "--json"]).expect(0);
    assert_eq!(dry.document()["rescored"]["fixed"], 1);
    running.kill();
    let done = runner.run(&["rescore", "--json"]).expect(4).document();
    assert_eq!(done["rescored"]["fixed"], 1);
    assert_eq!(runner.only_run().ending()[..2], ["incomplete", "crashed"]);
}

#[cfg(debug_assertions)]
#[test]
fn a_rescore_that_is_killed_loses_nothing_and_can_be_done_again() {
    let steps = ["opening.", "stage.", "row.", "finish."];
    let is_passed = |place: &&&str| {
        let is_one = steps.iter().any(|step| place.starts_with(step));
        is_one && !place.starts_with("opening.scenario")
    };
    let places: Vec<_> = PLACES.iter().filter(is_passed).collect();
    assert_eq!(places.len(), 15, "{places:?}");
    for place in places {
        let runner = changed();
        let run = runner.only_run();
        let rows = run.read("index.jsonl");
        let failpoint = format!("{place}=kill");
        runner
            .start_failing(&["rescore"], &failpoint)
            .finish_killed();
        assert!(run.read("index.jsonl").starts_with(&rows), "{place}");
        let done = runner.run(&["rescore", "--json"]).expect(1).document();
        assert_eq!(done["after"]["passed"], 3, "{place} {done:#}");
        assert_eq!(run.manifest()["status"], "completed", "{place}");
        assert_eq!((attempts(&run), run.lines().len()), (8, 14), "{place}");
        runner.run(&["verify"]).expect(0);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_rescore_on_a_full_disk_says_so_and_can_be_done_again() {
    let runner = changed();
    let run = runner.only_run();
    let rows = run.read("index.jsonl");
    let ran = runner
        .start_failing(&["rescore"], "row.begin=full")
        .finish()
        .expect(7);
    assert_eq!(run.read("index.jsonl"), rows, "{ran:?}");
    assert_eq!(run.ending()[..2], ["incomplete", "storage"]);
    runner.run(&["rescore"]).expect(1);
    assert_eq!(run.manifest()["counts"]["passed"], 3);
    runner.run(&["verify"]).expect(0);
}
