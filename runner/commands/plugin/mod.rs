//! `runner plugin`, one file for each of its subcommands.

mod build;
mod doctor;
mod file;
mod grants;
mod inspect;
mod new;
mod protected;
mod rehearsal;
mod run;
mod workbench;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::Surroundings;
use crate::{
    cli::{self, PluginCommand},
    error::{Error, ExitStatus},
    output::Output,
    toolchain::Language,
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

fn language(word: cli::Language) -> Language {
    match word {
        cli::Language::Rust => Language::Rust,
        cli::Language::Python => Language::Python,
        cli::Language::JavaScript => Language::JavaScript,
        cli::Language::C => Language::C,
        cli::Language::Go => Language::Go,
    }
}

/// Where a program is that is called by its name.
fn on_path(program: &Path, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
