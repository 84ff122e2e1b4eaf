//! The compiler that [`runner::plugin::Engine`] starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("__compile") {
        return runner::plugin::compile_child();
    }
    ExitCode::FAILURE
}
