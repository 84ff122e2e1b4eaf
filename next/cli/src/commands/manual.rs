//! `runner completions` and `runner man`: the arguments of all commands for shells and as manual pages.

use std::{fs, path::PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use runner_model::exit::Exit;

use crate::command::{Cli, with_examples};
use crate::text::{CommandError, Out};

/// Print completions for a shell
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write a page for every command
#[derive(clap::Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder, which is created
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, out: &Out) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runner", &mut script);
    out.bytes(&script);
    Ok(Exit::Success)
}

pub fn man(args: &ManArgs, out: &Out) -> Result<Exit, CommandError> {
    let program = with_examples(Cli::command());
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        let rendered = Man::new(program).render(&mut page);
        rendered.map_err(CommandError::failed)?;
        out.bytes(&page);
        return Ok(Exit::Success);
    };
    let written =
        fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
    written.map_err(|error| CommandError::cannot_write(folder, &error))?;
    Ok(Exit::Success)
}
