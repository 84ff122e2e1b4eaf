//! Runs that go on until somebody ends them, and what is said when somebody does.

use serde_json::{Value, json};

use super::runner::{CommandExt as _, Ran, Run, Runner, Running, tests};

/// A scenario of `count` trials that do `what`.
pub(crate) fn trials(count: usize, what: &str) -> String {
    format!("[[tests]]\nid = \"guest\"\nrepeat = {count}\ntimeout = \"10m\"\ninput = {what}\n")
}

pub(crate) fn endless() -> Runner {
    Runner::hostile(&trials(3, r#"{ do = "loop" }"#))
}

pub(crate) fn passing() -> Runner {
    Runner::hostile(&tests("one | { do = \"echo\", value = 1 } |"))
}

/// Starts a run, two attempts of which are being executed.
#[track_caller]
pub(crate) fn running(runner: &Runner) -> Running {
    running_with(runner, &[])
}

#[track_caller]
pub(crate) fn running_with(runner: &Runner, args: &[&str]) -> Running {
    let mut live = runner.start(&[&["-j", "2"], args].concat());
    live.wait_until_running(2);
    live
}

pub(crate) fn spawn(runner: &Runner, args: &[&str]) -> Running {
    runner.command(args).start()
}

/// Fails unless `stop --json` or `cancel --json` has said this.
#[track_caller]
pub(crate) fn assert_says(
    ran: &Ran,
    run: &Run,
    result: &str,
    status: &str,
    reason: impl Into<Value>,
) {
    let document = ran.document();
    let said = ["v", "run", "result", "status", "reason"].map(|key| &document[key]);
    let expected = [
        &json!(1),
        &json!(run.id()),
        &json!(result),
        &json!(status),
        &reason.into(),
    ];
    assert_eq!(said, expected);
}
