//! Plugins as their authors meet them: `runner plugin`, the published contracts, and plugins that cannot be used.

mod bad_plugins;
mod bundled;
mod contracts;
mod given;
mod graders;
mod inspect;
mod new_plugins;
mod projects;
mod told;

use serde_json::Value;

use crate::support::runner::{Ran, Runner};

fn call(runner: &Runner, plugin: &str, args: &[&str]) -> Ran {
    runner.run(&[&["plugin", "run", plugin], args].concat())
}

/// Calls the hostile guest and expects this exit code.
#[track_caller]
fn hostile(input: &Value, args: &[&str], code: i32) -> Ran {
    let runner = Runner::new(&["hostile"]);
    let input = input.to_string();
    let args = [&["--input", &input], args].concat();
    call(&runner, "hostile.wasm", &args).expect(code)
}

/// The document of a call of the hostile guest.
#[track_caller]
fn document(input: &Value, args: &[&str], code: i32) -> Value {
    let ran = hostile(input, &[&["--json"], args].concat(), code);
    assert_eq!(ran.stderr, "");
    ran.document()
}
