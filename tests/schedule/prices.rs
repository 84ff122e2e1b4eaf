//! `[prices]`: costs of attempts, by their metrics.

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{
    run::Run,
    runner::Runner,
    truth::{assert_consistent, assert_whole},
};

/// Returns the costs in an attempt of a provider or grader.
fn costs(measured: &Value) -> Vec<&Value> {
    let metrics = measured["metrics"].as_array().into_iter().flatten();
    metrics.filter(|metric| metric["name"] == "cost_usd").map(|metric| &metric["value"]).collect()
}

fn cost_of(run: &Run, test: &str) -> Value {
    json!(costs(&run.row(test)))
}

#[test]
fn priced_metrics_become_one_cost() {
    let runner = Runner::hostile(
        r#"
        [prices."host*"]
        input = 500_000
        output = 2_000_000
        [prices.hostile]
        request = 0
        [[tests]]
        id = "sum"
        input = { do = "meter", metrics = { input = 3, output = 2, other = 9 } }
        [[tests]]
        id = "failed"
        input = { do = "meter", metrics = { input = 3, output = -1 } }
        expect = { equals = "x" }
        [[tests]]
        id = "own"
        input = { do = "meter", metrics = { input = 3, cost_usd = 7 } }
        [[tests]]
        id = "free"
        input = { do = "meter", metrics = { request = 1 } }
        [[tests]]
        id = "unpriced"
        input = { do = "meter", metrics = { other = 9 } }
        [[tests]]
        id = "endless"
        input = { do = "meter", metrics = { input = 1e308 } }
        "#,
    );
    runner.exec(&[]).expect(1);
    let run = assert_whole(&runner, 6);
    for (test, expected) in [
        ("sum", json!([5.5])),
        ("failed", json!([1.5])),
        ("own", json!([7.0])),
        ("free", json!([0.0])),
        ("unpriced", json!([])),
        ("endless", json!([f64::MAX])),
    ] {
        assert_eq!(cost_of(&run, test), expected, "{test}");
    }
    let metrics = &run.row("sum")["metrics"];
    assert_eq!(metrics[0], json!({"name": "cost_usd", "value": 5.5, "unit": "USD"}));
    snapshot(&runner.run(&["show", "latest", "sum"]).expect(0));
    runner.run(&["verify"]).expect(0);
}

fn priced(price: u32, tests: &str) -> String {
    format!(
        r#"
        [run.budget]
        metrics = {{ cost_usd = 10 }}
        [prices."*"]
        tokens = {price}
        {tests}
        "#
    )
}

#[test]
fn cost_budget_holds_over_sessions() {
    let test = "[[tests]]\nid = \"a\"\ninput = { do = \"measure\", tokens = 3 }\nrepeat = 10\n";
    let runner = Runner::hostile(&priced(1_000_000, test));
    let ran = runner.exec(&["-j", "1"]).expect(4);
    snapshot(&ran);
    let run = runner.only_run();
    assert_eq!(run.rows().len(), 4);
    assert_consistent(&runner);
    let resume = |budget| runner.run(&["resume", "-j", "1", "--budget", budget]);
    // Rows that another program has doubled count once.
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", format!("{rows}{rows}"));
    snapshot(&resume("cost_usd=14").expect(4));
    run.write("index.jsonl", &run.text("index.jsonl")[rows.len()..]);
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("1000000", "2000000"));
    // The price of a run is that of its own scenario, until it takes over another one.
    snapshot(&resume("cost_usd=16").expect(4));
    runner.run(&["resume", "--budget", "cost_usd=off", "--accept-changes"]).expect(0);
    let run = assert_whole(&runner, 10);
    let rows = run.rows();
    let costs: Vec<_> = rows.iter().flat_map(costs).collect();
    assert_eq!(costs, [vec![3.0; 6], vec![6.0; 4]].concat());
    let fingerprint = &rows[0]["fingerprint"];
    assert!(fingerprint.is_string());
    assert!(rows.iter().all(|row| row["fingerprint"] == *fingerprint));
}

#[test]
fn grades_have_a_cost_too() {
    let runner = Runner::hostile(&priced(
        1_000_000,
        r#"
        [graders.judge]
        plugin = "hostile.wasm"
        input = { do = "measure", score = 1, tokens = 2 }
        min_score = 0.5
        concurrency = 1
        [[tests]]
        id = "a"
        repeat = 5
        input = { do = "measure", tokens = 4 }
        expect = { graders = ["judge"] }
        "#,
    ));
    runner.exec(&["-j", "1"]).expect(4);
    runner.run(&["resume", "--budget", "cost_usd=off"]).expect(0);
    let run = assert_whole(&runner, 5);
    for row in run.rows().iter().filter(|row| row["final"] == true) {
        assert_eq!(json!([costs(row), costs(&row["grades"][0])]), json!([[4.0], [2.0]]));
    }
}

#[test]
fn limits_without_their_metrics_are_named() {
    let test = "[[tests]]\nid = \"a\"\ninput = { do = \"INPUT\", reports = [5], metrics = { out_tokens = 1 } }\n";
    let provider = "[providers.hostile]\nplugin = \"hostile.wasm\"\nlimits = { LIMITS }\n";
    let had_no_effect = |limit: &str| format!("so its `limits.{limit}` had no effect");
    let both = "total_tokens = 100, cost_usd = 1";
    for (limits, input, missing) in [
        ("http_requests = 5", "echo", &[][..]),
        (both, "echo", &["total_tokens", "cost_usd"]),
        (both, "usage", &["cost_usd"]),
        (both, "meter", &["cost_usd"]),
        ("total_tokens = 100", "usage", &[]),
    ] {
        let runner = Runner::new(&["hostile"]);
        let scenario = [provider.replace("LIMITS", limits), test.replace("INPUT", input)];
        runner.scenario(&scenario.concat());
        let printed = runner.exec(&[]).expect(0).stderr;
        let count = printed.matches("no attempt of `hostile` has reported").count();
        assert_eq!(count, missing.len(), "{limits}, {input}: {printed}");
        assert!(missing.iter().all(|limit| printed.contains(&had_no_effect(limit))), "{printed}");
    }
}

#[test]
fn attempts_without_cost_are_counted() {
    let runner = Runner::hostile(&priced(
        1_000_000,
        r#"
        [prices.hostile]
        completion_token = 2_000_000
        [[tests]]
        id = "misspelt"
        repeat = 3
        input = { do = "meter", metrics = { tokens = 1, completion_tokens = 1 } }
        [[tests]]
        id = "unmeasured"
        repeat = 2
        input = { do = "echo" }
        [[tests]]
        id = "failed"
        input = { do = "error", kind = "other" }
        "#,
    ));
    let says = [
        "2 of 5 attempts with an output did not measure `cost_usd`, and its budget counts only the others",
        "2 of 5 attempts of `hostile` with an output have no cost",
        "no attempt has reported `completion_token`, which has a price in `[prices]`; did you mean `completion_tokens`?",
    ];
    runner.exec(&[]).expect(1).says(&says);
    // The attempts of earlier sessions count, too.
    let again = runner.run(&["resume", "--rerun", "failed"]).expect(1);
    again.says(&says);

    let measured = "[[tests]]\nid = \"a\"\ninput = { do = \"measure\", tokens = 1 }\nexpect = { not = { equals = 0 } }\n";
    let ran = Runner::hostile(&priced(1, measured)).exec(&[]).expect(0);
    assert!(!ran.stderr.contains("note: "), "{}", ran.stderr);
}

#[test]
fn grader_without_a_model_needs_no_cost() {
    let text = priced(
        1,
        r#"
        [graders.free]
        plugin = "hostile.wasm"
        input = { do = "verdict", verdict = "pass" }
        [[tests]]
        id = "a"
        input = { do = "measure", tokens = 1 }
        expect = { graders = ["free"] }
        "#,
    );
    let runner = Runner::hostile(&text);
    let ran = runner.exec(&[]).expect(0);
    for notice in ["no cost", "not measure"] {
        assert!(!ran.stderr.contains(notice), "{}", ran.stderr);
    }
    // A session without attempts of providers has none of their metrics.
    let scenario = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&scenario.replace("\"pass\"", "\"fail\""));
    let rescored = runner.run(&["rescore", "latest"]).expect(1);
    assert!(!rescored.stderr.contains("no attempt"), "{}", rescored.stderr);
    // A name that is most likely wrong is named before the first trial.
    runner.scenario(&scenario.replace("cost_usd = 10", "cost = 10"));
    runner.exec(&["--dry-run"]).expect(0).says(&["mean `cost_usd`?"]);
}

#[test]
fn price_of_nothing_is_refused() {
    let test = "[[tests]]\nid = \"a\"\n";
    for (prices, says) in [
        ("prices.hostle.x = 1", &["`hostle`", "did you mean `hostile`?"][..]),
        ("prices.hostile.x = -1", &["`x` must be"]),
        ("prices.hostile.x = 1\nprices.'host*'.x = 2", &["`hostile` has two prices for `x`"]),
        ("prices.'[' = { x = 1 }", &["`[` is not a valid name here"]),
    ] {
        let runner = Runner::hostile("");
        let text = std::fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("{prices}\n{text}\n{test}"));
        runner.refused(&[], says).says(&["--> scenario.toml:"]);
    }
}
