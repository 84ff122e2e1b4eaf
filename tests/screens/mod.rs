//! What a person sees, and what a program reads: how a run stands, what to type next, and that it fits where it is shown.

mod documents;
mod keys;
mod lists;
mod logs;
mod lost;
mod output;
mod page;
mod pager;
mod standing;
mod terminal;
mod ways_out;
mod widths;

use crate::support::{
    runner::{Runner, Running, Signal, tests},
    terminal::{Screen, on_terminal},
};

/// One test that passes, one that fails, and one that does not end by itself.
fn three() -> Runner {
    let name = "a scenario whose name is longer than anybody would like it to be";
    Runner::hostile(&format!(
        "name = \"{name}\"\n{}[[tests]]\nid = \"endless\"\ninput = {{ do = \"loop\" }}\n",
        tests(
            r#"
            pass | { do = "echo", value = "x" }        | equals = "x"
            fail | { do = "echo", value = "one\ntwo" } | equals = "one\n2"
            "#
        )
    ))
}

fn show(runner: &Runner, columns: u16, args: &[&str]) -> Screen {
    on_terminal(runner.command(args), columns).finish()
}

/// Interrupts a run once two of its trials are done.
fn interrupted(runner: &Runner, args: &[&str]) -> Running {
    let mut live = runner.start(args);
    live.wait_for(|event| event["counts"]["failed"] == 1 || event["row"]["test"] == "fail");
    live.signal(Signal::INT);
    live
}
