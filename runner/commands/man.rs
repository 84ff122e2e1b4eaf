//! `runner man`.

use clap::CommandFactory as _;
use clap_mangen::Man;
use miette::{IntoDiagnostic as _, WrapErr as _};

use super::Context;
use crate::{
    cli::{Cli, ManArgs},
    error::{Error, ExitStatus},
};

/// Prints the manual page, or writes one page per command.
pub(super) fn man(args: &ManArgs, context: &Context) -> Result<ExitStatus, Error> {
    if let Some(folder) = &args.folder {
        fs_err::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command(), folder))
            .into_diagnostic()
            .wrap_err("cannot write manual pages")
            .map_err(Error::usage)?;
        return Ok(ExitStatus::Success);
    }
    let mut page = Vec::new();
    Man::new(command())
        .render(&mut page)
        .expect("memory can be written to");
    context.output.text(&String::from_utf8_lossy(&page));
    Ok(ExitStatus::Success)
}

/// The command line, without `runner help`, which has no page of its own.
fn command() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}
