//! The compiler that [`runner::plugin::Engine`] starts.

use std::process::ExitCode;

use runner::plugin::{COMPILE_ARGUMENT, compile_child};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(COMPILE_ARGUMENT) {
        return compile_child();
    }
    ExitCode::FAILURE
}
