//! Tools in plans: their problems, previews, fingerprints and manifests. No plugin here calls one.

use std::fs;

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::{guests::command, run::Run, runner::Runner};

/// An agent with a tool, one without, and a grader with a tool.
const TOOLS: &str = r#"
[providers.agent]
plugin = "bundled:echo"
grants = { tools = ["table"] }

[providers.plain]
plugin = "bundled:echo"

[graders.judge]
plugin = "bundled:echo"
input = { pass = true, explanation = "{{output}}" }
grants = { tools = ["table", "grep"] }

[tools.table]
plugin = "bundled:echo"
input_schema = "table.json"
limits = { memory = "64MiB" }
grants = { net = ["https://table.example.com"] }

[tools.grep]
plugin = "bundled:echo"
description = "Searches"

[[tests]]
id = "a"
input = "a"
providers = ["agent*"]
expect = { graders = ["judge"] }

[[tests]]
id = "b"
input = "b"
expect = { equals = "b" }
"#;

fn tools(scenario: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.write("table.json", r#"{"type": "object"}"#);
    runner.scenario(scenario);
    runner
}

/// Replaces a part of the scenario.
fn change(runner: &Runner, from: &str, to: &str) {
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    runner.scenario(&text.replacen(from, to, 1));
}

/// Returns the trials with a row of a session after `last`, the `seq` of a row.
fn trials_after(run: &Run, last: u64) -> Vec<String> {
    let rows = run.rows().into_iter().filter(|row| row["seq"].as_u64() > Some(last));
    let mut trials: Vec<_> = rows.map(|row| row["trial"].as_str().unwrap().to_owned()).collect();
    trials.sort_unstable();
    trials.dedup();
    trials
}

fn last(run: &Run) -> u64 {
    run.rows().iter().filter_map(|row| row["seq"].as_u64()).max().unwrap()
}

#[test]
fn invalid_schema_of_a_tool_is_shown_at_its_key() {
    let runner = tools(TOOLS);
    runner.write("table.json", r#"{"type": "objekt"}"#);
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn previews_list_tools_with_callers() {
    let runner = tools(TOOLS);
    let shown = runner.exec(&["--dry-run"]).expect(0);
    snapshot(&shown);
    let lines = [
        "agent: component `bundled:echo`, memory 256 MiB",
        "[providers.agent.grants]",
        "tools = [\"table\"]",
        "plain: component `bundled:echo`, memory 256 MiB",
        "grants: none",
        "tool table: component `bundled:echo`, memory 64 MiB",
        "[tools.table.grants]",
        "net = [\"https://table.example.com\"]",
        "called by: agent, judge",
        "tool grep: component `bundled:echo`, memory 256 MiB",
        "grants: none",
        "called by: judge",
        "grader judge: component `bundled:echo`, memory 256 MiB",
        "[graders.judge.grants]",
        "tools = [\"table\", \"grep\"]",
    ];
    shown.says(&[&lines.join(" ")]);
    assert!(!shown.stderr.contains("is granted the tool"), "{}", shown.stderr);
    let ran = runner.exec(&["--dry-run", "--json"]).expect(0);
    let plan: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    let kinds = plan["providers"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds.map(|one| (&one["name"], &one["tool"], &one["grader"])).collect();
    let (yes, no) = (&json!(true), &Value::Null);
    assert_eq!(
        kinds,
        [
            (&json!("agent"), no, no),
            (&json!("plain"), no, no),
            (&json!("table"), yes, no),
            (&json!("grep"), yes, no),
            (&json!("judge"), no, yes),
        ]
    );
    let budget = "unknown provider `table` in a budget; the scenario has `agent`, `plain`, `judge`";
    runner.refused(&["--budget", "table:tokens=1"], &[budget]);
    change(&runner, "\"table\", \"grep\"", "\"table\"");
    snapshot(&runner.exec(&["--dry-run"]).expect(0));
}

#[test]
fn providers_of_a_matrix_may_have_different_tools() {
    let runner = tools(TOOLS);
    change(
        &runner,
        "grants = { tools = [\"table\"] }",
        "grants = { tools = [\"{{matrix.tool}}\"] }\nmatrix = { tool = [\"table\", \"grep\"] }",
    );
    let shown = runner.exec(&["--dry-run", "--test", "b"]).expect(0);
    snapshot(&shown);
    change(&runner, "tool = [\"table\", \"grep\"]", "tool = [\"table\", \"grip\"]");
    snapshot(&runner.refused(&[], &[]));
}

#[test]
fn unselected_callers_need_no_tools() {
    let runner = tools(TOOLS);
    change(
        &runner,
        "plugin = \"bundled:echo\"\ninput_schema = \"table.json\"",
        "plugin = \"none.wasm\"\ninput_schema = \"none.json\"",
    );
    snapshot(&runner.refused(&[], &[]));
    runner.refused(&["--provider", "agent"], &["none.json"]);
    let shown = runner.exec(&["--provider", "plain"]).expect(0);
    assert!(!shown.stderr.contains("tool"), "{}", shown.stderr);
    let names = runner.only_run().manifest()["providers"].clone();
    assert_eq!(names.as_array().unwrap().len(), 1, "{names}");
    // A tool is not a provider that can be selected.
    snapshot(&runner.exec(&["--provider", "table"]).expect(5));
}

#[test]
fn commands_have_no_tools_and_are_described_to_providers() {
    let runner = tools(TOOLS);
    runner.link(&command(), "command.wasm");
    change(
        &runner,
        "plugin = \"bundled:echo\"\ngrants = { tools",
        "plugin = \"command.wasm\"\ngrants = { tools",
    );
    change(
        &runner,
        "[tools.grep]\nplugin = \"bundled:echo\"\ndescription = \"Searches\"",
        "[tools.grep]\nplugin = \"command.wasm\"",
    );
    let only = "plugin `command.wasm` is a command, and only a component can call tools";
    let refused = runner.run(&["validate", "scenario.toml"]).expect(2);
    refused.says(&[only]);
    // A grader needs no description.
    assert!(!refused.stderr.contains("has no `description`"), "{}", refused.stderr);
    change(&runner, "tools = [\"table\"] }", "tools = [\"table\", \"grep\"] }");
    snapshot(&runner.refused(&["validate", "scenario.toml"], &[only]));
    change(
        &runner,
        "plugin = \"command.wasm\"\ngrants",
        "plugin = \"command.wasm\"\nprotocol = \"json\"\ngrants",
    );
    snapshot(&runner.refused(&["validate", "scenario.toml"], &[]));
}

#[test]
fn changed_tool_runs_only_its_callers_again() {
    let runner = tools(TOOLS);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.count("passed"), 3);
    // The stored scenario has the schema.
    fs::remove_file(runner.path("table.json")).unwrap();
    runner.run(&["resume", "latest", "--rerun", "a@agent#1"]).expect(0);
    for (file, text, trials) in [
        ("table.json", r#"{"type": "object", "title": "x"}"#, vec!["a@agent#1", "b@agent#1"]),
        ("table.json", r#"{"type": "object", "title": "x"}"#, vec![]),
    ] {
        runner.write(file, text);
        let before = last(&run);
        runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
        assert_eq!(trials_after(&run, before), trials);
    }
    let before = last(&run);
    change(&runner, "64MiB", "65MiB");
    snapshot(&runner.run(&["resume", "latest"]));
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!(trials_after(&run, before), ["a@agent#1", "b@agent#1"]);
    // Only the grader has this one.
    let before = last(&run);
    change(&runner, "\"Searches\"", "\"Searches files\"");
    runner.run(&["resume", "latest", "--accept-changes"]).expect(0);
    assert_eq!(trials_after(&run, before), ["a@agent#1"]);
    assert!(run.rows_of("a").last().unwrap()["judged"].is_u64());
    runner.run(&["verify"]).expect(0);
}

#[test]
fn rescore_calls_graders_with_the_present_tools() {
    let runner = tools(TOOLS);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let before = last(&run);
    change(&runner, "64MiB", "65MiB");
    runner.run(&["rescore"]).expect(0);
    assert_eq!(trials_after(&run, before), ["a@agent#1"]);
    let before = last(&run);
    snapshot(&runner.run(&["rescore"]).expect(0));
    let providers = run.manifest()["providers"].clone();
    let names: Vec<_> =
        providers.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["agent", "plain", "table", "grep", "judge", "table", "grep"]);
    // The stored plan has not changed.
    runner.run(&["resume", "latest", "--rerun", "b@agent#1"]).expect(0);
    assert_eq!(trials_after(&run, before), ["b@agent#1"]);
    runner.run(&["verify"]).expect(0);
    let document = runner.show(&run);
    let names = document["providers"].as_array().unwrap().iter();
    assert_eq!(names.map(|one| &one["provider"]).collect::<Vec<_>>(), ["agent", "plain"]);
}

#[test]
fn comparisons_name_changed_tools() {
    let runner = tools(TOOLS);
    runner.exec(&[]).expect(0);
    change(&runner, "64MiB", "65MiB");
    runner.exec(&[]).expect(0);
    let runs = runner.runs();
    let [base, new] = [0, 1].map(|place| runs[place].id());
    let compared = runner.run(&["compare", base, new]).expect(0);
    compared.says(&["2 results have other tools: agent"]);
    for name in ["table", "grep"] {
        assert!(!compared.stdout.contains(name), "{}", compared.stdout);
    }
}

#[test]
fn foreign_run_shows_tools_and_callers_before_it_is_used() {
    let runner = tools(TOOLS);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let mut manifest = run.manifest();
    manifest.as_object_mut().unwrap().remove("signature");
    run.write("benchmark.json", manifest.to_string());
    let lines = [
        "[providers.agent.grants] tools = [\"table\"]",
        "[tools.table.grants] net = [\"https://table.example.com\"]",
        "[graders.judge.grants] tools = [\"table\", \"grep\"]",
    ];
    let refused = runner.run(&["resume", "latest", "--rerun", "all"]).expect(2);
    refused.says(&[&lines.join(" ")]);
    runner.run(&["show", "latest"]).expect(0).says(&lines);
}

#[test]
fn expected_calls_name_tools_that_their_providers_may_call() {
    let runner = tools(TOOLS);
    let expecting = |more: &str| {
        let expected = format!("expect.transcript = {{ {more} }}");
        runner.scenario(&TOOLS.replacen("expect = { equals = \"b\" }", &expected, 1));
    };
    for more in ["calls = [\"table\"]", "call = [{ tool = \"grep\" }]", "never = [\"tabel\"]"] {
        expecting(more);
        snapshot(&runner.refused(&[], &[]));
    }
    for more in ["never = [\"grep\", \"shell\"]", "calls = [\"tabl*\"]"] {
        expecting(more);
        runner.exec(&["--dry-run"]).expect(0);
    }
    // A tool that nothing selected may call is known, too.
    expecting("never = [\"table\"]");
    runner.exec(&["--dry-run", "--provider", "plain"]).expect(0);
}
