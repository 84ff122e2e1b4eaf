//! `runner plugin`, one file for each of its subcommands.

mod build;
mod doctor;
mod file;
mod grants;
mod inspect;
mod languages;
mod new;
mod protected;
mod rehearsal;
mod run;
mod workbench;

use super::Surroundings;
use crate::{
    cli::PluginCommand,
    error::{Error, ExitStatus},
    output::Output,
};

/// Carries out a command for authors of plugins.
pub(super) fn plugin(
    command: &PluginCommand,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    match command {
        PluginCommand::New(args) => new::new(args, surroundings, output),
        PluginCommand::Build(args) => build::build(args, output),
        PluginCommand::Inspect(args) => inspect::inspect(args, surroundings, output),
        PluginCommand::Run(args) => run::run(args, surroundings, output),
        PluginCommand::Doctor(args) => doctor::doctor(args, surroundings, output),
    }
}
