//! `runner history`: what tests came to over many runs.

use serde_json::Value;

use crate::support::runner::{Runner, tests};

/// Five runs of `daily`: `steady` passes, `turns` fails in the third, `mends` passes once its expectation is another, and
/// `late` comes in the fourth. Then one of another scenario.
fn five() -> Runner {
    let runner = Runner::new(&["hostile"]);
    for day in 0..5 {
        let expected = if day < 2 { 2 } else { 1 };
        let turns = if day == 2 {
            "{ do = \"error\", kind = \"internal\", code = \"E1\", message = \"no\" }"
        } else {
            "{ do = \"echo\", value = 1 }"
        };
        let mut table = format!(
            "steady | {{ do = \"echo\", value = 1 }} | equals = 1\n\
             turns | {turns} |\n\
             mends | {{ do = \"echo\", value = 1 }} | equals = {expected}\n\
             sometimes | {{ do = \"fail-at\", repeat = 1 }} |\n"
        );
        if day > 2 {
            table += "late | { do = \"verdict\", verdict = \"skip\" } |\n";
        }
        runner.scenario(&scenario("daily", &table));
        let ran = runner.exec(&["--into", &format!("results/day-{day}"), "--repeat", "2"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
    runner.scenario(&scenario(
        "other",
        "steady | { do = \"echo\", value = 1 } |",
    ));
    runner.exec(&["--into", "results/other"]).expect(0);
    runner
}

fn scenario(name: &str, table: &str) -> String {
    format!(
        "name = \"{name}\"\n{}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n",
        tests(table)
    )
}

fn document(runner: &Runner, args: &[&str]) -> Value {
    let document = runner
        .run(&[&["history"], args, &["--json"]].concat())
        .expect(0)
        .document();
    runner.assert_valid("history", std::slice::from_ref(&document));
    document
}

/// The document without what is of the moment.
fn lasting(document: &Value) -> Vec<String> {
    let tests = document["tests"].as_array().unwrap().iter();
    tests
        .map(|test| {
            let outcomes = test["outcomes"].as_array().unwrap().iter();
            let words: Vec<_> = outcomes
                .map(|word| word.as_str().unwrap_or("none"))
                .collect();
            format!(
                "{}: {}; {} of {}, {} flaky",
                test["test"].as_str().unwrap(),
                words.join(" "),
                test["passed"],
                test["judged"],
                test["flaky"]
            )
        })
        .collect()
}

#[test]
fn each_test_has_what_it_came_to_in_each_run() {
    let runner = five();
    let document = document(&runner, &["daily"]);
    assert_eq!(document["runs"].as_array().unwrap().len(), 5);
    assert_eq!(document["runs"][0]["run"], "day-0");
    assert_eq!(document["runs"][0]["pass_rate"], 0.625);
    assert_eq!(
        lasting(&document),
        [
            "sometimes: flaky flaky flaky flaky flaky; 0 of 5, 5 flaky",
            "mends: failed failed passed passed passed; 3 of 5, 0 flaky",
            // Its input is another in the third.
            "turns: passed passed error passed passed; 4 of 5, 0 flaky",
            "late: none none none skipped skipped; 0 of 0, 0 flaky",
            "steady: passed passed passed passed passed; 5 of 5, 0 flaky",
        ]
    );
}

#[test]
fn runs_and_tests_are_chosen_and_what_does_not_exist_is_said() {
    let runner = five();
    let ids = |document: &Value| -> Vec<String> {
        let runs = document["runs"].as_array().unwrap().iter();
        runs.map(|run| run["run"].as_str().unwrap().to_owned())
            .collect()
    };
    // Without a name it is the scenario of the newest run.
    assert_eq!(ids(&document(&runner, &[])), ["other"]);
    assert_eq!(
        ids(&document(&runner, &["d*", "--last", "2"])),
        ["day-3", "day-4"]
    );
    let steady = document(&runner, &["--test", "stea*"]);
    assert_eq!(ids(&steady).len(), 6);
    assert_eq!(
        steady["tests"].as_array().unwrap().len(),
        2,
        "one of each scenario"
    );

    let refused = |args: &[&str], says: &[&str]| {
        runner
            .run(&[&["history"], args].concat())
            .expect(2)
            .says(says);
    };
    refused(
        &["missing"],
        &["no runs of a scenario with this name", "`daily`, `other`"],
    );
    refused(&["--test", "missing"], &["none of the runs has a test"]);
    refused(&["--last", "0"], &["invalid value"]);
    refused(&["--results", "nowhere"], &["there are no runs"]);
}

#[test]
fn it_says_the_same_whatever_sqlite_has_kept() {
    let runner = five();
    let ask = || {
        runner
            .run(&["history", "--test", "*", "--json"])
            .expect(0)
            .stdout
    };
    let first = ask();
    assert!(first == ask(), "what was kept is another");
    fs_err::remove_file(runner.path("results/runner.db")).unwrap();
    assert!(first == ask(), "without the database it is another");
    runner.run(&["reindex"]).expect(0);
    assert!(first == ask(), "after it was made anew it is another");

    // What was kept of a run is not believed once the run has gone on.
    runner
        .run(&["resume", "--from", "day-4", "--rerun", "sometimes@*"])
        .expect(1);
    let again = document(&runner, &["daily"]);
    assert_eq!(again["runs"][4]["judged"], 8);
    // Nor once somebody has taken rows away.
    let index = runner.path("results/day-0/index.jsonl");
    fs_err::write(&index, "").unwrap();
    assert_eq!(document(&runner, &["daily"])["runs"][0]["judged"], 0);
}

#[test]
fn a_run_that_goes_on_is_part_of_it() {
    let runner = Runner::hostile(&tests(
        "a | { do = \"echo\", value = 1 } |\nb | { do = \"loop\" } |",
    ));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for(|event| event["event"] == "row" || event["counts"]["passed"] == 1);
    running.wait_until_running(1);
    let seen = document(&runner, &[]);
    assert_eq!(lasting(&seen), ["a: passed; 1 of 1, 0 flaky"]);
    assert_eq!(seen["runs"][0]["status"], "running");
    running.end_by(rustix::process::Signal::INT);
}

#[test]
fn it_is_shown_as_lines_of_signs() {
    let runner = five();
    let text = runner.run(&["history", "daily"]).expect(0).stdout;
    let (head, rest) = text.split_once("\n\ntest ").unwrap();
    assert!(head.starts_with("5 runs of `daily`, 20"), "{head}");
    assert!(head.ends_with("\n 60 %  ▃▃▃██"), "{head}");
    // Durations, and how wide their column is, are of the moment.
    let moment = regex::Regex::new(r" +(median|–|\d+(\.\d+)? [µm]?s)  ").unwrap();
    let table = moment.replace_all(rest, "  ").into_owned();
    let (table, slowest) = table.split_once("\n\nslowest").unwrap();
    assert!(slowest.contains("steady@hostile"), "{slowest}");
    insta::assert_snapshot!(table, @"
                  passed  flaky  newest at the right
    sometimes@hostile     0/5  100 %  ~~~~~
    mends@hostile         3/5  ✗✗✓✓✓
    turns@hostile         4/5  ✓✓!✓✓
    late@hostile          0/0  ···--
    steady@hostile        5/5  ✓✓✓✓✓
    ✓ passed  ~ flaky  ✗ failed  ! error  T timeout  - skipped  · no row
    ");
}

#[test]
fn a_name_that_would_steer_a_terminal_is_shown_and_not_followed() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario(
        "red\\u001b[31m",
        "a | { do = \"echo\", value = 1 } |",
    ));
    runner.exec(&[]).expect(0);
    let text = runner.run(&["history"]).expect(0).stdout;
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.starts_with(r"1 run of `red\u{1b}[31m`"), "{text:?}");
}

#[test]
fn a_filter_means_tests_and_asks_other_runs_for_what_they_came_to() {
    let runner = five();
    let names = |filter: &str| -> Vec<String> {
        let document = document(&runner, &["daily", "-E", filter]);
        assert_eq!(document["filter"], filter);
        let tests = document["tests"].as_array().unwrap().iter();
        tests
            .map(|test| test["test"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("in(day-2, outcome(error))"), ["sometimes", "turns"]);
    assert_eq!(
        names("test(s*) & !in(day-4, outcome(failed, error))"),
        ["steady"]
    );
    assert_eq!(names("provider(hostile) & test(late)"), ["late"]);
    let ran = runner
        .run(&["history", "-E", "test(steady) & outcome(failed)"])
        .expect(2);
    ran.says(&[
        "a history is of tests over many",
        "in(latest, outcome(failed))",
    ]);
    let ran = runner
        .run(&["history", "daily", "-E", "test(none)"])
        .expect(2);
    ran.says(&["none of the runs has a test with a row that is meant"]);
}
