//! `history`: results of tests over the runs of a scenario.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    http::Site,
    runner::{Runner, tests},
};

const PROVIDER: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n";

fn write(runner: &Runner, table: &str) {
    runner.scenario(&format!("{PROVIDER}{}", tests(table)));
}

fn history(runner: &Runner, flags: &[&str]) -> Value {
    runner.run(&[&["history", "--json"], flags].concat()).expect(0).document()
}

#[test]
fn each_provider_has_a_row_of_its_own() {
    let runner = Runner::new(&[]);
    let names: Vec<_> = (0..10).map(|number| format!("p{number}")).collect();
    let providers: String = names
        .iter()
        .map(|name| format!("[providers.{name}]\nplugin = \"bundled:echo\"\n"))
        .collect();
    let only = "[[tests]]\nid = \"b\"\nproviders = [\"p1\"]\ninput = 1\nexpect.equals = 2\n";
    runner.scenario(&format!(
        "{providers}[[tests]]\nid = \"a\"\ninput = 1\nexpect.equals = 1\n{only}"
    ));
    runner.run(&["exec", "scenario.toml"]).expect(1);
    let shown = runner.run(&["history"]).expect(0);
    snapshot(&shown);

    assert!(!shown.stdout.contains(" p8 "), "{}", shown.stdout);
    let all = runner.run(&["history", "--provider", "p*"]).expect(0);
    snapshot(&all);
    let one = runner.run(&["history", "--provider", "p1"]).expect(0);
    assert!(!one.stdout.contains("provider"), "{}", one.stdout);
    snapshot(&one);
    let document = history(&runner, &["--by", "day"]);
    for of in [&document["runs"][0], &document["sums"][0]] {
        let [all, second] = [&of["passed"], &of["providers"][1]["failed"]];
        assert_eq!([all, second], [&json!(10), &json!(1)]);
        assert_eq!(of["providers"].as_array().unwrap().len(), 10);
    }
    snapshot(&runner.run(&["history", "--by", "day"]).expect(0));
}

/// Returns the tests with their marks.
fn marks(document: &Value) -> Vec<(String, Vec<Value>)> {
    let tests = document["tests"].as_array().unwrap().iter();
    let marks = |test: &Value| test["marks"].as_array().unwrap().clone();
    tests.map(|test| (test["test"].as_str().unwrap().to_owned(), marks(test))).collect()
}

#[test]
fn tests_that_began_to_fail_come_first() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    let exec = |failing: u8, args: &[&str]| {
        runner.scenario(&format!(
            "[defaults]\nretries = {{ max = 1 }}\n{PROVIDER}{}",
            tests(&format!(
                "always | {{ do = \"echo\", value = 1 }} | equals = 1
                fails | {{ do = \"echo\", value = 1 }} | equals = {failing}
                red | {{ do = \"echo\", value = 1 }} | equals = 2
                again | {{ do = \"fail-until\" }} |"
            ))
        ));
        runner.exec(args)
    };
    exec(1, &[]).expect(1);
    exec(1, &["--retries", "0"]).expect(1);
    exec(2, &[]).expect(1);
    let document = history(&runner, &[]);
    let [passed, flaky, failed, error] =
        ["passed", "flaky", "failed", "error"].map(|mark| json!(mark));
    assert_eq!(
        marks(&document),
        [
            ("fails".to_owned(), vec![passed.clone(), passed.clone(), failed.clone()]),
            ("red".to_owned(), vec![failed; 3]),
            ("again".to_owned(), vec![flaky.clone(), error, flaky]),
            ("always".to_owned(), vec![passed; 3]),
        ]
    );
    let counts = |key| {
        document["tests"].as_array().unwrap().iter().map(|one| one[key].clone()).collect::<Vec<_>>()
    };
    assert_eq!(counts("failing_runs"), [1, 3, 0, 0].map(|count| json!(count)));
    assert_eq!(counts("flaky_runs"), [0, 0, 2, 0].map(|count| json!(count)));
    assert_eq!(document["runs"][1]["pass_rate"], 0.5);
    // Also if only a part of the tests is in the answer.
    let site = Site::start(&runner, &[]);
    let failing = json!([
        { "run": document["runs"][2]["run"], "results": 1, "first": [["fails", "hostile"]] },
        { "run": null, "results": 1, "first": [["red", "hostile"]] }
    ]);
    for document in [document, site.get("/history?tests_limit=1")] {
        assert_eq!(document["failing"], failing);
    }
    transcript.run(&runner, &["history"]).expect(0);
    transcript.check("tests_that_began_to_fail_come_first");
}

#[test]
fn runs_and_tests_are_selected() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile("");
    write(&runner, "a/x | { do = \"echo\", value = 1 } |\nb | { do = \"echo\", value = 1 } |");
    runner.exec(&[]).expect(0);
    runner.exec(&["--test", "b"]).expect(0);
    runner.exec(&[]).expect(0);
    let lengths = |flags: &[&str]| {
        let found = history(&runner, flags);
        [&found["runs"], &found["tests"]].map(|list| list.as_array().unwrap().len())
    };
    assert_eq!(lengths(&[]), [3, 2]);
    assert_eq!(lengths(&["-n", "2"]), [2, 2]);
    assert_eq!(lengths(&["--test", "a/*"]), [3, 1]);
    runner.run(&["history", "--json", "--provider", "other"]).expect(5);
    assert_eq!(lengths(&["--since", "1h"]), [3, 2]);
    assert_eq!(lengths(&["--since", "2100-01-01"]), [0, 0]);
    let missing = marks(&history(&runner, &["--test", "a/x"]));
    assert_eq!(missing[0].1[1], Value::Null);
    transcript.run(&runner, &["history", "--test", "a/*"]).expect(0);
    let none = transcript.run(&runner, &["history", "--test", "none", "--provider", "*"]).expect(5);
    assert_eq!(none.stdout, "");
    transcript.run(&runner, &["history", "--since", "2100-01-01"]).expect(0);
    transcript.check("runs_and_tests_are_selected");
}

#[test]
fn trials_outside_of_an_adopted_plan_do_not_count() {
    let runner = Runner::hostile("");
    write(&runner, "a | { do = \"echo\", value = 1 } |\nb | { do = \"echo\", value = 1 } |");
    runner.exec(&[]).expect(0);
    write(&runner, "a | { do = \"echo\", value = 1 } |");
    runner.run(&["resume", "--accept-changes"]).expect(0);
    let found = history(&runner, &[]);
    assert_eq!(found["runs"][0]["passed"], 1);
    assert_eq!(found["tests"].as_array().unwrap().len(), 1);
}

#[test]
fn runs_cut_short_are_marked() {
    let runner = Runner::hostile("");
    write(&runner, "a | { do = \"trap\" } |\nb | { do = \"trap\" } |");
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let id = runner.only_run().id().to_owned();
    runner.run(&["history"]).expect(0).says(&[&format!("{id} (incomplete) ")]);
    runner.run(&["cancel", &id]).expect(0);
    runner.run(&["history"]).expect(0).says(&[&format!("{id} (cancelled) ")]);
    runner.run(&["resume", &id, "--force"]).expect(1);
    runner.run(&["history"]).expect(0).says(&[&format!("{id} 20")]);
}

#[test]
fn scenarios_are_named_by_file_or_name() {
    let runner = Runner::hostile("");
    write(&runner, "a | { do = \"echo\", value = 1 } |");
    runner.exec(&[]).expect(0);
    fs::copy(runner.path("scenario.toml"), runner.path("other.toml")).unwrap();
    runner.run(&["exec", "other.toml"]).expect(0);
    runner.run(&["exec", "other.toml"]).expect(0);
    let runs = |flags: &[&str]| {
        let found = history(&runner, flags);
        (found["scenario"].as_str().unwrap().to_owned(), found["runs"].as_array().unwrap().len())
    };
    let (scenario, other) = (("scenario".to_owned(), 1), ("other".to_owned(), 2));
    assert_eq!(
        [runs(&[]), runs(&["other"]), runs(&["other.toml"])],
        [other.clone(), other.clone(), other]
    );
    assert_eq!([runs(&["scenario"]), runs(&["./scenario.toml"])], [scenario.clone(), scenario]);
    runner.write("unused.toml", "");
    let refused = |name: &str| snapshot(&runner.run(&["history", name]).expect(2));
    refused("unused.toml");
    refused("othr");
    // Another file with the name of a scenario.
    fs::create_dir(runner.path("copy")).unwrap();
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.write("copy/scenario.toml", text.replace("hostile.wasm", "../hostile.wasm"));
    runner.run(&["exec", "copy/scenario.toml"]).expect(0);
    let found = history(&runner, &["copy/scenario.toml"]);
    assert_eq!(found["runs"].as_array().unwrap().len(), 1);
    let skipped = found["skipped"][0].as_str().unwrap();
    assert!(skipped.contains("it is a run of ") && skipped.ends_with("scenario.toml"), "{skipped}");
}

#[test]
fn one_file_has_one_history_by_any_path() {
    let runner = Runner::hostile("");
    write(&runner, "a | { do = \"echo\", value = 1 } |");
    fs::create_dir(runner.path("sub")).unwrap();
    symlink(runner.path(""), runner.path("sub/link")).unwrap();
    for path in ["scenario.toml", "sub/../scenario.toml", "sub/link/scenario.toml"] {
        runner.run(&["exec", path]).expect(0);
    }
    for path in ["scenario", "sub/link/scenario.toml"] {
        assert_eq!(history(&runner, &[path])["runs"].as_array().unwrap().len(), 3);
    }
    runner.run(&["exec", "sub/../scenario.toml", "--last-failed"]).expect(5);
}

#[test]
fn sums_have_tokens_and_cost() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile("");
    runner.scenario(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [prices."*"]
        tokens = 2_000_000
        [graders.judge]
        plugin = "hostile.wasm"
        input = { do = "measure", score = 1, tokens = 5 }
        min_score = 0.5
        [[tests]]
        id = "a"
        input = { do = "measure", tokens = 30 }
        expect = { graders = ["judge"] }
        [[tests]]
        id = "b"
        input = { do = "echo", value = 1 }
        "#,
    );
    runner.exec(&["--label", "team=night"]).expect(0);
    runner.exec(&["--label", "team=day"]).expect(0);
    runner.exec(&["--label", "team=night"]).expect(0);
    runner.exec(&[]).expect(0);
    let document = history(&runner, &["--by", "team"]);
    let sums = document["sums"].as_array().unwrap().iter();
    let sums: Vec<_> = sums
        .map(|sum| {
            let graders = &sum["graders"];
            json!([
                [sum["key"], sum["runs"], sum["passed"], sum["tokens"], sum["cost_usd"]],
                [sum["providers"][0]["cost_usd"], graders["tokens"], graders["cost_usd"]]
            ])
        })
        .collect();
    assert_eq!(
        sums,
        [
            json!([[null, 1, 2, 30.0, 60.0], [60.0, 5.0, 10.0]]),
            json!([["day", 1, 2, 30.0, 60.0], [60.0, 5.0, 10.0]]),
            json!([["night", 2, 4, 60.0, 120.0], [120.0, 10.0, 20.0]])
        ]
    );
    // The same as of the run.
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    let cost = |of: &Value| {
        let mut metrics = of["metrics"].as_array().unwrap().iter();
        metrics.find(|metric| metric["name"] == "cost_usd").unwrap()["value"].clone()
    };
    assert_eq!([&shown["providers"][0], &shown["graders"][0]].map(cost), [60.0, 10.0]);
    assert_eq!(document["runs"][0]["graders"]["cost_usd"], 10.0);
    assert_eq!(document["tests"][0]["cost_usd"], 240.0);
    assert_eq!(document["tests"].as_array().unwrap().last().unwrap()["tokens"], Value::Null);
    transcript.run(&runner, &["history", "--by", "team"]).expect(0);
    let days = history(&runner, &["--by", "day"]);
    assert_eq!(
        days["sums"]
            .as_array()
            .unwrap()
            .iter()
            .map(|sum| sum["runs"].as_u64().unwrap())
            .sum::<u64>(),
        4
    );
    transcript.run(&runner, &["history", "--by", "taem"]).expect(2);
    // The rows give the same answer as the table.
    fs::remove_file(runner.path("results/runner.db")).unwrap();
    assert_eq!(history(&runner, &["--by", "team"]), document);
    transcript.check("sums_have_tokens_and_cost");
}

#[test]
fn empty_root_has_no_history() {
    let runner = Runner::hostile("");
    snapshot(&runner.run(&["history"]).expect(2));
}
