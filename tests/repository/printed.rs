//! What the documentation shows of the program's output is what the program prints, apart from numbers, times and ids.

use regex::Regex;
use serde_json::Value;

use crate::support::{
    guests::guest,
    pages::{Block, blocks_of, read},
    runner::{Ran, Runner},
    terminal::on_terminal,
};

/// Blocks that no run of this test prints: how they begin, and why.
const OTHERS: [(&str, &str); 6] = [
    (
        "results/      ",
        "a picture of a folder, whose names other tests hold",
    ),
    (
        "a trial of the whole `exec` path",
        "what `cargo bench` prints, which takes minutes",
    ),
    (
        "a trial in a fresh sandbox at -j 1",
        "what `cargo bench` prints, which takes minutes",
    ),
    (
        "      run      scenario",
        "two runs of which one is worse by chance; `tests/compare.rs` compares some",
    ),
    (
        "6 runs of `nightly`",
        "runs of a week; `tests/history.rs` has a history",
    ),
    (
        "provider      passed  failed  errors",
        "the conformance scenario, whose plugins take minutes to build",
    ),
];

const POEM: &str = r#"
name = "poem"
[providers.echo]
plugin = "hostile.wasm"
[[tests]]
id = "poem"
input = { do = "echo", value = """
Two roads diverged in a yellow wood,
And sorry I could not travel both
""" }
expect = { equals = """
Two roads diverged in a yellow wood,
And glad I could not travel both
""" }
"#;

const NIGHTLY: &str = r#"
name = "nightly"
[providers.hostile]
plugin = "hostile.wasm"
[[tests]]
id = "endless"
input = { do = "loop" }
[[tests]]
id = "short"
input = { do = "echo", value = 1 }
repeat = 2
"#;

const WEATHER: &str = r#"
name = "weather"
[providers.weather]
plugin = "leaky.wasm"
[[tests]]
id = "forecast"
input = "output"
"#;

const TYPO: &str = r#"name = "typo"
[providers.echo]
plugin = "hostile.wasm"
[[tests]]
id = "greeting"
input = "hello"
expects = { equals = "hello" }
timeout = "10 parsecs"
"#;

#[test]
fn what_the_pages_show_of_the_output_is_what_is_printed() {
    let printed: Vec<_> = printed().lines().map(shape).collect();
    let blocks = blocks_of("text");
    for (begin, _) in OTHERS {
        let is_there = blocks.iter().any(|block| block.text.starts_with(begin));
        assert!(is_there, "no page has a block that begins with `{begin}`");
    }
    let mut missing = Vec::new();
    for block in blocks.iter().filter(|block| !is_other(block)) {
        // What is called is there, too.
        let lines = block.text.lines().filter(|line| !line.starts_with("$ "));
        let unknown = lines.filter(|line| !printed.contains(&shape(line)));
        missing.extend(unknown.map(|line| format!("{}: {line}", block.place())));
    }
    assert_eq!(missing, [""; 0], "{printed:#?}");
}

#[test]
fn the_picture_shows_what_is_printed() {
    let runner = Runner::new(&["units", "http_provider"]);
    let scenario = read("scenarios/units.toml");
    let scenario = scenario.replace("plugins/http", "http_provider.wasm");
    let scenario = scenario.replace("plugins/units", "units.wasm");
    runner.write("scenarios/units.toml", scenario);
    let command = runner.command(&["exec", "scenarios/units.toml"]);
    let screen = on_terminal(command, 88).finish().expect(1);
    let printed: Vec<_> = screen.text.lines().map(shape).collect();

    let picture = read("docs/picture/run.svg");
    let line = Regex::new("<text [^>]*>(.*?)</text>").unwrap();
    let tag = Regex::new("<[^>]*>").unwrap();
    let mut lines = line.captures_iter(&picture).map(|found| {
        let text = tag.replace_all(&found[1], "");
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    });
    assert_eq!(lines.next().unwrap(), "$ runner exec scenarios/units.toml");
    let unknown: Vec<_> = lines
        .filter(|line| !printed.contains(&shape(line)))
        .collect();
    assert_eq!(unknown, [""; 0], "{printed:#?}");
}

fn is_other(block: &Block) -> bool {
    // Those of the authors' pages are files of the templates.
    block.is_for_authors()
        || OTHERS
            .iter()
            .any(|(begin, _)| block.text.starts_with(begin))
}

#[test]
fn the_row_on_the_page_of_files_is_like_those_that_are_written() {
    let blocks = blocks_of("json");
    let shown = blocks.iter().find(|block| block.page.ends_with("files.md"));
    let shown: Value = serde_json::from_str(&shown.unwrap().text).unwrap();
    let runner = Runner::new(&["echo", "units"]);
    runner.scenario(&basic());
    runner.exec(&[]).expect(0);
    let rows = runner.only_run().lines();
    let written = rows.iter().find(|row| row["trial"] == shown["trial"]);
    let written = written.unwrap();
    let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&shown), keys(written));
    for key in ["v", "ordinal", "outcome", "checks", "output"] {
        assert_eq!(shown[key], written[key], "{key}");
    }
}

/// The first scenario, with plugins that the tests have built.
fn basic() -> String {
    let text = read("scenarios/basic.toml");
    let text = text.replace("../plugins/echo", "echo.wasm");
    text.replace("../plugins/units", "units.wasm")
}

/// Everything that is printed where the pages show something.
fn printed() -> String {
    let runner = Runner::new(&["hostile", "leaky", "echo", "units"]);
    runner.write("basic.toml", basic());
    runner.write("poem.toml", POEM);
    runner.write("nightly.toml", NIGHTLY);
    runner.write("weather.toml", WEATHER);
    runner.write("typo.toml", TYPO);
    let plugin = runner.path("plugins/units/dist/plugin.wasm");
    fs_err::create_dir_all(plugin.parent().unwrap()).unwrap();
    fs_err::copy(guest("units"), plugin).unwrap();

    let units = "plugins/units/dist/plugin.wasm";
    let input = r#"{"from": "km", "to": "mi", "value": 42}"#;
    let calls: [(&[&str], i32); 8] = [
        (&["exec", "basic.toml", "-j", "2"], 0),
        (&["exec", "poem.toml"], 1),
        (&["show", "--failed"], 0),
        (&["exec", "nightly.toml", "--timeout-minutes", "0.02"], 4),
        (&["list"], 0),
        (&["exec", "weather.toml"], 1),
        (&["validate", "typo.toml"], 2),
        (&["plugin", "run", units, "--input", input], 0),
    ];
    let mut all: Vec<_> = calls
        .iter()
        .map(|(args, code)| runner.run(args).expect(*code))
        .collect();
    all.push(runner.run(&["plugin", "inspect", units]).expect(0));
    all.push(damaged(&runner));
    all.iter()
        .map(|ran| format!("{}\n{}\n", ran.stdout, ran.stderr))
        .collect()
}

/// Verifies a run of which a row was changed that counts for nothing.
fn damaged(runner: &Runner) -> Ran {
    let args = ["--into", "results/nightly", "--timeout-minutes", "0.02"];
    runner
        .run(&[&["exec", "nightly.toml"], &args[..]].concat())
        .expect(4);
    let rows = runner.path("results/nightly/index.jsonl");
    let text = fs_err::read_to_string(&rows).unwrap();
    fs_err::write(&rows, text.replacen("stopped", "stoqqed", 1)).unwrap();
    runner.run(&["verify", "results/nightly"]).expect(1)
}

/// A line without what differs from run to run.
fn shape(line: &str) -> String {
    let mut line = line.to_owned();
    for (pattern, stands_for) in [
        (r"\d{4}-\d\d-\d\d_[\d-]+[0-9a-f]{8}|\b[0-9a-f]{8}\b", "ID"),
        (r"\d[\d,.]*(\u{a0}| )?(ns|µs|ms|s|B|KiB|MiB)\b", "MEASURE"),
        (r"\d+", "0"),
        (r"\s+", " "),
    ] {
        line = Regex::new(pattern)
            .unwrap()
            .replace_all(&line, stands_for)
            .into_owned();
    }
    line.trim_end().to_owned()
}
