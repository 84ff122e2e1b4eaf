//! Sources of secrets' values, and places where values must not appear.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    guests::printing,
    runner::{Runner, tests},
    running::{Finished, Running},
};

const SCENARIO: &str = "[providers.hostile]\nplugin = \"hostile.wasm\"\n[providers.hostile.grants]\nsecrets = [\"KEY\"]\n";

/// A scenario whose provider has the secret `KEY` and returns it.
fn telling() -> Runner {
    let runner = Runner::new(&["hostile"]);
    let tests = tests("a | { do = \"secret\" } | equals = \"[secret KEY]\"");
    runner.scenario(&format!("{SCENARIO}{tests}"));
    runner
}

fn with_value(runner: &Runner, value: &str, args: &[&str]) -> Finished {
    let mut command = runner.command(&[&["exec", "scenario.toml"], args].concat());
    Running::start(command.env("KEY", value)).finish()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn secrets_without_values_are_refused() {
    let mut transcript = Transcript::default();
    let runner = telling();
    for args in [&[][..], &["--secret-file", "empty.env"]] {
        runner.write("empty.env", "OTHER=value\nKEY=\n");
        transcript.refused(&runner, args);
    }
    with_value(&runner, "  ", &[]).expect(2);
    transcript.check("secrets_without_values_are_refused");
}

#[test]
fn similar_names_of_secrets_are_named() {
    let runner = telling();
    runner.write("k.env", "KEYS=hunter2\n");
    let ran = runner.refused(&["--secret-file", "k.env"], &["has `KEYS`"]);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[test]
fn files_of_secrets_go_before_the_environment() {
    let runner = telling();
    // The reply is redacted only if it is the value that was passed.
    runner.write("first.env", "# of the team\nKEY = 'hunter2 first'\n");
    runner.write("second.env", "export KEY=\"hunter2 second\"\n");
    for (file, mode) in [("first.env", 0o600), ("second.env", 0o644)] {
        fs::set_permissions(runner.path(file), fs::Permissions::from_mode(mode)).unwrap();
    }
    let ran = with_value(&runner, "from outside", &["--secret-file", "first.env"]).expect(0);
    assert!(!ran.stderr.contains("other users"), "{}", ran.stderr);
    let both = ["--secret-file", "first.env", "--secret-file", "second.env"];
    let ran = with_value(&runner, "from outside", &both).expect(0);
    snapshot(&ran);
    with_value(&runner, "from outside", &[]).expect(0);
    let text = runner.runs().iter().fold(String::new(), |all, run| {
        all + &run.text("index.jsonl") + &run.text("benchmark.json") + &run.text("runner.log")
    });
    assert!(!text.contains("hunter2") && !text.contains("from outside"));
    // Short values cause a warning.
    with_value(&runner, "abc", &[]).expect(1).says(&["`KEY`", "short"]);
}

#[test]
fn bad_files_of_secrets_show_no_line() {
    let mut transcript = Transcript::default();
    let runner = telling();
    for text in ["hunter2\n", "KEY=\"hunter2\n", "KEY=hunter2\n\nKEY=hunter2\n"] {
        runner.write("bad.env", text);
        let ran = transcript.refused(&runner, &["--secret-file", "bad.env"]);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    transcript.refused(&runner, &["--secret-file", "missing.env"]);
    transcript.check("bad_files_of_secrets_show_no_line");
}

#[test]
fn resume_needs_secrets_again() {
    let runner = telling();
    let tests =
        tests("a | { do = \"trap\" } |\nb | { do = \"secret\" } | equals = \"[secret KEY]\"");
    runner.scenario(&format!("{SCENARIO}{tests}"));
    with_value(&runner, "hunter2", &["--fail-fast", "-j1"]);
    assert_eq!(runner.only_run().ending()[0], "incomplete");
    let resume = ["resume", "--fail-fast=off"];
    runner.run(&resume).expect(2).says(&["secret `KEY`"]);
    runner.write("key.env", "KEY=hunter2\n");
    let resume = [&resume[..], &["--secret-file", "key.env"]].concat();
    runner.run(&resume).expect(1);
    assert_eq!(runner.only_run().row("b")["outcome"], "passed");
}

#[test]
fn runs_with_secrets_are_their_owners() {
    let runner = telling();
    let exec = "umask 002; KEY=hunter2 $runner exec scenario.toml --into results/kept";
    Running::start(&mut runner.shell(exec)).finish().expect(0);
    let kept = runner.path("results/kept");
    assert_eq!(mode(&kept), 0o700);
    for file in ["benchmark.json", "index.jsonl", "runner.log", "scenario.toml"] {
        assert_eq!(mode(&kept.join(file)), 0o600, "{file}");
    }
    // Without the mode 600, others may read the file.
    runner.scenario(&format!(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\n{}",
        crate::support::runner::tests("a | { do = \"echo\", value = 1 } | equals = 1")
    ));
    let exec = "umask 002; $runner exec scenario.toml --into results/shared";
    Running::start(&mut runner.shell(exec)).finish().expect(0);
    assert_eq!(mode(&runner.path("results/shared")), 0o770);
}

#[test]
fn processes_show_no_secret() {
    let runner = Runner::new(&["hostile"]);
    let tests = tests("a | { do = \"sleep\", ms = 600000 } |");
    runner.scenario(&format!("{SCENARIO}{tests}"));
    runner.write("key.env", "KEY=hunter2\n");
    let mut running = runner.start(&["--secret-file", "key.env"]);
    running.wait_until_running(&runner, 1);
    let mut processes = running.workers();
    assert!(!processes.is_empty());
    processes.push(running.process());
    for process in processes {
        for about in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{about}", process.0);
            // `/proc` of a hardened worker may be unreadable, which shows nothing.
            let shown = fs::read(path).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&shown).contains("hunter2"), "{about}");
        }
    }
    running.kill();
}

/// The journal of a response with such a secret is void.
#[test]
fn providers_that_read_secrets_are_named_before_a_journal() {
    let runner = Runner::new(&["hostile"]);
    runner.wat("command.wasm", &printing("1"));
    let net = "net = [\"https://example.com\"]";
    let env = format!("{net}\nenv = {{ TOKEN = \"{{{{secret.KEY}}}}\" }}");
    let named = format!("{net}\nsecrets = [\"KEY\"]");
    let bound = format!(
        "{net}\nsecrets = [{{ name = \"KEY\", host = \"example.com\", header = \"authorization\" }}]"
    );
    let scenario = |providers: &[(&str, &str, &str)]| {
        let providers = providers.iter().map(|(name, plugin, grants)| {
            format!("[providers.{name}]\nplugin = \"{plugin}.wasm\"\n[providers.{name}.grants]\n{grants}\n")
        });
        let tests = tests("a | { do = \"echo\", value = 1 } |");
        runner.scenario(&format!("{}{tests}", providers.collect::<String>()));
    };
    let words = "an interrupted attempt does not continue";
    scenario(&[("p", "command", &env)]);
    let one = "provider `p` can read a secret: after a response with its value";
    runner.exec(&["--journal", "--dry-run"]).expect(0).says(&[one, words]);
    assert!(!runner.exec(&["--dry-run"]).expect(0).stderr.contains(words));

    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("[run]\njournal = true\n{text}"));
    runner.write("k.env", "KEY=hunter2\n");
    let ran = runner.run(&["validate", "scenario.toml", "--secret-file", "k.env"]).expect(0);
    ran.says(&[one, words]);

    scenario(&[("p", "hostile", &named), ("q", "command", &env), ("r", "command", &named)]);
    let ran = runner.exec(&["--journal", "--dry-run"]).expect(0);
    snapshot(&ran);
    ran.says(&[words]);

    let unable = [
        ("p", "hostile", bound.as_str()),
        ("q", "command", &named),
        ("r", "hostile", "secrets = [\"KEY\"]"),
    ];
    scenario(&unable);
    let ran = runner.exec(&["--journal", "--dry-run"]).expect(0);
    assert!(!ran.stderr.contains(words), "{}", ran.stderr);
}
