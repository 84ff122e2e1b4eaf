//! `[vars]` and `--set`: values of a scenario that a command line replaces.

use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    runner::Runner,
    truth::{assert_whole, results},
};

fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [vars]
        size = "small"
        repeat = 1
        list = "one"
        greeting = { description = "A text for all tests." }
        [providers.p]
        plugin = "hostile.wasm"
        config = { size = "{{var.size}}", text = "-{{var.size}}-" }
        grants.env = { SIZE = "{{var.size}} {{config.size}}" }
        [[tests]]
        id = "t"
        repeat = "{{var.repeat}}"
        input = { do = "test" }
        [[test_lists]]
        files = ["{{var.list}}.jsonl"]
        id = "{{row.id}}"
        input = { do = "echo", value = "{{var.greeting}} {{row.id}}" }
        expect = { equals = "{{var.greeting}} {{row.id}}" }
        "#,
    );
    runner.write("one.jsonl", "{\"id\": \"first\"}\n");
    runner.write("two.jsonl", "{\"id\": \"second\"}\n");
    runner
}

#[test]
fn values_of_the_command_line_replace_defaults() {
    let runner = runner();
    let set = ["--set", "size=x=large", "--set", "repeat=2", "--set", "greeting=hi {{row.id}}"];
    let ran = runner.exec(&[&set[..], &["--set", "list=two"]].concat()).expect(0);
    let run = assert_whole(&runner, 3);
    let trials: Vec<_> = results(&run).into_keys().collect();
    assert_eq!(trials, ["second@p#1", "t@p#1", "t@p#2"]);
    let output = &run.rows_of("t")[0]["output"];
    assert_eq!(output["config"], json!({"size": "x=large", "text": "-x=large-"}));
    assert_eq!(run.rows_of("second")[0]["output"], "hi {{row.id}} second");
    snapshot(&ran);
    // They are kept as labels, with the defaults of the others.
    let listed = &runner.list()[0];
    assert_eq!(listed["labels"]["size"], "x=large");
    assert_eq!(listed["labels"]["repeat"], "2");
    let found = runner.run(&["list", "--label", "list=two", "--json"]).expect(0);
    assert_eq!(found.document()["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn resume_uses_the_values_of_the_run() {
    let runner = runner();
    runner.exec(&["--set", "greeting=hello", "--set", "size=mid"]).expect(0);
    runner.run(&["resume", "--rerun", "all"]).expect(0);
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    let run = runner.only_run();
    for row in run.rows_of("t") {
        assert_eq!(row["output"]["config"]["size"], "mid");
    }
    assert_eq!(run.rows_of("first").len(), 2);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn secret_value_gets_a_warning() {
    let runner = runner();
    let ran = runner.exec(&["--set", "greeting=sk-12345", "--dry-run"]).expect(0);
    assert!(ran.stderr.contains("`--set greeting` is stored with the run"), "{}", ran.stderr);
}

#[test]
fn values_of_whole_texts_are_no_templates() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        vars = { want = {} }
        [providers.p]
        plugin = "hostile.wasm"
        [[test_lists]]
        files = ["list.jsonl"]
        input = { do = "echo", value = "{{row.id}}" }
        expect = { contains = "{{var.want}}" }
        "#,
    );
    runner.write("list.jsonl", "{\"id\": \"first\"}\n");
    runner.exec(&["--set", "want=first"]).expect(0);
    runner.exec(&["--set", "want={{row.id}}"]).expect(1);
    // As a value, `null` would remove the expectation.
    let ran = runner.exec(&["--set", "want=null"]).expect(2);
    assert!(ran.stderr.contains("`var.want` has no value"), "{}", ran.stderr);
}

#[test]
fn texts_of_other_template_languages_reach_plugins() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        vars = { tone = "{{{{input}} {{tone}}" }
        [providers.p]
        plugin = "hostile.wasm"
        [providers.p.config]
        template = "{{ messages }} {{{{output}} {% if x %}{{a | b}}"
        tone = "{{var.tone}}"
        many = ["-{{var.tone}}-"]
        "{{{{key}}" = "Bearer {{secret.KEY}}"
        [[tests]]
        id = "config"
        input = { do = "test" }
        [[tests]]
        id = "input"
        input = { do = "echo", value = "{{question}} {{{{input}} {{var.tone}}" }
        "#,
    );
    runner.exec(&[]).expect(0);
    let run = assert_whole(&runner, 2);
    let config = json!({
        "template": "{{ messages }} {{output}} {% if x %}{{a | b}}",
        "tone": "{{input}} {{tone}}",
        "many": ["-{{input}} {{tone}}-"],
        "{{key}}": "Bearer {{secret.KEY}}",
    });
    assert_eq!(run.row("config")["output"]["config"], config);
    assert_eq!(run.row("input")["output"], "{{question}} {{input}} {{input}} {{tone}}");
}

#[test]
fn judge_with_the_output_in_its_config_is_refused() {
    let runner = Runner::new(&[]);
    runner.scenario(
        r#"
        providers.p.plugin = "bundled:echo"
        [graders.judge]
        plugin = "bundled:echo"
        config = { system = "Grade the answer {{output}} against {{reference}}." }
        input = "Grade it."
        [[tests]]
        id = "a"
        expect = { graders = ["judge"] }
        "#,
    );
    for command in ["validate", "exec"] {
        let ran = runner.run(&[command, "scenario.toml"]).expect(2);
        snapshot(&ran);
    }
}
