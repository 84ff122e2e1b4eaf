//! `runner plugin build`: builds a plugin with the tools of its language.

use std::path::PathBuf;

use runner_model::units::{show_duration, show_size};
use runner_model::{exit::Exit, visible::visible_line};
use runner_prepare::source::Source;

use crate::source_build;
use crate::text::{CommandError, Out, style};

/// Build the plugin in a folder
///
/// Runs the line `build` of the folder's `plugin.toml`, outside the sandbox. Tools in the folder (`.venv/bin`,
/// `node_modules/.bin`) take precedence over those on `PATH`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with the plugin's source
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let source = Source::open(&args.folder).map_err(CommandError::usage)?;
    let built = source_build::build(&source)?;
    out.data(&format!(
        "{} {}: {}, {} in {}",
        style::green("✓"),
        visible_line(&built.file.to_string_lossy()),
        source.kind(),
        show_size(built.bytes.len() as u64),
        show_duration(built.took),
    ));
    Ok(Exit::Success)
}
