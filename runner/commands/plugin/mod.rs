//! `runner plugin`, one file for each of its subcommands.

mod build;

use crate::{
    cli::PluginCommand,
    error::{Error, ExitStatus},
    output::Output,
};

/// Carries out a command for authors of plugins.
pub(super) fn plugin(command: &PluginCommand, output: &Output) -> Result<ExitStatus, Error> {
    match command {
        PluginCommand::Build(args) => build::build(args, output),
    }
}
