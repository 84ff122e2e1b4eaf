//! The program of the page about embedding.

use std::{
    collections::BTreeSet,
    env, fs, iter,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::json;

use super::pages::blocks;
use crate::messages::outputs::snapshot;
use crate::support::{
    guests::root,
    runner::{PROGRAM, Runner, tests},
    running::{Finished, Running},
    wait::BUILD,
};

/// Builds the program, unless a plain `cargo test` has done it. Returns its path.
fn example() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(build);
    Path::new(PROGRAM).with_file_name("examples/embed")
}

fn build() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["build", "--quiet", "-p", env!("CARGO_PKG_NAME")]);
    cargo.args(["--example", "embed"]);
    // Variables of this package. `ring` would be built again with them, and once more without them.
    let foreign = env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| is_of_package(name.as_encoded_bytes())) {
        cargo.env_remove(name);
    }
    // It is set to report the time of each test, and would build the dependencies again.
    cargo.env_remove("RUSTC_BOOTSTRAP");
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    Running::start(&mut cargo).finish_within(BUILD).expect(0);
}

/// Returns whether cargo sets a variable for the package whose program it runs.
fn is_of_package(name: &[u8]) -> bool {
    name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
}

/// Runs the program in a folder, with variables of the environment.
fn embed(runner: &Runner, variables: &[(&str, &str)]) -> Finished {
    let mut command = runner.program(example().to_str().unwrap());
    command.envs(variables.iter().copied());
    Running::start(&mut command).finish()
}

#[test]
fn embedding_page_shows_the_example() {
    let page = blocks("docs/embedding.md");
    let shown = page.iter().find(|block| block.language == "rust").unwrap();
    let file = fs::read_to_string(root().join("runner/cli/examples/embed.rs")).unwrap();
    let (_, program) = file.split_once("\n\n").unwrap();
    assert_eq!(shown.text, program);
}

/// The README leaves out the observer.
#[test]
fn start_page_shows_lines_of_the_example() {
    let file = fs::read_to_string(root().join("runner/cli/examples/embed.rs")).unwrap();
    let mut lines = file.lines();
    let page = blocks("README.md");
    let shown = page.iter().find(|block| block.condition("in") == Some("embedding")).unwrap();
    for line in shown.text.lines().filter(|line| !line.contains("//")) {
        assert!(lines.any(|found| found == line), "{line}");
    }
}

#[test]
fn embedding_program_stops_and_resumes_its_run() {
    let quick = |name: char| format!("{name} | {{ do = \"echo\", value = 1 }} | equals = 1\n");
    let first: String = ('a'..='c').map(quick).collect();
    let rest: String = ('e'..='z').map(quick).collect();
    let slow = "d | { do = \"wait-for-stop\", until_attempt = 2 } | equals = \"stopped before\"\n";
    let runner = Runner::hostile(&format!(
        "[run]\nconcurrency = 1\n{}",
        tests(&[&first, slow, &rest].concat())
    ));
    let ran = embed(&runner, &[]).expect(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    let run = runner.only_run();

    let place = |line: &str| {
        lines.iter().position(|found| *found == line).unwrap_or_else(|| panic!("{}", ran.stdout))
    };
    let [stop, stopped] = ["stop: Ok(Stopping)", "incomplete: 3 passed"].map(place);
    assert_eq!((stop, stopped), (3, 5));
    assert_eq!(place("completed: 26 passed"), lines.len() - 1);
    let printed: Vec<_> = lines.iter().filter(|line| line.starts_with('{')).collect();
    let on_disk = run.text("index.jsonl");
    assert!(printed.iter().copied().eq(&on_disk.lines().collect::<Vec<_>>()));
    let rows = run.rows();
    let outcomes = rows.iter().map(|row| row["outcome"].as_str().unwrap());
    assert!(
        outcomes
            .eq(iter::repeat_n("passed", 3).chain(["stopped"]).chain(iter::repeat_n("passed", 23)))
    );
    let finals = rows.iter().filter(|row| row["final"] == true);
    let tests: BTreeSet<_> = finals.map(|row| row["test"].as_str().unwrap()).collect();
    assert_eq!(tests.len(), 26);
    let manifest = run.manifest();
    let sessions = manifest["sessions"].as_array().unwrap();
    let commands: Vec<_> = sessions.iter().map(|session| &session["command"]).collect();
    let program = json!([example()]);
    assert_eq!(commands, [&program; 2]);
}

#[test]
fn program_without_the_first_line_is_refused() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    // `main_if_child` does not know this child, as if it was not called.
    embed(&runner, &[("RUNNER_TEST_WORKER", "__unknown")]).expect(0);
    let manifest = runner.only_run().manifest();
    let message = manifest["message"].as_str().unwrap();
    assert!(
        message.ends_with("let `main` start with `runner_worker::main_if_child()`"),
        "{message}"
    );
    assert_eq!(manifest["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn embedding_program_gets_whole_problems() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninputs = 1\n");
    let ran = embed(&runner, &[]).expect(1);
    snapshot(&ran);
    assert!(ran.stdout.is_empty());
}
