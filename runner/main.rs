//! The program: parse, dispatch, exit code.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser as _;
use runner::{
    cli::Cli,
    commands::{self, Surroundings},
    output::Output,
    plugin,
};

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    // No command for people, so it is not part of the command line that help and completions describe.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == plugin::COMPILE_ARGUMENT)
    {
        return plugin::compile_child();
    }
    let cli = Cli::parse();
    let output = Output::default();
    let surroundings = Surroundings {
        // Without it plugins that are in the cache still run; compiling one says what is missing.
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("runner")),
        cache: cache_folder(),
        log_filter: std::env::var("RUNNER_LOG").ok(),
    };
    match commands::dispatch(cli.command, &surroundings, &output) {
        Ok(status) => status.into(),
        Err(error) => {
            output.error(&error);
            error.status.into()
        }
    }
}

/// Where compiled plugins are kept; `None` leaves it to the results root.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("RUNNER_CACHE") {
        return Some(folder.into());
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Some(PathBuf::from(folder).join("runner"));
    }
    let home = PathBuf::from(variable("HOME")?);
    let folder = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    Some(home.join(folder).join("runner"))
}
