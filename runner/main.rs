//! The program: the environment is read here, and nowhere else.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if let Some(code) = runner::serve_child(&arguments) {
        return code;
    }
    runner::run_program(runner::Process {
        arguments,
        variable: |name| env::var_os(name),
        path: env::current_exe().ok(),
    })
}
