//! The dashboard in a real browser. The script starts the server itself, because it also kills it.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{HIDDEN, HOSTILE, many, node_with, support::runner::Runner, tests};

/// Trials that take a while, of which some fail until their second attempt at the run.
const SLOW: &str =
    "name = \"slow\"\n[run]\nconcurrency = 2\n[providers.hostile]\nplugin = \"../hostile.wasm\"\n";

/// A folder with scenarios that can be started, and with runs of every kind.
fn root() -> Runner {
    let runner = many();
    let every = tests(
        r#"
        passes | { do = "echo", value = 1 } | equals = 1
        fails | { do = "echo", value = "one\ntwo\nthree" } | equals = "one\n2\nthree"
        breaks | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
        skips | { do = "verdict", verdict = "skip" } |
        recovers | { do = "fail-until", attempt = 2 } | equals = 2
        writes | { do = "artifact", name = "a.txt" } | equals = 0
        draws | { do = "picture", name = "dot.png" } | equals = 0
        logs | { do = "log" } |
        asks | { do = "http" } | equals = 1
        measures | { do = "measure", score = 0.5, tokens = 10 } |
        "#,
    );
    let head = "name = \"every\"\n[defaults]\nretries = { max = 1, on = [\"internal\", \"unavailable\"] }\n[providers.hostile]\nplugin = \"../hostile.wasm\"\n[providers.other]\nplugin = \"../hostile.wasm\"\n";
    runner.write("scenarios/every.toml", format!("{head}{every}"));
    for into in [
        "results/2026-01-01_00-00-00-000-every1",
        "results/2026-01-02_00-00-00-000-every2",
    ] {
        let args = [
            "exec",
            "scenarios/every.toml",
            "--repeat",
            "2",
            "--into",
            into,
        ];
        runner.run(&args).expect(1);
    }

    let said = HIDDEN
        .iter()
        .fold(HOSTILE.to_owned(), |said, (hidden, _)| said + hidden);
    let text = serde_json::to_string(&said).unwrap();
    let hostile = tests(&format!(
        r#"
        fails | {{ do = "echo", value = {text} }} | equals = "y"
        breaks | {{ do = "error", kind = "internal", code = "E1", message = {text} }} |
        says | {{ do = "say", text = {text} }} | equals = "y"
        writes | {{ do = "artifact", name = "x.html" }} | equals = "y"
        "#
    ));
    let name = serde_json::to_string(&format!("hostile {said}")).unwrap();
    let head = format!("name = {name}\n[providers.hostile]\nplugin = \"../hostile.wasm\"\n");
    runner.write("scenarios/hostile.toml", format!("{head}{hostile}"));
    let into = "results/2026-01-03_00-00-00-000-hostile";
    let ran = runner.run(&["exec", "scenarios/hostile.toml", "--into", into]);
    if ran.code != Some(1) {
        // A name of a scenario has no control characters in it.
        let head = "name = \"hostile <b>\"\n[providers.hostile]\nplugin = \"../hostile.wasm\"\n";
        runner.write("scenarios/hostile.toml", format!("{head}{hostile}"));
        runner
            .run(&["exec", "scenarios/hostile.toml", "--into", into])
            .expect(1);
    }

    let naps = (0..40).map(|number| {
        let says = if number % 10 == 3 { "late" } else { "slept" };
        format!("[[tests]]\nid = \"nap-{number:02}\"\ninput = {{ do = \"sleep\", ms = 400 }}\nexpect = {{ equals = \"{says}\" }}\n")
    });
    runner.write(
        "scenarios/slow.toml",
        format!("{SLOW}{}", naps.collect::<String>()),
    );
    let talks = tests(
        r#"
        says | { do = "log", ms = 5000 } |
        floods | { do = "flood-log", count = 2500, bytes = 10 } |
        "#,
    );
    runner.write(
        "scenarios/talks.toml",
        format!("{}{talks}", SLOW.replace("slow", "talks")),
    );
    let broken = "name = \"broken\"\n[providers.hostile]\nplugin = \"../hostile.wasm\"\nconcurency = 3\n[[tests]]\nid = \"a\"\ninput = 1\n";
    runner.write("scenarios/broken.toml", broken);
    runner
}

#[test]
fn the_dashboard_is_what_a_browser_and_its_people_expect() {
    let runner = root();
    let shown = HIDDEN.map(|(_, shown)| shown.to_owned());
    let text = HOSTILE.trim_end_matches("\u{1b}[31m").to_owned();
    let shown: Vec<String> = shown.into_iter().chain([text]).collect();
    runner.write("hostile.json", json!({ "shown": shown }).to_string());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let variables = [
        ("RUNNER", PathBuf::from(env!("CARGO_BIN_EXE_runner"))),
        ("RUNNER_CACHE", cache),
        ("HOME", runner.path("")),
    ];
    node_with("dashboard.mjs", &runner.path(""), &[], &variables);
}
