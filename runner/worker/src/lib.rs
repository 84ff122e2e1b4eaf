//! The worker process: receives tasks over a socket, calls plugins, judges replies and reports whole rows. Also the
//! children that compile plugins, post webhooks and run commands of notifications. Depends on `model` and `sandbox`.
//!
//! A worker has no path to a run directory and is not trusted. Its supervisor is the parent process: a coordinator, or a single
//! call such as `plugin run`.
//!
//! Start at [`main_if_child`], then `worker`: one thread reads frames (`control`), one runs guests (`guests`), and
//! `worker_state` is shared by both.

mod attempt;
mod control;
mod grade;
mod guests;
mod harden;
mod instances;
/// The child `__lie` of tests: a worker that sends false data.
#[cfg(debug_assertions)]
#[path = "tests/lie.rs"]
mod lie;
mod link;
mod provider;
mod redact_row;
mod report;
mod schema;
mod tools;
mod worker;
mod worker_state;

/// Hidden children that call no plugin.
mod children {
    pub mod compile;
    pub mod notify;
}

/// Files of an attempt: those of its guest, the changes in its workspace, and its transcript.
mod left {
    pub mod artifacts;
    pub mod transcripts;
    pub mod workspaces;
}

/// Judges the end of an attempt by the test's `expect`. Executes no foreign code.
mod judge {
    mod checks;
    mod compiled;
    mod diff;
    mod json;
    mod left;
    mod outcome;
    mod search;
    mod transcript;
    mod workspace;

    pub use self::compiled::{CompiledCache, SharedSchema};
    pub use self::diff::{changed_lines, text_diff};
    pub use self::json::{max_tree_bytes, tree_bytes, without_fence};
    pub use self::left::JudgedFiles;
    pub use self::{checks::Evidence, outcome::judge, outcome::judge_cut, outcome::rejudge};

    #[cfg(test)]
    #[path = "../tests/judge.rs"]
    mod tests;
}

use std::io::{self, Write as _};
use std::{env, process};

pub use harden::offered;
pub use judge::{changed_lines, text_diff};

/// Entry point of the target `schemas` in `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::schema::fuzzing::schemas;
}

/// Runs a hidden child (`__worker`, `__compile`, `__command`, `__post`) and exits if the command line names one. Otherwise returns.
///
/// Call it in the first line of `main`, before any thread exists.
pub fn main_if_child() {
    let mut arguments = env::args_os().skip(1).map(|argument| argument.into_string());
    let Some(Ok(child)) = arguments.next() else {
        return;
    };
    let main: fn(&[&str]) -> Result<(), String> = match child.as_str() {
        "__worker" => worker::main,
        "__command" => children::notify::run_command,
        "__compile" => children::compile::main,
        "__post" => children::notify::post,
        #[cfg(debug_assertions)]
        "__lie" => lie::main,
        _ => return,
    };
    let rest: Vec<String> = arguments.map_while(Result::ok).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    exit(main(&rest));
}

/// Ends this process.
#[allow(
    clippy::exit,
    reason = "a guest in one long instruction keeps its thread, so threads are not joined"
)]
fn exit(result: Result<(), String>) -> ! {
    let Err(message) = result else {
        process::exit(0);
    };
    // The parent logs the end of this output. Without a parent there is no reader.
    let _ = writeln!(io::stderr(), "{message}");
    process::exit(1);
}
