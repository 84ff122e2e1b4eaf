//! Requests of one process to the owner of a run: stop, pause, unpause. Also suspended processes.

mod pauses;
mod requests;

use serde_json::Value;

use crate::support::{runner::Runner, running::Running};

/// Starts the scenario, and waits until two attempts run.
#[track_caller]
fn started(runner: &Runner) -> Running {
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(runner, 2);
    running
}

/// Returns the document of a request with `--json`.
#[track_caller]
fn asked(runner: &Runner, args: &[&str]) -> Value {
    runner.run(&[args, &["--json"]].concat()).expect(0).document()
}

/// Returns the result of a request in a word.
#[track_caller]
fn result(runner: &Runner, args: &[&str]) -> String {
    asked(runner, args)["result"].as_str().unwrap().to_owned()
}
