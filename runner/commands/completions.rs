//! `runner completions`.

use clap::CommandFactory as _;

use super::Context;
use crate::{
    cli::{Cli, CompletionsArgs},
    error::ExitStatus,
};

/// Prints a shell completion script.
pub(super) fn completions(args: &CompletionsArgs, context: &Context) -> ExitStatus {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runner", &mut script);
    context.output.text(&String::from_utf8_lossy(&script));
    ExitStatus::Success
}
