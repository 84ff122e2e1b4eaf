//! Expectations beyond the output itself: schemas, scores, memory, exit codes; and inputs that a plugin refuses.

use serde_json::{Value, json};

use crate::support::{
    guests::command,
    runner::{Runner, tests},
};

#[test]
fn schemas_name_the_places_that_break_them() {
    let runner = Runner::hostile(&tests(
        r#"
        good  | { do = "echo", value = { n = 1 } }         | schema = "answer.json"
        bad   | { do = "echo", value = { n = "1", m = 2 } } | schema = "answer.json"
        other | { do = "echo", value = 7 }                 | schema = "answer.json"
        "#,
    ));
    runner.write(
        "answer.json",
        r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false}"#,
    );
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.row("good")["checks"], json!([{"name": "schema", "verdict": "pass"}]));
    let message = |test: &str| run.row(test)["checks"][0]["message"].clone();
    assert_eq!(
        message("bad"),
        "`$.n` must be an integer, not a string; unknown key `m` (known: `n`)"
    );
    assert_eq!(message("other"), "the value must be an object, not a number");
}

#[test]
fn schemas_fetch_nothing_and_are_bounded() {
    let runner = Runner::hostile(&tests(
        r#"
        fetching  | { do = "echo", value = 1 } | schema = "fetching.json"
        exploding | { do = "echo", value = 1 } | schema = "exploding.json"
        "#,
    ));
    runner.write("fetching.json", r#"{"$ref": "file:///etc/passwd"}"#);
    let parts = (0..60).map(|n| {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        (format!("d{n}"), json!({"anyOf": [next, next]}))
    });
    let mut parts: serde_json::Map<String, Value> = parts.collect();
    parts.insert("d60".into(), json!({"type": "string"}));
    let exploding = json!({"$ref": "#/$defs/d0", "$defs": parts});
    runner.write("exploding.json", exploding.to_string());
    runner.refused(&[], &["test `fetching`", "nothing is fetched"]);
    runner.exec(&["--test", "exploding"]).expect(1);
    let run = runner.runs().pop().unwrap();
    let exploding = run.row("exploding")["checks"][0]["message"].to_string();
    assert!(exploding.contains("takes too many steps"), "{exploding}");
}

#[test]
fn scores_and_memory_are_bounded() {
    let runner = Runner::hostile(&tests(
        r#"
        score  | { do = "measure", score = 0.5 } | min_score = 0.5
        low    | { do = "measure", score = 0.4 } | min_score = 0.5
        none   | { do = "echo", value = 1 }      | min_score = 0.5
        memory | { do = "echo", value = 1 }      | max_memory = "100MiB"
        much   | { do = "echo", value = 1 }      | max_memory = 1024
        "#,
    ));
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let outcome = |test: &str| run.row(test)["outcome"].clone();
    assert_eq!(
        ["score", "low", "none", "memory", "much"].map(outcome),
        ["passed", "failed", "failed", "passed", "failed"]
    );
    let message = |test: &str| run.row(test)["checks"][0]["message"].clone();
    assert_eq!(message("low"), "expected a score of at least 0.5, got 0.4");
    assert_eq!(message("none"), "expected a score of at least 0.5, got no score");
    let much = message("much");
    assert!(much.as_str().unwrap().starts_with("expected at most 1 KiB, used "), "{much}");
}

#[test]
fn exit_codes_are_expected_and_judged_again() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    let scenario = |expect: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"fail\", \"why\"]\n[[tests]]\nid = \"a\"\nexpect = {{ {expect} }}\n"
        ));
    };
    let row = || runner.only_run().rows().pop().unwrap();
    scenario("exit_code = 1");
    runner.exec(&[]).expect(0);
    let passed = json!([{"name": "exit_code", "verdict": "pass", "actual": 1}]);
    assert_eq!(row()["checks"], passed);
    // No guest is called.
    scenario("exit_code = 2");
    runner.run(&["resume", "--from", "latest", "--accept-changes"]).expect(1);
    assert_eq!(row()["checks"][0]["message"], "expected exit code 2, got 1");
    scenario("exit_code = 1");
    runner.run(&["resume", "--from", "latest", "--accept-changes"]).expect(0);
    let rows = runner.only_run().rows();
    assert_eq!((rows.len(), &rows[2]["checks"]), (3, &passed));
    assert_eq!(rows[2]["judged"], 2);
}

#[test]
fn refused_inputs_are_reported_before_a_trial() {
    let runner = Runner::new(&[]);
    let scenario = |config: &str, input: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:units\"\nconfig = {{ {config} }}\n[[tests]]\nid = \"a\"\ninput = {{ {input} }}\n"
        ));
    };
    let input = "from = \"km\", to = \"mi\", value = 42";
    scenario("decimals = 2", input);
    runner.run(&["validate", "scenario.toml"]).expect(0);
    scenario("decimals = 20", input);
    let refused = ["refuses its `config`: at $.decimals"];
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&refused);
    runner.refused(&[], &refused);
    scenario("", "from = \"km\", to = \"mi\"");
    let refused = ["refuses the input: missing key `value`"];
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&refused);
    runner.refused(&[], &refused);
}

#[test]
fn refused_configs_have_place_and_near_key() {
    let runner = Runner::new(&[]);
    for (plugin, config, words) in [
        ("units", "{ decimal = 2 }", &["did you mean `decimals`?", "scenario.toml:3:"][..]),
        ("units", "{ decimals = \"2\" }", &["`$.decimals` must be", "scenario.toml:3:"]),
        ("http", "{ base_url = \"example.com\" }", &["$.base_url", "scenario.toml:3:"]),
        ("chat", "{}", &["missing key `model`"]),
    ] {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:{plugin}\"\nconfig = {config}\n[[tests]]\nid = \"a\"\n"
        ));
        runner.run(&["validate", "scenario.toml"]).expect(2).says(words);
    }
}
