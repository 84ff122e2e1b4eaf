//! What one process asks of the process that works on a run: to stop, to pause, to go on; and suspended processes.

mod pauses;
mod requests;

use serde_json::Value;

use crate::support::{runner::Runner, running::Running};

/// Trials of the hostile guest that do this, two of which run at once.
fn trials(count: usize, what: &str, run: &str) -> Runner {
    Runner::hostile(&format!(
        "[run]\n{run}\n[[tests]]\nid = \"guest\"\nrepeat = {count}\ntimeout = \"10m\"\ninput = {{ do = \"{what}\" }}\n"
    ))
}

/// Starts the scenario, and waits until two attempts run.
#[track_caller]
fn started(runner: &Runner) -> Running {
    let mut running = runner.start(&["-j", "2"]);
    running.wait_until_running(runner, 2);
    running
}

/// What a command that asks says with `--json`.
#[track_caller]
fn asked(runner: &Runner, args: &[&str]) -> Value {
    runner.run(&[args, &["--json"]].concat()).expect(0).document()
}

/// What came of it, in a word.
#[track_caller]
fn result(runner: &Runner, args: &[&str]) -> String {
    asked(runner, args)["result"].as_str().unwrap().to_owned()
}
