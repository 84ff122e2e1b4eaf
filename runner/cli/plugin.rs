//! The arguments of the commands for authors of plugins. Doc comments of this file are the program's help.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The subcommands of `runner plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Build the plugin in a folder
    ///
    /// Runs the tools of its language, outside the sandbox, and writes `dist/plugin.wasm`. What is built is what the
    /// folder's `plugin.toml` says.
    Build(BuildArgs),
}

/// What `runner plugin build` is told.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The folder with the plugin's source
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}
