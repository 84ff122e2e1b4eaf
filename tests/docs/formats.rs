//! `json.md`: its tables and examples are compared with the real output of every command.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

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

/// Keys of rare moments, which these runs do not have.
const UNSEEN: [&str; 5] = [
    "live.compiling",
    "live.stopping",
    "live.waits_for_memory",
    "row.truncated",
    "show-trial.waiting",
];

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

/// A row of a table.
#[derive(Clone)]
struct Key {
    form: String,
    is_optional: bool,
}

/// Names of schemas that differ from those of tables.
const NAMES: [(&str, &str); 6] = [
    ("notification-line", "notifications"),
    ("plan-trial", "plan"),
    ("plan-problem", "plan"),
    ("resume-trial", "resume-plan"),
    ("rescore-trial", "rescore-plan"),
    ("log-line", "log-entry"),
];
/// Schemas that `files_match_their_schemas` checks.
const FILES: [&str; 4] = ["scenario", "settings", "log", "started"];

/// The tables of the page, and the keys that were found in real output.
struct Tables {
    tables: BTreeMap<String, BTreeMap<String, Key>>,
    seen: BTreeSet<(String, String)>,
    schemas: Published,
    problems: BTreeSet<String>,
}

impl Tables {
    fn read() -> Self {
        let text = fs::read_to_string(root().join(PAGE)).unwrap();
        let mut tables: BTreeMap<String, BTreeMap<String, Key>> = BTreeMap::new();
        let mut title = String::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                title = heading.to_lowercase().replace(' ', "-");
                assert!(!tables.contains_key(&title), "two tables `{title}`");
            }
            let cells: Vec<_> = line.split(" | ").collect();
            if let [key, form, _] = cells[..]
                && let Some(key) = key.strip_prefix("| ")
                && (key.starts_with('`') || key == "…")
            {
                let (form, is_optional) = match form.strip_suffix(", optional") {
                    Some(form) => (form, true),
                    None => (form, false),
                };
                let key = key.trim_matches('`').to_owned();
                let form = Key { form: form.to_owned(), is_optional };
                let table = tables.entry(title.clone()).or_default();
                assert!(table.insert(key, form).is_none(), "{line}");
            }
        }
        assert!(tables.len() > 40, "{}", tables.len());
        let (seen, problems) = (BTreeSet::new(), BTreeSet::new());
        Self { tables, seen, schemas: Published::read(), problems }
    }

    /// Compares an object with a table, and with the schema of the same name.
    fn check(&mut self, title: &str, value: &Value) {
        let name = NAMES.iter().find(|(table, _)| *table == title).map_or(title, |(_, name)| name);
        let name = if name.starts_with("event-") { "event" } else { name };
        self.problems.extend(self.schemas.problem(name, value));
        let Some(object) = value.as_object() else {
            self.problems.insert(format!("{title}: not an object: {value}"));
            return;
        };
        let mut known: BTreeMap<String, (String, Key)> = BTreeMap::new();
        self.collect(title, &mut known);
        for (name, value) in object {
            let Some((table, key)) = known.get(name) else {
                self.problems.insert(format!("{title}: `{name}` is not on the page: {value}"));
                continue;
            };
            self.seen.insert((table.clone(), name.clone()));
            self.check_form(&format!("{title}.{name}"), &key.form, value);
        }
        for (name, (_, key)) in known {
            if !key.is_optional && !object.contains_key(&name) {
                self.problems.insert(format!("{title}: `{name}` is not optional, and absent"));
            }
        }
    }

    /// Adds the keys of a table, and of the tables that it includes.
    fn collect(&self, title: &str, known: &mut BTreeMap<String, (String, Key)>) {
        let table = self.tables.get(title).unwrap_or_else(|| panic!("no table `{title}`"));
        for (name, key) in table {
            match name.as_str() {
                "…" => self.collect(anchor(&key.form).unwrap(), known),
                _ => drop(known.insert(name.clone(), (title.to_owned(), key.clone()))),
            }
        }
    }

    fn check_form(&mut self, place: &str, form: &str, value: &Value) {
        if let Some(form) = form.strip_suffix(" or null") {
            if !value.is_null() {
                self.check_form(place, form, value);
            }
        } else if let Some(form) = form.strip_prefix("null or ") {
            if !value.is_null() {
                self.check_form(place, form, value);
            }
        } else if let Some(form) = form.strip_prefix("array of ") {
            match value.as_array() {
                Some(items) => items.iter().for_each(|item| self.check_form(place, form, item)),
                None => drop(self.problems.insert(format!("{place}: not an array: {value}"))),
            }
        } else if let Some(form) = form.strip_prefix("map of ") {
            match value.as_object() {
                Some(map) => map.values().for_each(|value| self.check_form(place, form, value)),
                None => drop(self.problems.insert(format!("{place}: not an object: {value}"))),
            }
        } else if let Some(title) = anchor(form) {
            self.check(title, value);
        } else {
            let is_right = match form {
                "any" => true,
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                "object" => value.is_object(),
                "string" => value.is_string(),
                "time" => value.as_str().is_some_and(|text| text.ends_with('Z')),
                _ => panic!("{place}: no type `{form}`"),
            };
            if !is_right {
                self.problems.insert(format!("{place}: not of type {form}: {value}"));
            }
        }
    }

    fn check_events(&mut self, events: &[Value]) {
        for event in events {
            self.check(&format!("event-{}", event["event"].as_str().unwrap()), event);
        }
    }
}

/// Returns the table of a link such as `[row](#row)`.
fn anchor(form: &str) -> Option<&str> {
    form.split_once("](#")?.1.strip_suffix(')')
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
fn tables_have_all_keys_of_real_output() {
    let mut tables = Tables::read();
    let runner = folder();
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let lines = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).events();

    let server = Server::start(|_| Response::new(404));
    let hook = format!("url = \"{}\"\nprivate = true\n", server.url("/hook"));
    fs::create_dir(runner.path("results")).unwrap();
    runner.write("results/runner.toml", format!("[[notify.webhooks]]\n{hook}"));
    let plan = lines(&["exec", "scenario.toml", "--dry-run"]);
    tables.check("plan", &plan[0]);
    plan[1..].iter().for_each(|line| tables.check("plan-trial", line));
    runner.write("wrong.toml", "[[tests]]\nid = \"a\"\ninputt = 1\n");
    let problems = lines(&["exec", "wrong.toml", "--dry-run"]);
    problems.iter().for_each(|line| tables.check("plan-problem", line));

    let select = "--test=* --provider=* --tag=all --label=team=a --fail-fast=100 --budget=x=9";
    let select: Vec<_> = select.split(' ').collect();
    tables.check_events(&lines(&[&["exec", "scenario.toml"], &select[..]].concat()));
    let run = runner.only_run();
    runner.run(&["pin", run.id(), "--reason", "a baseline"]).expect(0);
    tables.check_events(&lines(&["resume", "--rerun", "failed"]));
    for line in lines(&["resume", run.id(), "--rerun", "all", "--explain"]) {
        tables.check("resume-trial", &line);
    }
    runner.scenario(&ROWS.replace("a\\nc\\n", "a\\nb\\n"));
    tables.check_events(&lines(&["resume", run.id(), "--accept-changes"]));
    runner.scenario(ROWS);
    for line in lines(&["rescore", "--explain"]) {
        tables.check("rescore-trial", &line);
    }
    tables.check_events(&lines(&["rescore"]));
    tables.check("show", &runner.show(&run));
    tables.check("manifest", &run.manifest());
    run.rows().iter().for_each(|row| tables.check("row", row));
    for test in ["judge", "log", "say", "files", "flood", "graded"] {
        tables.check("show-trial", &document(&["show", run.id(), &format!("{test}@hostile#1")]));
    }
    tables.check("show-matrix", &document(&["show", run.id(), "--matrix"]));
    tables.check("history", &document(&["history", "--by", "team"]));
    runner.scenario(&ROWS.replace("a\\nc\\n", "a\\nb\\n"));
    runner.exec(&[]).expect(1);
    runner.scenario(ROWS);
    runner.exec(&[]).expect(1);
    tables.check("show", &document(&["show"]));
    tables.check("compare", &document(&["compare"]));
    tables.check(
        "compare",
        &document(&["compare", "latest~1", "latest", "--providers", "hostile", "hostile"]),
    );
    lines(&["logs", run.id()]).iter().for_each(|line| tables.check("log-line", line));
    tables.check("verify", &document(&["verify", run.id()]));
    shards_and_merged_run(&runner, &mut tables);
    let select = "--last-failed --filter=test(*) --exclude=none --repeat=1 --retries=1 --seed=1 --limit=memory=64MiB --set=size=large";
    let select: Vec<_> = select.split(' ').collect();
    tables.check_events(&lines(&[&["exec", "scenario.toml"], &select[..]].concat()));
    tables.check("manifest", &runner.runs().pop().unwrap().manifest());

    runner.write("chat.toml", CHAT.replace("SERVER", &server.origin()));
    runner.run(&["exec", "chat.toml"]).expect(1);
    tables.check("show", &runner.show(&runner.runs().pop().unwrap()));

    running_and_dead_runs(&runner, &mut tables);
    notifications(&runner, &server, &mut tables);

    // Damage.
    let rows = run.text("index.jsonl").replacen("\"seq\":2,", "\"seq\":3,", 1);
    for rows in ["", &rows] {
        run.write("index.jsonl", rows);
        tables.check("verify", &document(&["verify", run.id()]));
    }
    fs::create_dir(runner.path("results/broken")).unwrap();
    runner.write("results/broken/benchmark.json", "{");
    queue(&runner, &mut tables);
    tables.check("list", &document(&["list"]));
    tables.check("prune", &document(&["prune", "--keep-last", "0"]));
    tables.check("prune", &document(&["prune", run.id()]));

    let call = ["plugin", "run", "hostile.wasm", "--input", "{\"do\": \"log\"}"];
    tables.check("plugin-run", &document(&call));
    let call = ["plugin", "run", "bundled:echo", "--grade", "--input", "{\"verdict\": \"pass\"}"];
    tables.check("plugin-grade", &document(&call));
    tables.check("plugin-inspect", &document(&["plugin", "inspect", "hostile.wasm"]));
    tables.check("plugin-doctor", &document(&["plugin", "doctor"]));

    let mut unseen = BTreeSet::new();
    for (title, table) in &tables.tables {
        for name in table.keys().filter(|name| *name != "…") {
            if !tables.seen.contains(&(title.clone(), name.clone())) {
                unseen.insert(format!("{title}.{name}"));
            }
        }
    }
    let problems = &tables.problems;
    assert!(problems.is_empty(), "{problems:#?}");
    let expected = UNSEEN.map(str::to_owned).into();
    assert_eq!(unseen, expected, "keys of the page in no output");
    let unseen: Vec<_> = tables.schemas.unseen();
    assert!(unseen.iter().all(|name| FILES.contains(name)), "schemas of no output: {unseen:?}");
}

/// A shard, and a run that is merged without the others.
fn shards_and_merged_run(runner: &Runner, tables: &mut Tables) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    runner.write(
        "parts.toml",
        "[providers.echo]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"part\"\nrepeat = 9\ninput = 1\n",
    );
    runner.run(&["exec", "parts.toml", "--shard", "1/2", "--into", "parts/{shard}"]).expect(0);
    tables.check("show", &document(&["show", "parts/1-of-2"]));
    tables.check("merge", &document(&["merge", "parts/none", "--into", "parts/whole"]));
    let merge = ["merge", "parts/1-of-2", "--into", "parts/whole", "--allow-holes"];
    tables.check("merge", &document(&merge));
    for name in ["1-of-2", "whole"] {
        tables.check("manifest", &Run { dir: runner.path(&format!("parts/{name}")) }.manifest());
    }
}

/// A group, and a run that is paused, stopped and killed.
fn running_and_dead_runs(runner: &Runner, tables: &mut Tables) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let copy = ROWS.replace("[[tests]]", "[[tests]]\nretries = { max = 0 }");
    let small = copy.split("[[tests]]").take(2).collect::<Vec<_>>().join("[[tests]]");
    runner.write("small.toml", small.replace("retries = { max = 0 }\n", ""));
    runner.write("other.toml", fs::read(runner.path("small.toml")).unwrap());
    runner.run(&["exec", "small.toml", "other.toml"]).expect(1);
    tables.check("manifest", &runner.runs().pop().unwrap().manifest());

    let mut waits = runner.started(&["exec", "waits.toml", "--json"]);
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
    tables.check("show-trial", &document(&["show", run.id(), "waits@hostile#1"]));
    let mut follower = runner.started(&["wait", run.id(), "--json"]);
    follower.wait_for_event(|event| event["event"] == "progress");
    tables.check("request", &document(&["pause", run.id(), "--reason", "a meeting"]));
    tables.check("list", &document(&["list"]));
    tables.check("show", &runner.show(&run));
    tables.check("request", &document(&["unpause", run.id()]));
    tables.check("request", &document(&["stop", run.id(), "--reason", "enough"]));
    tables.check_events(&waits.finish().events());
    tables.check_events(&follower.finish().events());
    run.rows().iter().for_each(|row| tables.check("row", row));
    tables.check("manifest", &run.manifest());

    let mut waits = runner.started(&["resume", run.id(), "--json"]);
    waits.wait_until_running(runner, 2);
    waits.end_by(Signal::TERM);
    tables.check("manifest", &run.manifest());
    let mut waits = runner.started(&["resume", run.id(), "--json"]);
    waits.wait_until_running(runner, 2);
    waits.end_by(Signal::KILL);
    tables.check("cleanup", &document(&["cleanup"]));
    runner.run(&["cleanup", "--yes"]).expect(0);
    tables.check("manifest", &run.manifest());
    tables.check("show", &runner.show(&run));
    tables.check("request", &document(&["cancel", run.id(), "--reason", "wrong model"]));
    tables.check("manifest", &run.manifest());
}

/// The queue, and a run that was started for a request.
fn queue(runner: &Runner, tables: &mut Tables) {
    let document = |arguments: &[&str]| runner.run(&[arguments, &["--json"]].concat()).document();
    let added = document(&["exec", "waits.toml", "--queue", "--priority", "1"]);
    tables.check("queue-change", &added);
    let step = document(&["queue", "work", "--once"]);
    tables.check("queue-step", &step);
    let is_started = |run: &Run| step["run"] == run.id();
    let run = runner.runs().into_iter().find(is_started).unwrap();
    runner.run(&["pause", run.id()]).expect(0);
    let id = document(&["resume", run.id(), "--queue"])["request"].as_str().unwrap().to_owned();
    tables.check("queue", &document(&["queue"]));
    tables.check("queue-change", &document(&["queue", "remove", &id]));
    tables.check("manifest", &run.manifest());
    runner.run(&["cancel", run.id()]).expect(0);
}

/// The notifications of a run that has died, and of others.
fn notifications(runner: &Runner, server: &Server, tables: &mut Tables) {
    let dead = runner.runs().pop().unwrap();
    tables.check("notify", &runner.run(&["notify", dead.id(), "--json"]).expect(1).document());
    for line in dead.text("notifications.jsonl").lines() {
        tables.check("notification-line", &serde_json::from_str(line).unwrap());
    }
    for request in server.requests().iter().filter(|request| request.path == "/hook") {
        tables.check("notification", &serde_json::from_slice(&request.body).unwrap());
    }
}

/// Compares the examples with real output, except ids, times, durations and digests. `UPDATE=1` writes them.
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
        if env::var_os("UPDATE").is_some() {
            let start = format!("<!-- example: {name} -->\n```json\n");
            text = text.replace(&(start.clone() + &block.text), &(start + &real));
        } else {
            assert_eq!(normal(&block.text), normal(&real), "{}", block.place);
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
