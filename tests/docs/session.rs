//! A folder in which the blocks of a page run in order, as a reader pastes them.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    time::SystemTime,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    model,
    pages::{Block, Kind, normal},
};
use crate::support::{
    guests::{self, command, component, printing, root},
    runner::{PROGRAM, Runner},
    running::{Finished, Running},
    server::{Response, Server},
    wait::wait_until,
};

/// Reply of `decoder.wasm`, as the page expects it.
const DECODED: &str = r#"{"port": {"type": "integer", "value": "8080"}}"#;
/// Secrets in the environment.
const SECRETS: [&str; 5] =
    ["API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SIGNING_KEY", "SESSION_TOKEN"];
/// A timeout on pages that is too short for honest work on a slow machine, and the one that takes its place.
const TIMEOUTS: [&str; 2] = ["500ms", "1900ms"];
/// An id in a page.
const ID: &str = "6ba42b73";

/// A scenario with the start of a test.
const HOSTILE: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"guest\"\n";

/// `cargo run`, `test` and `install`, with the program that this test has built.
const CARGO: &str = r#"
[ "$1" != test ] || exit 0
[ "$1 $2" != "run --" ] || { shift 2; exec runner "$@"; }
[ "$1 $2" = "install --path" ]
name=$(awk '/^\[\[bin\]\]/ { bin = 1 } bin && /^name/ { gsub(/"/, "", $3); print $3; exit }' "$3/Cargo.toml")
mkdir -p ~/.cargo/bin
ln -s "$(readlink ~/bin/runner)" ~/.cargo/bin/"$name"
rm ~/bin/runner
"#;

pub(crate) struct Session {
    runner: Runner,
    /// File of the page's last scenario.
    scenario: String,
    /// Output of the last command.
    printed: String,
    /// Receiver of webhooks.
    receiver: Option<Server>,
    /// Takes the place of [`model::ADDRESS`].
    model: Option<Server>,
}

impl Session {
    /// Creates the folder with the files and plugins that pages name.
    pub(crate) fn new() -> Self {
        let runner = Runner::new(&["hostile", "leaky"]);
        // It returns its input, and accepts every configuration.
        for name in ["model", "shout", "weather"] {
            runner.link(&component("contract-0-1-0-pure"), &format!("{name}.wasm"));
        }
        runner.link(&command(), "command.wasm");
        runner.wat("python.wasm", &printing("6\n"));
        runner.wat("decoder.wasm", &printing(DECODED));
        for folder in ["bin", "fixtures", "fixtures/flask", "out", "scenarios", "tour"] {
            fs::create_dir(runner.path(folder)).unwrap();
        }
        for file in ["scenarios/basic.toml", "scenarios/tour/greetings.csv"] {
            let name = file.replace("scenarios/tour", "tour");
            fs::copy(root().join(file), runner.path(&name)).unwrap();
        }
        symlink(PROGRAM, runner.path("bin/runner")).unwrap();
        Self {
            runner,
            scenario: String::new(),
            printed: String::new(),
            receiver: None,
            model: None,
        }
    }

    #[track_caller]
    pub(crate) fn run(&mut self, block: &Block) {
        let place = &block.place;
        match block.kind().unwrap_or_else(|| panic!("{place}: a block of no known kind")) {
            Kind::Scenario => self.scenario(block),
            Kind::Fragment => {
                let whole = fs::read_to_string(self.runner.path(&self.scenario)).unwrap();
                let scenario = self.scenario.clone();
                let text = self.with_model(&block.text);
                self.runner.write(&scenario, format!("{whole}\n{text}"));
                self.exit_with(0, place, &format!("runner validate {scenario}"));
            }
            Kind::PluginToml => self.plugin(block),
            Kind::Settings => {
                let _ = fs::create_dir(self.runner.path("results"));
                self.file("results/runner.toml", block);
            }
            Kind::Shell => self.shell(block),
            Kind::File => self.file(block.condition("file").unwrap(), block),
            Kind::Output => self.output(block),
            Kind::Message => self.message(block),
            // Other tests have these.
            Kind::Example | Kind::Elsewhere => {}
        }
    }

    /// Writes a file like a reader, who has to confirm settings: see [`Session::exit_with`].
    fn file(&self, name: &str, block: &Block) {
        fs::write(self.runner.path(name), &block.text).unwrap();
    }

    fn scenario(&mut self, block: &Block) {
        let name = block.condition("file").unwrap_or("scenario.toml");
        self.prepare(block.condition("with").unwrap_or_default(), &block.place);
        let [short, long] = TIMEOUTS;
        self.runner.write(name, self.with_model(&block.text).replace(short, long));
        name.clone_into(&mut self.scenario);
        self.exit_with(0, &block.place, &format!("runner validate {name}"));
        // These send requests to servers that do not exist. A block of a file is run by the page itself.
        let needs_network = ["bundled:agent", "bundled:chat", "bundled:http"]
            .iter()
            .any(|name| block.text.contains(name));
        if block.condition("file").is_none() {
            let flags = if needs_network { "--dry-run" } else { "" };
            self.exit_with(0, &block.place, &format!("runner exec {name} {flags}"));
        }
    }

    /// Replaces the address of a local model by that of its stand-in.
    fn with_model(&self, text: &str) -> String {
        let origin = self.model.as_ref().map(Server::origin);
        origin.map_or_else(|| text.to_owned(), |origin| text.replace(model::ADDRESS, &origin))
    }

    /// Builds a plugin with this `plugin.toml`.
    fn plugin(&mut self, block: &Block) {
        let make = "filter/.venv/bin/make";
        for folder in ["filter/.venv/bin", "common"] {
            fs::create_dir_all(self.runner.path(folder)).unwrap();
        }
        self.runner.write("filter/plugin.toml", &block.text);
        self.program(make, "mkdir -p dist\ncp ../command.wasm \"$1\"\n");
        self.exit_with(0, &block.place, "runner plugin build filter");
        assert!(self.runner.path("filter/dist/plugin.wasm").exists(), "{}", block.place);
    }

    /// Writes an executable script.
    fn program(&self, name: &str, script: &str) {
        self.runner.write(name, format!("#!/bin/sh -eu\n{script}"));
        fs::set_permissions(self.runner.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn shell(&mut self, block: &Block) {
        let state = block.condition("with").unwrap_or_default();
        let each = state.strip_suffix(" for each line");
        let lines: Vec<_> = match each {
            Some(_) => block.text.lines().collect(),
            None => vec![block.text.as_str()],
        };
        let default = if state.starts_with("a run with a failure") { "1" } else { "0" };
        let code = block.condition("exit").unwrap_or(default).parse().unwrap();
        for script in lines {
            let running = self.prepare(each.unwrap_or(state), &block.place);
            // A preview of a run with failures succeeds.
            let code = if script.contains("--dry-run") { 0 } else { code };
            self.exit_with(code, &block.place, script);
            if let Some(running) = running {
                running.kill();
            }
        }
    }

    /// Brings the results root into the state that a block needs.
    fn prepare(&mut self, state: &str, place: &str) -> Option<Running> {
        if !state.is_empty() {
            let _ = fs::remove_dir_all(self.runner.path("results"));
        }
        let (test, flags, code) = match state {
            "" | "no results" => return None,
            "a clone" => {
                fs::create_dir_all(self.runner.path("runner/cli")).unwrap();
                let manifest = root().join("runner/cli/Cargo.toml");
                fs::copy(manifest, self.runner.path("runner/cli/Cargo.toml")).unwrap();
                self.program("bin/cargo", CARGO);
                return None;
            }
            "a receiver of webhooks" => {
                self.receiver = Some(Server::start(|_| Response::new(204)));
                return None;
            }
            "a suite with front matter" => {
                self.runner.link(&guests::list(), "front-matter.wasm");
                fs::create_dir(self.runner.path("suite")).unwrap();
                self.runner.write("suite/sum.js", "/*---\ndescription: A sum\n---*/\n1 + 2;\n");
                self.runner.write("flags.txt", "strict\n");
                return None;
            }
            "a local model" => {
                self.model = Some(model::start());
                return None;
            }
            "a completed run" => (r#"input = { do = "echo", value = 1 }"#, "", 0),
            "a run with a failure" => {
                ("input = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }", "", 1)
            }
            "an incomplete run" => {
                // The last trial waits for the signal, and ends at once in a resume.
                let rest = "[[tests]]\nid = \"rest\"\ninput = { do = \"wait-for-stop\", until_attempt = 2 }\n";
                let running = self.start(4, rest);
                wait_until("the last trial runs", || {
                    let attempts = self.runner.only_run().in_flight(SystemTime::UNIX_EPOCH);
                    attempts.iter().any(|(trial, _)| trial == "rest@hostile#1")
                });
                running.end_by(Signal::TERM).0.expect(143);
                return None;
            }
            "a running run" => return Some(self.start(10_000, "")),
            "a call without its grant" => {
                let text = fs::read_to_string(self.runner.path(&self.scenario)).unwrap();
                let text = text.replace("weather.wasm", "leaky.wasm");
                let lines = text.lines().filter(|line| !line.contains("API_KEY"));
                self.runner.write("denied.toml", lines.collect::<Vec<_>>().join("\n"));
                self.exit_with(1, place, "runner exec denied.toml");
                return None;
            }
            other => panic!("{place}: no state `{other}`"),
        };
        self.runner.write("state.toml", format!("{HOSTILE}{test}\n"));
        self.exit_with(code, place, &format!("runner exec state.toml {flags}"));
        None
    }

    /// Starts a run of short trials and the rest of its tests, one after another, as `stop --drain` waits for an attempt.
    fn start(&self, trials: u32, rest: &str) -> Running {
        let test = format!("repeat = {trials}\ninput = {{ do = \"sleep\", ms = 30 }}\n{rest}");
        self.runner.write("state.toml", HOSTILE.to_owned() + &test);
        let mut running = self.runner.started(&["exec", "state.toml", "--json", "-j", "1"]);
        running.wait_for_rows(1);
        running
    }

    /// Runs a script, and keeps its output.
    #[track_caller]
    fn exit_with(&mut self, code: i32, place: &str, script: &str) -> Finished {
        let newest = self.runner.runs().pop();
        let id = newest.as_ref().map_or(ID, |run| run.id().rsplit('-').next().unwrap());
        let script = script.replace(ID, id);
        let script = script.replace("chgrp testers", "chgrp $(id -gn)");
        let ran = Running::start(&mut self.command(&script)).finish();
        assert_eq!(ran.code, Some(code), "{place}:\n{script}\n{}", ran.stdout);
        let words: Vec<_> = ran.stdout.split_whitespace().collect();
        let is_ignored = words.join(" ").contains("runner.toml is ignored");
        assert!(!is_ignored, "{place}: the page lacks `runner trust`:\n{}", ran.stdout);
        ran.stdout.clone_into(&mut self.printed);
        ran
    }

    fn command(&self, script: &str) -> Command {
        let mut shell = self.runner.shell(&format!("set -eu; exec 2>&1\n{script}"));
        let found = env::var_os("PATH").unwrap();
        let folders = [self.runner.path("bin"), self.runner.path(".cargo/bin")];
        let folders = folders.into_iter().chain(env::split_paths(&found));
        shell.env("PATH", env::join_paths(folders).unwrap());
        // rustup finds its toolchains with these.
        for name in ["HOME", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"] {
            shell.envs(env::var_os(name).map(|value| (name, value)));
        }
        if self.runner.path("bin/cargo").exists() {
            shell.env("HOME", self.runner.path(""));
        }
        // The user's key is in the folder, as for runs that the tests prepare.
        shell.env("XDG_STATE_HOME", self.runner.path(".local/state"));
        shell.envs(SECRETS.map(|name| (name, "mZ4f-not-a-key")));
        shell.envs(self.receiver.as_ref().map(|server| ("HOOK_URL", server.origin())));
        shell
    }

    /// Compares a block with a part of the output before it, except ids, times and durations.
    fn output(&mut self, block: &Block) {
        if let Some(state) = block.condition("with") {
            self.prepare(state, &block.place);
        }
        let [short, long] = TIMEOUTS;
        let printed = self.printed.replace(long, short);
        let (expected, printed) = (normal(&block.text), normal(&printed));
        let expected: Vec<_> = expected.lines().collect();
        let found: Vec<_> = printed.lines().collect();
        let is_part = found.windows(expected.len()).any(|part| part == expected);
        assert!(is_part, "{}:\n{}\nis not a part of\n{printed}", block.place, block.text);
    }

    /// Sends a message of the command protocol from a real command.
    fn message(&mut self, block: &Block) {
        let message: Value = serde_json::from_str(&block.text).unwrap();
        let test = |input: &Value| {
            let input = input.to_string();
            format!(
                "[providers.it]\nplugin = \"command.wasm\"\nprotocol = \"json\"\n[[tests]]\nid = \"greeting\"\ninput = {{ do = \"print\", text = {input} }}\n"
            )
        };
        let text = serde_json::to_string(&message).unwrap();
        let place = &block.place;
        if message.get("trial_id").is_some() {
            let scenario = test(&json!("")).replace("do = \"print\"", "do = \"test\"");
            let row = self.row(place, &scenario, 0);
            let keys =
                |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&message), keys(&row["output"]), "{place}");
            for key in ["trial_id", "test_id", "provider", "repeat", "attempt", "seed"] {
                assert_eq!(message[key], row["output"][key], "{place}: {key}");
            }
        } else if message["ok"].get("version").is_some() {
            self.runner.wat("described.wasm", &printing(&text));
            self.exit_with(0, place, "runner plugin inspect described.wasm --json 2>compiling.log");
            let shown: Value = serde_json::from_str(&self.printed).unwrap();
            let found = shown.to_string();
            for key in ["name", "version", "summary"] {
                assert!(found.contains(&message["ok"][key].to_string()), "{place}: {found}");
            }
        } else if let Some(error) = message.get("err") {
            let row = self.row(place, &test(&json!(text)), 1);
            let found = &row["error"];
            assert_eq!(found["class"], error["kind"], "{place}: {row}");
            assert_eq!(found["retry_after_ms"], error["retry_after"], "{place}: {row}");
            for key in ["code", "message"] {
                assert_eq!(found[key], error[key], "{place}: {row}");
            }
        } else {
            let row = self.row(place, &test(&json!(text)), 0);
            for key in ["output", "summary", "score"] {
                assert_eq!(row[key], message["ok"][key], "{place}: {row}");
            }
            assert_eq!(
                row["checks"][0]["name"], message["ok"]["checks"][0]["name"],
                "{place}: {row}"
            );
            assert_eq!(
                row["metrics"][0]["name"], message["ok"]["metrics"][0]["name"],
                "{place}: {row}"
            );
        }
    }

    /// Returns the row of a scenario with one trial.
    fn row(&mut self, place: &str, scenario: &str, code: i32) -> Value {
        self.runner.write("message.toml", scenario);
        self.exit_with(code, place, "runner exec message.toml");
        self.runner.runs().pop().unwrap().row("greeting")
    }
}
