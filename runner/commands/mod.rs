//! The subcommands, one file each. A command is a list of calls.

mod closing;
mod completions;
mod differences;
mod exec;
mod list;
mod live;
mod man;
mod plugins;
mod resume;
mod schema;
mod session_log;
mod show;
mod validate;

use std::path::PathBuf;

use crate::{
    cli::Command,
    error::{Error, ExitStatus},
    output::Output,
};

/// What `main` knows of the process's environment.
pub struct Surroundings {
    /// The runner's own program, which is started again to compile plugins.
    pub program: PathBuf,
    /// Where compiled plugins are kept; `None` leaves it to the results root.
    pub cache: Option<PathBuf>,
    /// `RUNNER_LOG`: what goes into `runner.log`.
    pub log_filter: Option<String>,
}

/// Carries out a command.
pub fn dispatch(
    command: Command,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    match command {
        Command::Exec(args) => exec::exec(args, surroundings, output),
        Command::Resume(args) => resume::resume(&args, surroundings, output),
        Command::Stop(_) | Command::Cancel(_) | Command::Wait(_) | Command::Logs(_) => unimplemented!(),
        Command::Validate(args) => validate::validate(&args, output),
        Command::List(args) => list::list(&args, output),
        Command::Show(args) => show::show(&args, output),
        Command::Schema(args) => Ok(schema::schema(&args, output)),
        Command::Completions(args) => Ok(completions::completions(&args, output)),
        Command::Man(args) => man::man(&args, output),
    }
}
