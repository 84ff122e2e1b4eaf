//! Output for GitHub, GitLab and Buildkite.

use std::{fs, os::unix::fs::symlink};

use crate::messages::outputs::snapshot;
use crate::support::{runner::Runner, running::Finished, running::Running};

/// Runs the scenario with variables of a CI system.
fn exec(runner: &Runner, args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = runner.command(&[&["exec", "scenario.toml"], args].concat());
    Running::start(command.envs(variables.iter().copied())).finish()
}

/// Returns the lines that GitHub takes for commands.
fn commands(ran: &Finished) -> Vec<&str> {
    let lines = ran.stdout.lines().chain(ran.stderr.lines());
    lines.filter(|line| line.trim_start().starts_with("::") || line.contains("##[")).collect()
}

const GITHUB: (&str, &str) = ("GITHUB_ACTIONS", "true");

#[test]
fn github_gets_annotations_at_the_tests() {
    let runner = Runner::new(&["hostile"]);
    runner.write(
        "list.jsonl",
        "{\"id\": \"fine\", \"input\": {\"do\": \"echo\"}}\n{\"id\": \"listed\", \"input\": {\"do\": \"trap\"}}\n",
    );
    runner.scenario(
        r#"name = "a: 100 %, b"
[providers.p]
plugin = "hostile.wasm"
[[tests]]
id = "sum"
repeat = 2
input = { do = "echo", value = 1 }
expect = { equals = 2 }
[[test_lists]]
files = ["list.jsonl"]
"#,
    );
    let folder = runner.path("workspace");
    symlink(runner.path(""), &folder).unwrap();
    let variables = [
        GITHUB,
        ("GITHUB_WORKSPACE", folder.to_str().unwrap()),
        ("GITHUB_STEP_SUMMARY", "summary.md"),
    ];
    runner.write("summary.md", "before\n");
    let ran = exec(&runner, &[], &variables).expect(1);
    assert_eq!(
        commands(&ran),
        [
            "::error file=list.jsonl,line=2,title=a%3A 100 %25%2C b%3A error%2C 1 trial::listed@p#1: the guest trapped: wasm `unreachable` instruction executed",
            "::error file=scenario.toml,line=5,title=a%3A 100 %25%2C b%3A failed%2C 2 trials::sum@p#1, sum@p#2: equals: expected 2, got 1",
        ]
    );
    let summary = fs::read_to_string(runner.path("summary.md")).unwrap();
    assert!(summary.starts_with("before\n### `a: 100 %, b`: failed\n"), "{summary}");

    assert_eq!(commands(&exec(&runner, &["--no-ci"], &variables).expect(1)), [""; 0]);
    runner.write("summary.md", vec![b'x'; 1 << 20]);
    exec(&runner, &[], &variables)
        .expect(1)
        .says(&["cannot add the summary to summary.md: it is full"]);
    assert_eq!(fs::metadata(runner.path("summary.md")).unwrap().len(), 1 << 20);
}

#[test]
fn session_that_ran_nothing_is_marked() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"sum\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n",
    );
    let none = "### `scenario`: failed, none run now\n";
    for (runs, args) in [(0, &["--into", "results/a"][..]), (1, &["--into", "results/a"])] {
        let ran = exec(&runner, args, &[GITHUB, ("GITHUB_STEP_SUMMARY", "summary.md")]).expect(1);
        let summary = fs::read_to_string(runner.path("summary.md")).unwrap();
        assert_eq!(summary.matches(none).count(), runs, "{summary}");
        assert_eq!(ran.stdout.matches("✗ failed: 1 of 1 (1 failed), none run now\n").count(), runs);
    }
    let resumed = runner.run(&["resume", "latest"]).expect(1);
    snapshot(&resumed);
    let rescored = runner.run(&["rescore", "latest"]).expect(1);
    snapshot(&rescored);
    snapshot(&runner.run(&["resume", "latest", "--rerun", "failed"]).expect(1));
}

#[test]
fn merged_run_is_annotated_once() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"sum\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n",
    );
    exec(&runner, &["--shard", "1/1", "--into", "shards/one", "--no-ci"], &[GITHUB]).expect(1);
    let folder = runner.path("").canonicalize().unwrap();
    let workspace = ("GITHUB_WORKSPACE", folder.to_str().unwrap());
    let variables = [GITHUB, workspace, ("GITHUB_STEP_SUMMARY", "summary.md")];
    let merge = |into: &str, more: &[&str]| {
        let args = [&["merge", "shards/one", "--into", into], more].concat();
        Running::start(runner.command(&args).envs(variables)).finish().expect(1)
    };
    assert_eq!(commands(&merge("results/quiet", &["--no-ci"])), [""; 0]);
    assert!(!runner.path("summary.md").exists());
    for (into, more) in [("results/text", &[][..]), ("results/json", &["--json"])] {
        let ran = merge(into, more);
        let found = commands(&ran);
        let is_own = |line: &&str| line.starts_with("::error file=scenario.toml,line=");
        assert!(found.len() == 1 && found.iter().all(is_own), "{found:?}");
    }
    // It is merged already.
    assert_eq!(commands(&merge("results/text", &[])), [""; 0]);
    let summary = fs::read_to_string(runner.path("summary.md")).unwrap();
    assert_eq!(summary.matches("### `scenario`: failed").count(), 2, "{summary}");
}

#[test]
fn annotations_are_grouped_and_bounded() {
    let runner = Runner::new(&["hostile"]);
    let test = |index: u8| {
        let reason = char::from(b'a' + index);
        format!(
            "[[tests]]\nid = \"t{index}\"\ninput = {{ do = \"error\", message = \"{reason}\" }}\n"
        )
    };
    let tests: String = (0..14).map(test).collect();
    runner.scenario(&format!("[providers.p]\nplugin = \"hostile.wasm\"\n{tests}"));
    let ran = exec(&runner, &["--json"], &[GITHUB]).expect(1);
    // Events stay alone on standard output.
    ran.events();
    let found = commands(&ran);
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(found[9].starts_with("::error::5 more trials: runner show "), "{found:?}");
}

#[test]
fn guests_cannot_command_a_job() {
    let runner = Runner::hostile(
        r#"
        [[tests]]
        id = "diff"
        input = { do = "echo", value = "a\n::set-output name=x::y\n  ::add-mask::z\n##[error]w" }
        expect = { equals = "b\nc" }
        [[tests]]
        id = "log"
        input = { do = "say", text = "::stop-commands::x\n##[add-mask]y\n" }
        expect = { equals = 1 }
        [[tests]]
        id = "error"
        input = { do = "error", code = "E", message = "a ##[error]b\n::error::b" }
        "#,
    );
    let is_own = |line: &&&str| line.starts_with("::error file=");
    let ran = exec(&runner, &["--verbose"], &[GITHUB]).expect(1);
    let found = commands(&ran);
    assert_eq!(found.iter().filter(is_own).count(), found.len(), "{found:?}");
    for args in [
        &["show", "latest", "--failed"][..],
        &["show", "latest", "diff"],
        &["show", "latest", "log"],
        &["logs", "latest"],
        &["show", "latest", "--json"],
        &["report"],
        &["report", "--csv"],
        &["report", "--trace"],
        &["report", "--junit"],
        &["report", "--html"],
    ] {
        let ran = Running::start(runner.command(args).env(GITHUB.0, GITHUB.1)).finish().expect(0);
        assert_eq!(commands(&ran), [""; 0], "{args:?}");
    }
}

#[test]
fn other_systems_get_folded_sections() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"sum\"\ninput = { do = \"echo\", value = 1 }\nexpect = { equals = 2 }\n",
    );
    let ran = exec(&runner, &[], &[("GITLAB_CI", "true")]).expect(1);
    let start = "]\r\u{1b}[0Kfailed, 1 trial: equals: expected 2, got 1\nsum@hostile#1\n";
    assert!(ran.stderr.contains("\u{1b}[0Ksection_start:"), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!(":runner_0[collapsed=true{start}")), "{}", ran.stderr);
    assert!(ran.stderr.contains(":runner_0\r\u{1b}[0K\n"), "{}", ran.stderr);
    let ran = exec(&runner, &[], &[("BUILDKITE", "true")]).expect(1);
    let section = "--- failed, 1 trial: equals: expected 2, got 1\nsum@hostile#1\n  equals:";
    assert!(ran.stderr.contains(section), "{}", ran.stderr);
    let ran = exec(&runner, &["--no-ci"], &[("BUILDKITE", "true")]).expect(1);
    assert!(!ran.stderr.contains("---"), "{}", ran.stderr);
}
