//! `runner plugin`: the commands for authors of plugins.

mod build;
mod doctor;
mod grants;
mod inspect;
mod new;
mod run;

use clap::builder::PossibleValuesParser;
use runner_model::exit::Exit;

use crate::{
    templates::Template,
    text::{error::CommandError, out::Out},
};

/// Write, build and try plugins
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(clap::Subcommand)]
enum PluginCommand {
    New(new::Args),
    Build(build::Args),
    Run(Box<run::Args>),
    Inspect(inspect::Args),
    Doctor(doctor::Args),
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    match &args.command {
        PluginCommand::New(args) => new::run(args, out),
        PluginCommand::Build(args) => build::run(args, out),
        PluginCommand::Run(args) => run::run(args, out),
        PluginCommand::Inspect(args) => inspect::run(args, out),
        PluginCommand::Doctor(args) => doctor::run(args, out),
    }
}

/// The words for languages.
fn language() -> PossibleValuesParser {
    let mut words: Vec<_> = Template::all().iter().map(Template::word).collect();
    words.dedup();
    words.into()
}
