//! Snapshots of one run with every outcome, in every form and at three widths. `./update` accepts changes.

use std::{collections::HashMap, fs};

use insta::assert_snapshot;
use regex::Regex;
use serde_json::{Value, json};

use crate::around::terminal::Terminal;
use crate::support::{run::Run, run::sealed, runner::Runner};

const SCENARIO: &str = r#"
[vars]
size = "small"

[gate]
pass_rate = 0.9

[providers.guest]
plugin = "hostile.wasm"

[providers.other]
plugin = "hostile.wasm"

[graders.judge]
plugin = "bundled:echo"
input = { verdict = "fail", score = 0.4, explanation = "It repeats the question." }
min_score = 0.5

[defaults]
meta = { topic = "guests" }

[[tests]]
id = "passed"
repeat = 2
input = { do = "echo", value = "{{var.size}}" }

[[tests]]
id = "measured"
input = { do = "measure", score = 0.8, tokens = 1234 }

[[tests]]
id = "group/text"
input = { do = "echo", value = "one\ntwo\u0007\nthree" }
expect = { equals = "one\n2\nthree" }

[[tests]]
id = "group/json"
input = { do = "echo", value = { city = "Paris", people = [1, 2] } }
expect = { json = { city = "Rome" } }

[[tests]]
id = "group/long-name-of-a-test-that-needs-more-than-half-of-a-narrow-screen"
input = { do = "echo", value = 1 }
expect = { equals = 2 }

[[tests]]
id = "hostile"
input = { do = "echo", value = "\u001b[2J</script><b>|`@all` ]]>\u202e=1+1" }
expect = { contains = "nothing" }

[[tests]]
id = "graded"
input = { do = "echo", value = "What is the answer?" }
expect = { graders = ["judge"] }

[[tests]]
id = "denied"
input = { do = "http" }

[[tests]]
id = "panic"
input = { do = "panic" }

[[tests]]
id = "busy"
input = { do = "error", kind = "rate-limited", code = "quota", message = "slower" }

[[tests]]
id = "timeout"
input = { do = "sleep" }
timeout = "50ms"

[[tests]]
id = "skipped"
input = { do = "verdict", verdict = "skip" }

[[tests]]
id = "flaky"
input = { do = "fail-until" }
retries = { max = 1 }

[[tests]]
id = "artifact"
input = { do = "artifact", name = "a.txt" }
"#;

/// A run that is years old: the age that is shown has four digits, so the lines are cut at the same words each day.
const FIRST: &str = "2020-11-20_09-18-04-015-every-6ba42b73";
const SECOND: &str = "2020-11-21_09-18-04-015-every-0c5b7a1e";

/// Runs the scenario twice. In the second run, a test is fixed, one regressed, one is new, and one is gone.
fn every_outcome() -> Runner {
    let runner = Runner::new(&["hostile"]);
    let second = SCENARIO
        .replace("two\\u0007", "2")
        .replace("id = \"skipped\"", "id = \"new\"")
        .replace("tokens = 1234 }", "tokens = 1234 }\nexpect = { min_score = 0.9 }");
    for (scenario, id) in [(SCENARIO, FIRST), (&*second, SECOND)] {
        runner.write("every.toml", scenario);
        let folder = format!("results/{id}");
        let flags = ["--jobs", "1", "--into", &folder, "--label", "team=night"];
        runner.run(&[&["exec", "every.toml"], &flags[..]].concat()).expect(1);
    }
    runner.runs().iter().for_each(fix);
    // The changed manifests have no valid signature.
    runner.run(&["trust", "--yes"]).expect(0);
    fs::remove_file(runner.path("results/runner.db")).unwrap();
    runner
}

/// Replaces everything in a run that depends on the machine or the time.
fn fix(run: &Run) {
    let times = |text: &str| fixed_times(text, &run.id()[..10]);
    let logs = run.text("logs.jsonl");
    let (mut rows, mut fixed_logs, mut numbers) = (String::new(), String::new(), HashMap::new());
    for (line, number) in ordered(&run.text("index.jsonl")).into_iter().zip(1_u64..) {
        let row: Value = serde_json::from_str(&line).unwrap();
        numbers.insert(row["seq"].as_u64(), number);
        let mut line = fixed_row(&line, number);
        let mut replace = |key: &str, old: &Value, new: u64| {
            line = line.replace(&format!("\"{key}\":{old},"), &format!("\"{key}\":{new},"));
        };
        replace("seq", &row["seq"], number);
        if let judged @ Some(_) = row["judged"].as_u64() {
            replace("judged", &row["judged"], numbers[&judged]);
        }
        if let Some(at) = row["logs"]["at"].as_u64() {
            replace("at", &row["logs"]["at"], fixed_logs.len() as u64);
            let log = logs[at as usize..].lines().next().unwrap();
            fixed_logs += &(sealed(&times(log)) + "\n");
        }
        rows += &(sealed(&times(&line)) + "\n");
    }
    run.write("index.jsonl", rows);
    run.write("logs.jsonl", fixed_logs);
    let mut manifest = run.manifest();
    manifest.as_object_mut().unwrap().remove("rows");
    manifest["scenario_path"] = json!("/work/every.toml");
    let session = &mut manifest["sessions"][0];
    for (key, value) in [
        ("command", json!(["runner", "exec", "every.toml"])),
        ("host", json!("host")),
        ("jobs", json!(1)),
        ("key", json!(1)),
        ("pid", json!(1)),
        ("user", json!("user")),
        ("wall", json!("all")),
        ("worked_ms", json!(1234.5)),
    ] {
        session[key] = value;
    }
    // Only the session of a busy machine has it.
    session.as_object_mut().unwrap().remove("suspended_ms");
    run.write("benchmark.json", times(&manifest.to_string()));
}

/// Returns the lines with all rows of a trial after its first one: graders and retries have their own time.
fn ordered(rows: &str) -> Vec<String> {
    let mut trials = Vec::new();
    let mut lines: Vec<_> = rows
        .lines()
        .map(|line| {
            let trial = serde_json::from_str::<Value>(line).unwrap()["trial"].to_string();
            let place = trials.iter().position(|known| *known == trial).unwrap_or(trials.len());
            if place == trials.len() {
                trials.push(trial);
            }
            (place, line.to_owned())
        })
        .collect();
    lines.sort_by_key(|(place, _)| *place);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Replaces durations and the sizes of memories. Only rows of a busy machine have a time of suspension.
fn fixed_row(line: &str, number: u64) -> String {
    let duration = format!("\"duration_ms\":{number}.25");
    let line = Regex::new(r#""duration_ms":[\d.]+"#).unwrap().replace_all(line, duration);
    let line = Regex::new(r#","suspended_ms":[\d.]+"#).unwrap().replace_all(&line, "");
    Regex::new(r#""peak_memory":\d+"#)
        .unwrap()
        .replace_all(&line, "\"peak_memory\":65536")
        .into_owned()
}

fn fixed_times(text: &str, day: &str) -> String {
    let times = Regex::new(r"\d{4}-\d\d-\d\dT[\d:.]+Z").unwrap();
    times.replace_all(text, format!("{day}T09:18:04.015Z")).into_owned()
}

/// Compares a text, without digests and ages, with `snapshots/NAME.snap`.
fn snapshot(name: &str, text: &str) {
    let digests = Regex::new(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b").unwrap();
    let text = digests.replace_all(text, "DIGEST");
    // Checksums include the digests of plugins.
    let text = Regex::new(r#"("crc": ?)"[0-9a-f]{8}""#).unwrap().replace_all(&text, "$1\"CRC\"");
    let text = Regex::new(r"\d+ \w+ ago").unwrap().replace_all(&text, "some days ago");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| assert_snapshot!(name, text));
}

#[test]
fn run_with_every_outcome_is_shown_at_each_width() {
    let runner = every_outcome();
    for columns in [60, 80, 200] {
        let script = format!("exec \"$runner\" show {SECOND}");
        let (code, shown) = Terminal::run_script(&runner, columns, "UTC", &script).end();
        assert_eq!(code, 0);
        snapshot(&format!("show_{columns}"), &shown.replace("\r\n", "\n"));
    }
}

#[test]
fn run_with_every_outcome_is_the_same_in_each_form() {
    let runner = every_outcome();
    let mut document: Value = runner.run(&["show", SECOND, "--json"]).document();
    assert_eq!(document["manifest"]["signature"].as_str().unwrap().len(), 64);
    document["manifest"]["signature"] = json!("…");
    for provider in document["manifest"]["providers"].as_array_mut().unwrap() {
        provider["limits"] = json!({});
    }
    snapshot("show_json", &serde_json::to_string_pretty(&document).unwrap());
    for (name, arguments) in [
        ("list", "list"),
        ("markdown", "report --markdown"),
        ("junit", "report --junit"),
        ("csv", "report --csv"),
        ("history", "history"),
        ("compare", "compare"),
        ("matrix", "show --matrix"),
        ("trial", &format!("show {FIRST} group/text@guest")),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        snapshot(name, &runner.run(&arguments).stdout);
    }
}
