//! Usage that guests report during an attempt, and the limits that it uses up.

use serde_json::{Value, json};

use crate::support::{
    runner::Runner,
    web::{hello, net},
};

/// Runs the hostile guest once for each input. Returns the rows by test, `0`, `1`, ….
fn rows(keys: &str, inputs: &[Value], exit: i32) -> Vec<Value> {
    let runner = Runner::new(&["hostile"]);
    let tests = inputs.iter().enumerate().map(|(number, input)| {
        json!({ "id": number.to_string(), "input": input }).to_string() + "\n"
    });
    runner.write("tests.jsonl", tests.collect::<String>());
    runner.scenario(&format!(
        "[defaults]\ntimeout = \"3s\"\n[[test_lists]]\nfiles = [\"tests.jsonl\"]\n\
         [providers.hostile]\nplugin = \"hostile.wasm\"\n{keys}\n"
    ));
    runner.exec(&["-j", "2"]).expect(exit);
    let run = runner.only_run();
    (0..inputs.len()).map(|number| run.row(&number.to_string())).collect()
}

fn metrics(row: &Value) -> Value {
    let metrics = row["metrics"].as_array().into_iter().flatten();
    metrics
        .map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric["value"].clone()))
        .collect()
}

#[test]
fn reported_usage_counts_whatever_the_end() {
    let usage = |then: &str| json!({ "do": "usage", "reports": [1000, 200], "then": then });
    let prices = "[prices.\"*\"]\ntotal_tokens = 1000";
    let rows = rows(prices, &["", "trap", "loop"].map(usage), 1);
    let outcomes: Vec<_> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["passed", "error", "timeout"]);
    // The reply's own `total_tokens` is ignored.
    let sums = json!({ "cost_usd": 1.2, "total_tokens": 1200.0, "turns": 7.0 });
    assert_eq!(metrics(&rows[0]), sums);
    for row in &rows[1..] {
        assert_eq!(metrics(row), json!({ "cost_usd": 1.2, "total_tokens": 1200.0 }));
    }
}

/// The tables have the attempts that decided, and the money is gone for all of them.
#[test]
fn retried_attempts_are_paid() {
    let keys = "[prices.\"*\"]\ntotal_tokens = 1000";
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "[defaults]\nretries = {{ max = 2, on = [\"trap\"], backoff = \"0s\" }}\n\
         [[tests]]\nid = \"a\"\ninput = {}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n{keys}\n",
        "{ do = \"usage\", reports = [1000, 200], then = \"trap\" }"
    ));
    runner.exec(&[]).expect(1);
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    let paid = &shown["paid"];
    assert_eq!(paid["tokens"], 3600.0, "{shown}");
    assert!((paid["cost_usd"].as_f64().unwrap() - 3.6).abs() < 1e-9, "{shown}");
    let text = runner.run(&["show"]).expect(0).stdout;
    assert!(text.contains("3,600 tokens, $3.60"), "{text}");
    let metrics = &shown["providers"][0]["metrics"];
    assert!(metrics.to_string().contains("1200"), "{metrics}");
}

#[test]
fn limits_of_usage_end_an_attempt() {
    let server = hello();
    let usage = |reports: Value, requests: u32| json!({ "do": "usage", "reports": reports, "requests": requests, "url": server.url("/") });
    let keys = format!(
        "grants.{}\nlimits = {{ total_tokens = 1_000, cost_usd = 0.0002, http_requests = 30 }}\n\
         [prices.\"*\"]\ntotal_tokens = 0.1",
        net(&[&server.origin()])
    );
    let inputs = [
        usage(json!([600, 399]), 30),
        usage(json!([600, 400, 1]), 20),
        usage(json!([1000]), 21),
        usage(json!([]), 50),
        usage(json!([]), 51),
        usage(json!([5_000_000]), 0),
    ];
    let rows = rows(&keys, &inputs, 1);
    assert_eq!(rows[0]["output"], json!([[null, null], "Ok(200)"]));
    assert_eq!(rows[1]["output"][0], json!([null, "total_tokens", "total_tokens"]));
    assert!(rows[1]["output"][1].as_str().unwrap().contains("`limits.total_tokens`"));
    let ends = [&rows[2], &rows[4]].map(|row| (&row["error"]["class"], &row["error"]["code"]));
    assert_eq!(json!(ends), json!([["limit", "total_tokens"], ["limit", "http_requests"]]));
    assert!(rows[4]["error"]["message"].as_str().unwrap().contains("20 refused"));
    assert_eq!(metrics(&rows[2])["total_tokens"], 1000.0);
    assert_eq!(rows[3]["outcome"], "passed");
    assert_eq!(rows[5]["output"][0], json!(["total_tokens"]));
    assert_eq!(server.requests().len(), 30 + 30 + 30);
}

#[test]
fn floods_of_reported_usage_are_bounded() {
    let inputs = [
        json!({ "do": "flood-usage", "count": 1_000 }),
        json!({ "do": "usage", "reports": [-5, null, 3] }),
    ];
    let rows = rows("", &inputs, 0);
    // A row that is too long keeps fewer.
    assert!((40..=100).contains(&rows[0]["metrics"].as_array().unwrap().len()));
    assert_eq!(metrics(&rows[1])["total_tokens"], 3.0);
}

#[test]
fn budgets_count_reports_of_attempts_without_an_output() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\nbudget = { metrics = { total_tokens = 100 } }\n\
         [[tests]]\nid = \"a\"\ninput = { do = \"usage\", reports = [60], then = \"trap\" }\nrepeat = 5\n",
    );
    runner.exec(&["-j", "1"]).expect(4);
    let run = runner.only_run();
    assert_eq!((run.rows().len(), &*run.ending()[1]), (2, "budget"));
}

#[test]
fn usage_of_tools_counts_for_their_caller() {
    let server = hello();
    let runner = Runner::new(&["hostile", "contract-0-1-1-everything"]);
    let call = json!({ "call": "spender", "input": { "do": "usage", "reports": [200], "requests": 1, "url": server.url("/") } });
    runner.write("tests.jsonl", json!({ "id": "a", "input": [call, call] }).to_string() + "\n");
    runner.scenario(&format!(
        "[[test_lists]]\nfiles = [\"tests.jsonl\"]\n[tools.spender]\nplugin = \"hostile.wasm\"\ngrants.{}\n\
         [providers.caller]\nplugin = \"contract-0-1-1-everything.wasm\"\ngrants.tools = [\"spender\"]\n\
         limits.total_tokens = 100\n[prices.caller]\ntotal_tokens = 1000\n",
        net(&[&server.origin()])
    ));
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("a");
    let sent = |call: usize| row["output"][call]["ok"][1].as_str().unwrap().to_owned();
    assert_eq!(sent(0), "Ok(200)");
    assert!(sent(1).contains("`limits.total_tokens`"));
    // The price is that of the caller's own tokens.
    assert_eq!(metrics(&row), json!({ "total_tokens": 400.0 }));
}
