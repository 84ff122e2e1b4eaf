//! Calls of plugins: every way in which a guest can end, and everything that can go wrong before it starts.

mod commands;
mod compiling;
mod components;
mod fresh;
mod interrupts;
mod limits;
mod linking;
mod traps;

use std::sync::LazyLock;

use serde_json::Value;

use crate::support::{
    engine::{Attempt, BENCH, Ended, Plugin, StdoutForm},
    guests::guest,
};

static HOSTILE: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("hostile")).unwrap());
static COMMAND: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("command")).unwrap());

#[expect(
    clippy::needless_pass_by_value,
    reason = "inputs are made with `json!` where they are handed over"
)]
fn hostile(input: Value) -> Ended {
    Attempt::new().run(&HOSTILE, &input)
}

/// An attempt of a plain command, whose output is text.
fn plain(args: &[&str]) -> Attempt {
    Attempt::of_command(args, StdoutForm::Text)
}

fn command(args: &[&str]) -> Ended {
    plain(args).run(&COMMAND, &Value::Null)
}
