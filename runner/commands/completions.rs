//! `runner completions`.

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, CompletionsArgs},
    error::ExitStatus,
    output::Output,
};

/// Prints a shell completion script.
pub(super) fn completions(args: &CompletionsArgs, output: &Output) -> ExitStatus {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runner", &mut script);
    output.text(&String::from_utf8_lossy(&script));
    ExitStatus::Success
}
