//! What others make of what the runner says: a browser of the pages, Jenkins' schema of the JUnit XML, curl of the API, and
//! programs that read its contract.
//!
//! It needs a browser, and the tools that `.ci/run` installs into `target/tools/readers`. A missing one is a failure.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

#[path = "readers/api.rs"]
mod api;
#[path = "readers/dashboard.rs"]
mod dashboard;
#[path = "readers/scripts.rs"]
mod scripts;
#[allow(dead_code, reason = "these tests need only some of it")]
mod support;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use support::{
    pages::blocks_of,
    runner::{CommandExt as _, Runner, tests},
};

/// What a browser would do something with. Where it is done, `harmed` is set or a dialog opens.
const HOSTILE: &str = "</pre></details></script><script>harmed = alert(1)</script><img src=x onerror=\"harmed=alert(2)\"><svg onload=alert(3)><style>*{display:none}</style><iframe srcdoc='<script>parent.harmed=1</script>'></iframe><a href=\"javascript:alert(4)\">x</a><base href=//example.com>]]>--><form action=//example.com>&lt;b&gt;\u{1b}[31m";
/// How its parts stand in the page that a reader could not see or that turn the rest.
const HIDDEN: [(&str, &str); 2] = [
    ("a\u{202e}b", "a\\u{202e}b"),
    ("c\u{200b}d\u{2066}", "c\\u{200b}d\\u{2066}"),
];

/// What the examples of the page about the server start.
const CALLED: &str = r#"
[run]
concurrency = 1
[providers.hostile]
plugin = "../hostile.wasm"
[[tests]]
id = "fails"
input = { do = "echo", value = 1 }
expect = { equals = 2 }
[[tests]]
id = "slow"
input = { do = "sleep" }
timeout = "1s"
"#;

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/readers")
}

/// Runs a script beside these tests to its end, which is a good one.
#[track_caller]
fn node(script: &str, pages: &Path, args: &[&Path]) {
    node_with(script, pages, args, &[]);
}

/// The same with more variables of the environment.
#[track_caller]
fn node_with(script: &str, pages: &Path, args: &[&Path], variables: &[(&str, PathBuf)]) {
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
        .envs(variables.iter().map(|(name, value)| (name, value)))
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

#[test]
fn the_calls_of_the_page_work_as_they_are_written() {
    let blocks = blocks_of("sh");
    let block = blocks.iter().find(|block| block.text.contains("api() {"));
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let script = block.unwrap().text.replace("7878", &port.to_string());
    let script = script.replace(
        "runner serve --scenarios scenarios --token-file token &",
        &format!(
            "$runner serve --scenarios scenarios --token-file token --listen 127.0.0.1:{port} 2>said &\n\
             trap \"kill $!\" EXIT\n\
             until grep -q open said; do kill -0 $! || exit 9; sleep 0.05; done"
        ),
    );
    // Each answer on a line of its own.
    let script = script.replace("curl -s", "curl -sS -w '\\n%{http_code}\\n'");
    let runner = Runner::new(&["hostile"]);
    runner.write("scenarios/basic.toml", CALLED);
    let said = runner.shell(&script).run().expect(0);
    let statuses: Vec<_> = said.stdout.lines().filter(|line| line.len() == 3).collect();
    assert_eq!(
        statuses,
        ["200", "201", "200", "200", "202", "200"],
        "{}\n{}",
        said.stdout,
        said.stderr
    );
    assert!(said.stdout.contains("event: finished"), "{}", said.stdout);
    assert_eq!(runner.only_run().ending()[0], "completed");
}
