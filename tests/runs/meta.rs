//! What tests say of themselves, and what results tell by it.

use serde_json::{Value, json};

use crate::support::runner::Runner;

const SCENARIO: &str = r#"
[defaults]
meta = { level = 1, kind = "exam" }

[[tests]]
id = "easter"
meta = { topic = "dates", hard = true }
input = { do = "echo", value = 1 }
expect = { equals = 1 }
repeat = 3

[[tests]]
id = "leap"
meta = { topic = "dates", level = 2 }
input = { do = "echo", value = 1 }
expect = { equals = 2 }

[[test_lists]]
files = ["rows.csv"]
id = "rows/{{row.name}}"
input = { do = "echo", value = "{{row.name}}" }
meta = { topic = "{{row.topic}}", from = "csv" }

[[test_lists]]
files = ["tests.jsonl"]
meta = { from = "jsonl" }
"#;

fn with_meta(dimensions: &str) -> Runner {
    let runner = Runner::hostile(&format!("{dimensions}\n{SCENARIO}"));
    runner.write("rows.csv", "name,topic\na,dates\nb,words\n");
    let test = json!({ "id": "own", "input": { "do": "echo", "value": 1 }, "meta": { "topic": "own", "from": "itself" } });
    runner.write("tests.jsonl", format!("{test}\n"));
    runner.exec(&[]).expect(1);
    runner
}

/// The statistics of a report: provider's tests with this, how many passed of how many.
fn groups(runner: &Runner) -> Vec<(String, u64, u64)> {
    let report = runner.run(&["report", "--jsonl"]).expect(0).stdout;
    let head: Value = serde_json::from_str(report.lines().next().unwrap()).unwrap();
    let groups = head["statistics"].as_array().unwrap().iter();
    let groups = groups.filter(|group| !group["dimension"].is_null());
    groups
        .map(|group| {
            let text = |key: &str| group[key].as_str().unwrap().to_owned();
            let count = |key: &str| group[key].as_u64().unwrap();
            let name = format!("{}={}", text("dimension"), text("value"));
            (name, count("passed"), count("trials"))
        })
        .collect()
}

#[test]
fn results_are_told_by_what_tests_say_of_themselves() {
    let runner = with_meta("");
    let expected = [
        ("from=csv", 2, 2),
        ("from=itself", 1, 1),
        ("hard=true", 3, 3),
        ("kind=exam", 6, 7),
        ("level=1", 6, 6),
        ("level=2", 0, 1),
        ("topic=dates", 4, 5),
        ("topic=own", 1, 1),
        ("topic=words", 1, 1),
    ];
    let expected = expected.map(|(name, passed, of)| (name.to_owned(), passed, of));
    assert_eq!(groups(&runner), expected);
    let shown = runner.run(&["show"]).expect(0);
    let lines: Vec<Vec<_>> = shown
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let of = |dimension: &[&str]| lines.iter().find(|line| line.get(1..4) == Some(dimension));
    let dates = of(&["topic", "=", "dates"]).unwrap();
    assert_eq!(dates[4..7], ["4/5", "80.0", "%"], "{}", shown.stdout);

    let page = runner.run(&["show", "latest", "easter@hostile#1", "--json"]);
    let meta = page.expect(0).document()["planned"]["meta"].clone();
    assert_eq!(
        meta,
        json!({ "hard": true, "kind": "exam", "level": 1, "topic": "dates" })
    );
    let rows = runner.run(&["show", "--json"]).expect(0).document()["rows"].clone();
    let row = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["test"] == "own")
        .unwrap();
    assert_eq!(row["meta"]["from"], "itself");
    assert_eq!(
        (&row["input"]["do"], &row["tags"]),
        (&json!("echo"), &json!([]))
    );
}

#[test]
fn a_scenario_says_which_keys_are_dimensions() {
    let runner = with_meta("dimensions = [\"topic\"]");
    let names: Vec<_> = groups(&runner).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["topic=dates", "topic=own", "topic=words"]);
    let none = with_meta("dimensions = []");
    assert_eq!(groups(&none), []);
}

#[test]
fn filters_ask_for_it_before_and_after_a_run() {
    let runner = with_meta("");
    let planned = |filter: &str| {
        let ran = runner.exec(&["--dry-run", "-E", filter]).expect(0);
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        planned("meta(topic=w*) | meta(level=2)"),
        ["leap@hostile#1", "rows/b@hostile#1"]
    );
    assert_eq!(planned("meta(hard)").len(), 3);
    assert_eq!(planned("!meta(topic=dates)").len(), 2);
    let shown = runner
        .run(&["show", "-E", "meta(from=csv)"])
        .expect(0)
        .stdout;
    assert!(shown.contains("rows/a@") && shown.contains("rows/b@") && !shown.contains("easter@"));
    let refused = runner.run(&["show", "-E", "meta(=x)"]).expect(2);
    refused.says(&["expected a key, such as `topic=dates`"]);
}

#[test]
fn what_no_test_can_say_is_refused_with_its_place() {
    let refused = |meta: &str, says: &[&str]| {
        let test = "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n";
        Runner::hostile(&format!("{test}meta = {meta}\n")).refused(&[], says);
    };
    refused("{ topic = [1] }", &["`topic` must be", "scenario.toml:4"]);
    refused("{ \"a b\" = 1 }", &["`a b` is not a valid name here"]);
    refused("\"dates\"", &["`meta` must be a table"]);
    let long = "x".repeat(257);
    refused(&format!("{{ a = \"{long}\" }}"), &["more than 256 bytes"]);
    let many: Vec<_> = (0..33).map(|key| format!("k{key} = 1")).collect();
    refused(
        &format!("{{ {} }}", many.join(", ")),
        &["33 keys, and at most 32"],
    );

    let runner = Runner::hostile("[[test_lists]]\nfiles = [\"t.jsonl\"]\n");
    runner.write("t.jsonl", "{\"id\": \"a\", \"meta\": {\"k\": [1]}}\n");
    runner.refused(&[], &["t.jsonl:1", "`meta.k`"]);
}

#[test]
fn the_runs_of_tests_that_say_nothing_are_as_they_were() {
    let tests = "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n";
    let runner = Runner::hostile(tests);
    runner.exec(&[]).expect(0);
    let suite = |runner: &Runner| {
        let manifest: Value =
            serde_json::from_str(&runner.only_run().read("benchmark.json")).unwrap();
        manifest["metadata"]["suite"].clone()
    };
    // SHA-256 of the list as version 0.1.0 has written it.
    let line = r#"{"expect":{},"files":[],"id":"a","input":{"do":"echo","value":1},"providers":[0],"repeat":1,"retries":{"backoff":0,"max":0,"on":[]},"tags":[]}"#;
    let digest = ::runner::model::Digest::of(format!("{line}\n").as_bytes());
    assert_eq!(suite(&runner), digest.to_string());
    let other = Runner::hostile(&format!("{tests}meta = {{ topic = \"dates\" }}\n"));
    other.exec(&[]).expect(0);
    assert_ne!(suite(&other), suite(&runner));
}
