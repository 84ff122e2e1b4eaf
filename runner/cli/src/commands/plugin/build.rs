//! `runner plugin build`: builds a plugin with the tools of its language.

use std::path::PathBuf;

use runner_model::units::{show_duration, show_size};
use runner_model::{exit::Exit, visible::visible_line};
use runner_prepare::source::Source;

use crate::source_build::{self, Form};
use crate::text::{CommandError, Out, style};

/// Build the plugin in a folder
///
/// Runs the line `build` of the folder's `plugin.toml`, outside the sandbox. Tools in the folder (`.venv/bin`,
/// `node_modules/.bin`) take precedence over those on `PATH`.
///
/// `--dev` builds the development form: an interpreter from the cache, with the source as data, so that an edit takes a second.
/// It behaves as the final form, which is faster to start and has no source in it. `exec --build` builds the development form, too.
#[derive(clap::Args)]
pub struct Args {
    /// The folder with the plugin's source
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Build the development form, which Python and JavaScript have
    #[arg(long)]
    dev: bool,
    /// Print the duration of each step
    #[arg(long)]
    timings: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let source = Source::open(&args.folder).map_err(CommandError::usage)?;
    let form = if args.dev { Form::Development } else { Form::Final };
    let built = source_build::build(&source, form, out)?;
    let (kind, size) = (source.kind(), show_size(built.bytes.len() as u64));
    let shown = match built.form {
        Form::Development => format!("development form of a {kind}"),
        Form::Final => kind.to_string(),
    };
    out.data(&format!(
        "{} {}: {shown}, {size} in {}",
        style::green("✓"),
        visible_line(&built.file.to_string_lossy()),
        show_duration(built.took),
    ));
    if args.timings {
        for (step, took) in &built.steps {
            out.fact(9, &show_duration(*took), &visible_line(step));
        }
        out.hint("the next run compiles what the cache lacks, and prints how long that takes");
    }
    if built.form == Form::Development {
        out.hint(&format!("to build the final form: {}", source.build_command()));
    } else if args.dev {
        let name = source.shown();
        out.hint(&format!(
            "{name} has no development form, `[dev]` in its `plugin.toml`: this is the final one"
        ));
    }
    Ok(Exit::Success)
}
