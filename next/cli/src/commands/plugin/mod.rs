//! `runner plugin`: the commands for authors of plugins.

mod build;
mod doctor;
mod grants;
mod inspect;
mod new;
mod run;

use std::path::Path;

use clap::builder::PossibleValuesParser;
use runner_model::{Limits, ProviderName, exit::Exit, provider::Provider};
use serde_json::json;

use crate::{
    templates::Template,
    text::{CommandError, Out},
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

/// A provider of a plugin that is in no scenario, called after its file.
fn provider(file: &str) -> Result<Provider, CommandError> {
    let stem = Path::new(file.strip_prefix("bundled:").unwrap_or(file));
    let stem = stem.file_stem().unwrap_or_default().to_string_lossy();
    let name = ProviderName::parse(&stem).map_or("plugin", |_| &stem);
    let provider = json!({"name": name, "plugin": file, "config": {}, "limits": Limits::default()});
    serde_json::from_value(provider).map_err(CommandError::usage)
}

/// The words for languages.
fn language() -> PossibleValuesParser {
    let mut words: Vec<_> = Template::all().iter().map(Template::word).collect();
    words.dedup();
    words.into()
}
