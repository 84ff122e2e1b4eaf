//! What others make of reports: a browser of the pages, Jenkins' schema of the JUnit XML.
//!
//! It needs a browser, and the tools that `.ci/run` installs into `target/tools/readers`. A missing one is a failure.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

#[allow(dead_code, reason = "these tests need only some of it")]
mod support;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use support::runner::{Runner, tests};

/// What a browser would do something with. Where it is done, `harmed` is set or a dialog opens.
const HOSTILE: &str = "</pre></details></script><script>harmed = alert(1)</script><img src=x onerror=\"harmed=alert(2)\"><svg onload=alert(3)><style>*{display:none}</style><iframe srcdoc='<script>parent.harmed=1</script>'></iframe><a href=\"javascript:alert(4)\">x</a><base href=//example.com>]]>--><form action=//example.com>&lt;b&gt;\u{1b}[31m";
/// How its parts stand in the page that a reader could not see or that turn the rest.
const HIDDEN: [(&str, &str); 2] = [
    ("a\u{202e}b", "a\\u{202e}b"),
    ("c\u{200b}d\u{2066}", "c\\u{200b}d\\u{2066}"),
];

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/readers")
}

/// Runs a script beside these tests to its end, which is a good one.
#[track_caller]
fn node(script: &str, pages: &Path, args: &[&Path]) {
    let tools = tools();
    assert!(
        tools.join("node_modules").exists(),
        "{} is missing: `.ci/run` installs it",
        tools.display()
    );
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    assert!(Path::new(&chromium).exists(), "there is no {chromium}");
    let ran = Command::new("node")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/readers")
                .join(script),
        )
        .args(args)
        .env("TOOLS", tools)
        .env("CHROMIUM", chromium)
        .env("PAGES", pages)
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        ran.status.success(),
        "{}{}",
        said(&ran.stdout),
        said(&ran.stderr)
    );
}

/// A run with every outcome, a retry, and files.
fn every_outcome() -> Runner {
    let text = tests(
        r#"
        passes | { do = "echo", value = 1 } | equals = 1
        fails | { do = "echo", value = "one\ntwo\nthree" } | equals = "one\n2\nthree"
        breaks | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
        skips | { do = "verdict", verdict = "skip" } |
        sleeps | { do = "sleep", ms = 60000 } |
        recovers | { do = "fail-until", attempt = 2 } | equals = 2
        writes | { do = "artifact", name = "a.txt" } | equals = 0
        draws | { do = "picture", name = "dot.png" } | equals = 0
        measures | { do = "measure", score = 0.5, tokens = 10 } |
        "#,
    );
    let text = text.replace("id = \"passes\"", "id = \"passes\"\ntags = [\"a-tag\"]");
    let defaults = "[defaults]\ntimeout = \"1s\"\nretries = { max = 1, on = [\"internal\", \"unavailable\"] }\n";
    let runner = Runner::hostile(&format!("{defaults}{text}"));
    runner
        .exec(&["--repeat", "2", "--into", "results/every"])
        .expect(1);
    runner
}

/// A run in which every text that a guest has any say in is hostile.
fn hostile() -> Runner {
    let said = HIDDEN
        .iter()
        .fold(HOSTILE.to_owned(), |said, (hidden, _)| said + hidden);
    let text = serde_json::to_string(&said).unwrap();
    let runner = Runner::hostile(&tests(&format!(
        r#"
        fails | {{ do = "echo", value = {text} }} | equals = "y"
        breaks | {{ do = "error", kind = "internal", code = "E1", message = {text} }} |
        says | {{ do = "say", text = {text} }} | equals = "y"
        "#
    )));
    runner.exec(&[]).expect(1);
    runner
}

/// More tests than a page has in its table.
fn many() -> Runner {
    let runner = Runner::hostile("test_lists = [{ files = [\"many.jsonl\"] }]\n");
    let lines = (0..2_300).map(|number| {
        let value = if number % 10 == 9 { "x" } else { "y" };
        let id = format!("echo-{number:04}");
        let line =
            json!({"id": id, "input": {"do": "echo", "value": value}, "expect": {"equals": "y"}});
        format!("{line}\n")
    });
    runner.write("many.jsonl", lines.collect::<String>());
    runner.exec(&[]).expect(1);
    runner
}

fn page(runner: &Runner, to: &Path, name: &str) {
    let file = to.join(name);
    let args = ["report", "-o", file.to_str().unwrap()];
    runner.run(&args).expect(0);
}

#[test]
fn reports_are_what_a_browser_and_its_people_expect() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path();
    let every = every_outcome();
    page(&every, to, "every.html");
    page(&hostile(), to, "hostile.html");
    page(&many(), to, "many.html");
    let worse = fs_err::read_to_string(every.path("scenario.toml")).unwrap();
    every.scenario(&worse.replacen("equals = 1", "equals = 2", 1));
    every
        .exec(&["--repeat", "2", "--into", "results/worse"])
        .expect(1);
    let base = every.path("results/every");
    let file = to.join("compare.html");
    let args = [
        "compare",
        base.to_str().unwrap(),
        "latest",
        "-o",
        file.to_str().unwrap(),
    ];
    every.run(&args).expect(0);
    let shown = HIDDEN.map(|(_, shown)| shown.to_owned());
    let text = HOSTILE.trim_end_matches("\u{1b}[31m").to_owned();
    let shown: Vec<String> = shown.into_iter().chain([text]).collect();
    fs_err::write(
        to.join("hostile.json"),
        json!({ "shown": shown }).to_string(),
    )
    .unwrap();
    node("report.mjs", to, &[]);
}

#[test]
fn junit_xml_keeps_to_the_schema_of_jenkins() {
    let folder = tempfile::tempdir().unwrap();
    let runners = [every_outcome(), hostile(), many()];
    let files: Vec<PathBuf> = runners
        .iter()
        .enumerate()
        .map(|(number, runner)| {
            let name = format!("{number}.xml");
            page(runner, folder.path(), &name);
            folder.path().join(name)
        })
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    node("junit.mjs", folder.path(), &files);
}
