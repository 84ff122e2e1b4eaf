//! `json.md`: its examples. The real output of every command is compared with its schema.

use std::{collections::BTreeSet, env, fs};

use regex::Regex;
use rustix::process::Signal;
use serde_json::Value;

use super::pages::blocks;
use crate::results::schemas::Published;
use crate::support::{
    guests::root,
    run::Run,
    runner::Runner,
    server::{Response, Server},
    wait::wait_for,
};

const PAGE: &str = "docs/json.md";

/// Every kind of row. The tests `waits` are for a run that is paused, stopped and killed.
const ROWS: &str = r#"
[vars]
size = "small"

[gate]
pass_rate = 0.9

[defaults]
tags = ["all"]
meta = { topic = "rows" }

[providers.hostile]
plugin = "hostile.wasm"

[providers.hostile.grants]
fs = [{ path = "folder", mount = "/folder" }]

[graders.judge]
plugin = "bundled:echo"
input = { verdict = "pass", score = 0.9, explanation = "{{output}} is like {{reference}}" }
min_score = 0.7

[graders.meter]
plugin = "hostile.wasm"
input = { do = "measure", score = 1, tokens = 5 }
min_score = 0.5
weight = 2

[graders.strict]
plugin = "hostile.wasm"
input = { do = "log" }

[graders.curious]
plugin = "hostile.wasm"
input = { do = "http" }

[[tests]]
id = "judge"
meta = { topic = "dates" }
input = { do = "judge" }

[[tests]]
id = "diff"
input = { do = "echo", value = "a\nb\n" }
expect = { equals = "a\nc\n" }

[[tests]]
id = "error"
input = { do = "error", kind = "rate-limited", code = "quota", message = "slower", retry_after = 5 }

[[tests]]
id = "files"
input = { do = "artifact", name = "a.txt" }
files = { "note.txt" = "folder/note.txt" }

[[tests]]
id = "log"
input = { do = "log" }

[[tests]]
id = "say"
input = { do = "say", text = "hello" }

[[tests]]
id = "secret"
input = { do = "secret" }

[[tests]]
id = "flaky"
input = { do = "fail-until" }
retries = { max = 1 }

[[tests]]
id = "flood"
input = { do = "flood-log" }

[[tests]]
id = "graded"
input = { do = "echo", value = "a" }
reference = "b"
expect = { graders = ["judge", "meter", "strict"] }

[[tests]]
id = "curious"
input = { do = "echo" }
expect = { graders = ["curious"] }

[[tests]]
id = "large"
input = { do = "huge-reply", bytes = 300000 }
expect = { equals = "small" }
"#;

/// A server that does not know the model.
const CHAT: &str = r#"
[providers.chat]
plugin = "bundled:chat"
config = { base_url = "SERVER", model = "none", api_key_secret = "" }

[providers.chat.grants]
net = ["SERVER"]

[[tests]]
id = "question"
input = "Who are you?"
"#;

const WAITS: &str = r#"
[providers.hostile]
plugin = "hostile.wasm"

[graders.slow]
plugin = "hostile.wasm"
input = { do = "sleep" }
timeout = "10m"

[graders.busy]
plugin = "hostile.wasm"
input = { do = "error", kind = "unavailable", code = "gone", message = "not there" }
retries = { max = 1, backoff = "1m" }

[[tests]]
id = "busy"
input = { do = "echo", value = 1 }
expect = { graders = ["busy"] }

[[tests]]
id = "judged"
input = { do = "echo", value = 1 }
expect = { graders = ["slow"] }

[[tests]]
id = "again"
input = { do = "error", kind = "unavailable", code = "gone", message = "not there" }
retries = { max = 1, backoff = "1m" }

[[tests]]
id = "waits"
input = { do = "log", ms = 600000 }
timeout = "10m"
"#;

/// Schemas that `files_match_their_schemas`, `tests/machines` and `tests/serve/transcripts.rs` check.
const FILES: [&str; 7] =
    ["scenario", "settings", "log", "started", "workers", "broker", "show-transcript"];

/// The published schemas, and the values that do not match them.
struct SchemaChecker {
    schemas: Published,
    problems: BTreeSet<String>,
}

impl SchemaChecker {
    fn check(&mut self, name: &str, value: &Value) {
        self.problems.extend(self.schemas.problem(name, value));
    }

    fn check_all(&mut self, name: &str, values: &[Value]) {
        values.iter().for_each(|value| self.check(name, value));
    }
}

/// A folder with runs of every kind.
fn folder() -> Runner {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir(runner.path("folder")).unwrap();
    runner.write("folder/note.txt", "hello");
    runner.scenario(ROWS);
    runner.write("waits.toml", WAITS);
    runner
}

#[test]
fn real_output_matches_its_schema() {
    let mut checked = SchemaChecker { schemas: Published::read(), problems: BTreeSet::new() };
    let runner = folder();
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let lines = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).events();

    let server = Server::start(|_| Response::new(404));
    let hook = format!("url = \"{}\"\nprivate = true\n", server.url("/hook"));
    fs::create_dir(runner.path("results")).unwrap();
    runner.write("results/runner.toml", format!("[[notify.webhooks]]\n{hook}"));
    let plan = lines(&["exec", "scenario.toml", "--dry-run"]);
    checked.check_all("plan", &plan);
    runner.write("wrong.toml", "[[tests]]\nid = \"a\"\ninputt = 1\n");
    let problems = lines(&["exec", "wrong.toml", "--dry-run"]);
    checked.check_all("plan", &problems);

    let select = "--test=* --provider=* --tag=all --label=team=a --fail-fast=100 --budget=x=9";
    let select: Vec<_> = select.split(' ').collect();
    checked.check_all("event", &lines(&[&["exec", "scenario.toml"], &select[..]].concat()));
    let run = runner.only_run();
    runner.run(&["pin", run.id(), "--reason", "a baseline"]).expect(0);
    checked.check_all("event", &lines(&["resume", "--rerun", "failed"]));
    let explained = lines(&["resume", run.id(), "--rerun", "all", "--explain"]);
    checked.check_all("resume-plan", &explained);
    runner.scenario(&ROWS.replace("a\\nc\\n", "a\\nb\\n"));
    checked.check_all("event", &lines(&["resume", run.id(), "--accept-changes"]));
    runner.scenario(ROWS);
    checked.check_all("rescore-plan", &lines(&["rescore", "--explain"]));
    checked.check_all("event", &lines(&["rescore"]));
    checked.check("show", &runner.show(&run));
    checked.check("manifest", &run.manifest());
    checked.check_all("row", &run.rows());
    for test in ["judge", "log", "say", "files", "flood", "graded"] {
        checked.check("show-trial", &document(&["show", run.id(), &format!("{test}@hostile#1")]));
    }
    checked.check("show-calls", &document(&["show", run.id(), "say", "--calls"]));
    runner.write(
        "work.toml",
        "[providers.echo]\nplugin = \"bundled:echo\"\nworkspace = {}\n[[tests]]\nid = \"work\"\ninput = 1\n",
    );
    runner.run(&["exec", "work.toml", "--into", "work/run"]).expect(0);
    checked.check("show-diff", &document(&["show", "work/run", "work", "--diff"]));
    checked.check("show-matrix", &document(&["show", run.id(), "--matrix"]));
    checked.check("history", &document(&["history", "--by", "team"]));
    runner.scenario(&ROWS.replace("a\\nc\\n", "a\\nb\\n"));
    runner.exec(&[]).expect(1);
    runner.scenario(ROWS);
    runner.exec(&[]).expect(1);
    checked.check("show", &document(&["show"]));
    checked.check("compare", &document(&["compare"]));
    checked.check("exact", &document(&["compare", "--exact"]));
    checked.check(
        "compare",
        &document(&["compare", "latest~1", "latest", "--providers", "hostile", "hostile"]),
    );
    checked.check_all("log-entry", &lines(&["logs", run.id()]));
    checked.check("verify", &document(&["verify", run.id()]));
    shards_and_merged_run(&runner, &mut checked);
    let select = "--last-failed --filter=test(*) --exclude=none --repeat=1 --retries=1 --seed=1 --limit=memory=64MiB --journal --set=size=large";
    let select: Vec<_> = select.split(' ').collect();
    checked.check_all("event", &lines(&[&["exec", "scenario.toml"], &select[..]].concat()));
    checked.check("manifest", &runner.runs().pop().unwrap().manifest());

    let known = "[[known.failures]]\ntests = [\"log*\"]\nproviders = [\"*\"]\nuntil = 2099-01-01\nreason = \"slow\"\n";
    runner.write("known.toml", format!("{ROWS}{known}"));
    runner.run(&["exec", "known.toml"]).expect(1);
    checked.check("known", &document(&["known"]));
    checked.check("accept", &document(&["accept", "-E", "test(diff)"]));

    runner.write("chat.toml", CHAT.replace("SERVER", &server.origin()));
    runner.run(&["exec", "chat.toml", "--journal"]).expect(1);
    let chat = runner.runs().pop().unwrap();
    checked.check("show", &runner.show(&chat));
    for line in chat.text("calls.jsonl").lines() {
        checked.check("call", &serde_json::from_str(line).unwrap());
    }

    running_and_dead_runs(&runner, &mut checked);
    notifications(&runner, &server, &mut checked);

    // Damage.
    let rows = run.text("index.jsonl").replacen("\"seq\":2,", "\"seq\":3,", 1);
    for rows in ["", &rows] {
        run.write("index.jsonl", rows);
        checked.check("verify", &document(&["verify", run.id()]));
    }
    fs::create_dir(runner.path("results/broken")).unwrap();
    runner.write("results/broken/benchmark.json", "{");
    queue(&runner, &mut checked);
    checked.check("list", &document(&["list"]));
    checked.check("prune", &document(&["prune", "--keep-last", "0"]));
    checked.check("prune", &document(&["prune", run.id()]));

    let call = ["plugin", "run", "hostile.wasm", "--input", "{\"do\": \"log\"}"];
    checked.check("plugin-run", &document(&call));
    let call = ["plugin", "run", "bundled:echo", "--grade", "--input", "{\"verdict\": \"pass\"}"];
    checked.check("plugin-grade", &document(&call));
    checked.check("plugin-inspect", &document(&["plugin", "inspect", "hostile.wasm"]));
    checked.check("plugin-doctor", &document(&["plugin", "doctor"]));

    let problems = &checked.problems;
    assert!(problems.is_empty(), "{problems:#?}");
    let unseen: Vec<_> = checked.schemas.unseen();
    assert!(unseen.iter().all(|name| FILES.contains(name)), "schemas of no output: {unseen:?}");
}

/// A shard, and a run that is merged without the others.
fn shards_and_merged_run(runner: &Runner, checked: &mut SchemaChecker) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    runner.write(
        "parts.toml",
        "[providers.echo]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"part\"\nrepeat = 9\ninput = 1\n",
    );
    runner.run(&["exec", "parts.toml", "--shard", "1/2", "--into", "parts/{shard}"]).expect(0);
    checked.check("show", &document(&["show", "parts/1-of-2"]));
    checked.check("merge", &document(&["merge", "parts/none", "--into", "parts/whole"]));
    let merge = ["merge", "parts/1-of-2", "--into", "parts/whole", "--allow-holes"];
    checked.check("merge", &document(&merge));
    for name in ["1-of-2", "whole"] {
        checked.check("manifest", &Run { dir: runner.path(&format!("parts/{name}")) }.manifest());
    }
}

/// A group, and a run that is paused, stopped and killed.
fn running_and_dead_runs(runner: &Runner, checked: &mut SchemaChecker) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let copy = ROWS.replace("[[tests]]", "[[tests]]\nretries = { max = 0 }");
    let small = copy.split("[[tests]]").take(2).collect::<Vec<_>>().join("[[tests]]");
    runner.write("small.toml", small.replace("retries = { max = 0 }\n", ""));
    runner.write("other.toml", fs::read(runner.path("small.toml")).unwrap());
    runner.run(&["exec", "small.toml", "other.toml"]).expect(1);
    checked.check("manifest", &runner.runs().pop().unwrap().manifest());

    let mut waits = runner.started(&["exec", "waits.toml", "--json", "-j", "2"]);
    waits.wait_for_rows(1);
    let run = runner.runs().pop().unwrap();
    wait_for("the guests wait", || {
        let live = runner.show(&run)["live"].clone();
        let attempts = live["in_flight"].as_array().into_iter().flatten();
        let is_waiting = attempts.clone().count() == 2
            && attempts.clone().all(|attempt| attempt["what"].is_string());
        let has_output = attempts.clone().any(|attempt| attempt["output"].is_object());
        (is_waiting && has_output && live["waiting"][1].is_object()).then_some(())
    });
    checked.check("live", &serde_json::from_str(&run.text("live.json")).unwrap());
    checked.check("show-trial", &document(&["show", run.id(), "waits@hostile#1"]));
    let mut follower = runner.started(&["wait", run.id(), "--json"]);
    follower.wait_for_event(|event| event["event"] == "progress");
    checked.check("request", &document(&["pause", run.id(), "--reason", "a meeting"]));
    checked.check("list", &document(&["list"]));
    checked.check("show", &runner.show(&run));
    checked.check("request", &document(&["unpause", run.id()]));
    checked.check("request", &document(&["stop", run.id(), "--reason", "enough"]));
    checked.check_all("event", &waits.finish().events());
    checked.check_all("event", &follower.finish().events());
    checked.check_all("row", &run.rows());
    checked.check("manifest", &run.manifest());

    let mut waits = runner.started(&["resume", run.id(), "--json", "-j", "2"]);
    waits.wait_until_running(runner, 2);
    waits.end_by(Signal::TERM);
    checked.check("manifest", &run.manifest());
    let mut waits = runner.started(&["resume", run.id(), "--json", "-j", "2"]);
    waits.wait_until_running(runner, 2);
    waits.end_by(Signal::KILL);
    checked.check("cleanup", &document(&["cleanup"]));
    runner.run(&["cleanup", "--yes"]).expect(0);
    checked.check("manifest", &run.manifest());
    checked.check("show", &runner.show(&run));
    checked.check("request", &document(&["cancel", run.id(), "--reason", "wrong model"]));
    checked.check("manifest", &run.manifest());
}

/// The queue, and a run that was started for a request.
fn queue(runner: &Runner, checked: &mut SchemaChecker) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let added = document(&["exec", "waits.toml", "--queue", "--priority", "1"]);
    checked.check("queue-change", &added);
    let step = document(&["queue", "work", "--once"]);
    checked.check("queue-step", &step);
    let is_started = |run: &Run| step["run"] == run.id();
    let run = runner.runs().into_iter().find(is_started).unwrap();
    runner.run(&["pause", run.id()]).expect(0);
    let id = document(&["resume", run.id(), "--queue"])["request"].as_str().unwrap().to_owned();
    checked.check("queue", &document(&["queue"]));
    checked.check("queue-change", &document(&["queue", "remove", &id]));
    checked.check("manifest", &run.manifest());
    runner.run(&["cancel", run.id()]).expect(0);
}

/// The notifications of a run that has died, and of others.
fn notifications(runner: &Runner, server: &Server, checked: &mut SchemaChecker) {
    let dead = runner.runs().pop().unwrap();
    checked.check("notify", &runner.run(&["notify", dead.id(), "--json"]).expect(1).document());
    for line in dead.text("notifications.jsonl").lines() {
        checked.check("notifications", &serde_json::from_str(line).unwrap());
    }
    for request in server.requests().iter().filter(|request| request.path == "/hook") {
        checked.check("notification", &serde_json::from_slice(&request.body).unwrap());
    }
}

/// Compares the examples with real output, except ids, times, durations and digests. `UPDATE=1` of `./update` writes them.
#[test]
fn examples_are_real_output() {
    let runner = Runner::new(&[]);
    runner.write("words.toml", "[providers.echo]\nplugin = \"bundled:echo\"\n\n[[tests]]\nid = \"greeting\"\ninput = \"hello\"\nexpect = { equals = \"hallo\" }\n");
    let events = runner.run(&["exec", "words.toml", "--json"]).expect(1).stdout;
    let run: Run = runner.only_run();
    let mut text = fs::read_to_string(root().join(PAGE)).unwrap();
    for block in blocks(PAGE) {
        let Some(name) = block.condition("example") else { continue };
        let real = match name {
            "row" => run.text("index.jsonl"),
            "finished" => events.lines().last().unwrap().to_owned() + "\n",
            "list" => runner.run(&["list", "--json"]).expect(0).stdout,
            other => panic!("{}: no example `{other}`", block.place),
        };
        // Ids and times differ in each run.
        if env::var_os("UPDATE").is_some() && normal(&block.text) != normal(&real) {
            let start = format!("<!-- example: {name} -->\n```json\n");
            text = text.replace(&(start.clone() + &block.text), &(start + &real));
        } else {
            assert_eq!(normal(&block.text), normal(&real), "{}: run ./update", block.place);
        }
    }
    if env::var_os("UPDATE").is_some() {
        fs::write(root().join(PAGE), text).unwrap();
    }
}

/// Replaces all that differs from run to run.
fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, word) in [
        (r"\d{4}-\d\d-\d\d[_T][\d:.Z-]+", "TIME"),
        (r"\b[0-9a-f]{8,64}\b", "HEX"),
        (r#""(duration_ms|peak_memory|took_ms|worked_ms)":( ?)[\d.]+"#, "\"$1\":${2}0"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
    }
    text
}
