//! The arguments of the commands for authors of plugins. Doc comments of this file are the program's help.

mod grants;
mod run;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

pub use grants::parse_grants;
pub use run::{InspectArgs, OutputArg, ProtocolArg, RehearseArgs};

/// The subcommands of `runner plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Write the folder of a new plugin, which builds as it is
    ///
    /// It has source, a test, a scenario that uses it, the contract, and a README that says how to go on.
    New(NewArgs),
    /// Build the plugin in a folder
    ///
    /// Runs the tools of its language, outside the sandbox, and writes `dist/plugin.wasm`. What is built is what the
    /// folder's `plugin.toml` says.
    Build(BuildArgs),
    /// Show what a plugin is and what it needs
    ///
    /// Prints its kind, what it says of itself, what it would like to be granted, what it imports and exports, and how
    /// long it took to compile. Of a file that cannot be used as a plugin all that is known is printed, and what is
    /// wrong with it; the exit code is 2 then.
    Inspect(InspectArgs),
    /// Call a plugin and show everything that comes of it
    ///
    /// The call is that of a run: a fresh sandbox with nothing in it but what is granted here, the same limits, and a
    /// deadline. The reply goes to standard output; logs and what it writes to standard error are shown as they come, then
    /// what it was denied, how long each step took and what was used.
    #[command(after_long_help = run::RUN_NOTES)]
    Run(Box<RehearseArgs>),
    /// Show which tools that build plugins are here, and how the others are installed
    Doctor(DoctorArgs),
}

/// The arguments of `runner plugin new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The folder; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    pub folder: PathBuf,
    /// What it is written in
    #[arg(long = "lang", value_name = "LANGUAGE")]
    pub language: LanguageArg,
    /// What it becomes [default: a component, but a command in C and Go]
    #[arg(long)]
    pub kind: Option<PluginKindArg>,
}

/// The arguments of `runner plugin build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The folder with the plugin's source
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// The arguments of `runner plugin doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The folder of a plugin, which may have tools of its own
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Look for the tools of this language alone, and exit with 1 if one is missing
    #[arg(long = "lang", value_name = "LANGUAGE")]
    pub language: Option<LanguageArg>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// The languages that plugins are built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[cfg_attr(
    feature = "internals",
    expect(missing_docs, reason = "clap would show more than the word")
)]
pub enum LanguageArg {
    Rust,
    Python,
    #[value(name = "javascript")]
    JavaScript,
    C,
    Go,
}

/// The kinds of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PluginKindArg {
    /// Typed calls
    Component,
    /// A program with standard input and output
    Command,
}
