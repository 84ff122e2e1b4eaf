//! The subcommands, one file each. A command is a list of calls.

mod cancel;
mod cleanup;
mod completions;
mod detach;
mod exec;
mod list;
mod logs;
mod man;
mod naming;
mod pin;
mod plugin;
mod preview;
mod prune;
mod reindex;
mod resume;
mod schema;
mod show;
mod stop;
mod trial_logs;
mod validate;
mod verify;
mod wait;
mod watching;

use std::path::PathBuf;

pub use detach::DETACHED_ARGUMENT;

use crate::{
    cli::Command,
    error::{Error, ExitStatus},
    model::chain,
    output::Output,
    record::RecordError,
    session::{Host, SessionLog},
};

/// What `main` knows of the process's environment.
pub struct Surroundings {
    /// What it offers to the use cases; its program is also started again to run in the background.
    pub host: Host,
    /// Whether this process is to leave its terminal, as [`DETACHED_ARGUMENT`] says.
    pub is_detached: bool,
    /// The results root where the command line names none.
    pub results: PathBuf,
    /// `RUNNER_RUN`: the run that is meant where the command line names none.
    pub run: Option<String>,
    /// `RUNNER_LOG`: what goes into `runner.log`.
    pub log_filter: Option<String>,
}

impl Surroundings {
    /// Starts to receive what the runner traces, and to show warnings once the log begins.
    fn log(&self, output: &Output) -> SessionLog {
        log(self.log_filter.as_deref(), output)
    }
}

/// Starts to receive what the runner traces, as `filter` says, and to show warnings once the log begins.
fn log(filter: Option<&str>, output: &Output) -> SessionLog {
    let output = output.clone();
    SessionLog::start(filter, move |warning| {
        // The log has it already.
        if !output.is_log() {
            output.warn(warning);
        }
    })
}

/// Shows warnings of what the runner does to results, which no run's log has.
fn show_warnings(output: &Output) {
    log(None, output).begin();
}

/// Carries out a command.
pub fn dispatch(
    command: Command,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    match command {
        Command::Exec(args) => exec::exec(args, surroundings, output),
        Command::Resume(args) => resume::resume(args, surroundings, output),
        Command::Stop(args) => stop::stop(&args, surroundings, output),
        Command::Cancel(args) => cancel::cancel(&args, surroundings, output),
        Command::Wait(args) => wait::wait(&args, surroundings, output),
        Command::Logs(args) => logs::logs(&args, surroundings, output),
        Command::Validate(args) => validate::validate(&args, surroundings, output),
        Command::List(args) => list::list(&args, surroundings, output),
        Command::Show(args) => show::show(&args, surroundings, output),
        Command::Verify(args) => verify::verify(&args, surroundings, output),
        Command::Cleanup(args) => cleanup::cleanup(&args, output),
        Command::Pin(args) => pin::pin(args, surroundings, output),
        Command::Unpin(args) => pin::unpin(&args, surroundings, output),
        Command::Prune(args) => prune::prune(&args, output),
        Command::Reindex(args) => reindex::reindex(&args, output),
        Command::Plugin(command) => plugin::plugin(&command, surroundings, output),
        Command::Schema(args) => Ok(schema::schema(&args, output)),
        Command::Completions(args) => Ok(completions::completions(&args, output)),
        Command::Man(args) => man::man(&args, output),
    }
}

/// Warns of directories that hold a run which cannot be read.
fn warn_unreadable(unreadable: &[(PathBuf, RecordError)], output: &Output) {
    for (directory, error) in unreadable {
        let is_odd = matches!(error, RecordError::Odd(_));
        let (directory, error) = (directory.display(), chain(error));
        output.warn(&match is_odd {
            true => format!("`{directory}` is left out: {error}"),
            false => format!("run `{directory}` cannot be read: {error}"),
        });
    }
}
