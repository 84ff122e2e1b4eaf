//! The provider of `../files` as a program: its first argument is the list, its standard output the list of results.

#![cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, unused_imports, reason = "nobody runs it on the host")
)]

#[cfg(target_arch = "wasm32")]
#[path = "../../files/src/probe.rs"]
mod probe;

use std::process::ExitCode;

#[cfg(target_arch = "wasm32")]
fn main() -> ExitCode {
    let list = std::env::args().nth(1).expect("there is an argument");
    let acts = serde_json::from_str(&list).expect("it is JSON");
    let found = probe::act_all(&acts);
    print!("{found}");
    match probe::failure(&acts, &found) {
        Some(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
