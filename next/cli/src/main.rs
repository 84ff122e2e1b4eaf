//! The command `runner`: arguments to a request of `engine` or a document of `report`, and that into words.
//!
//! One file in `commands` has a command's arguments and call; `text` has what they print with. Begin reading at [`run`].

mod args;
mod commands;
mod detach;
mod templates;
mod text;

use std::{
    env,
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use runner_model::exit::Exit;
use runner_record::RequestMode;

use crate::{
    args::{Cli, Command},
    text::Out,
};

fn main() -> ExitCode {
    runner_worker::main_if_child();
    let program = env::args_os().take(1);
    let arguments: Vec<OsString> = program.chain(detach::arguments()).collect();
    let out = Out::default();
    out.report_panics();
    // The hook has printed the message of a panic.
    let exit = panic::catch_unwind(AssertUnwindSafe(|| run(&arguments, &out)));
    ExitCode::from(out.exit(exit.unwrap_or(Exit::Internal)).code())
}

fn run(arguments: &[OsString], out: &Out) -> Exit {
    let parsed = commands::grouped(Cli::command())
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return out_of_usage(&error, arguments, out),
    };
    match cli.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    let done = match &cli.command {
        Command::Init(args) => commands::init::run(args, out),
        Command::Exec(args) => commands::exec::run(args, out),
        Command::Resume(args) => commands::resume::run(args, out),
        Command::Validate(args) => commands::validate::run(args, out),
        Command::List(args) => commands::list::run(args, out),
        Command::Show(args) => commands::show::run(args, out),
        Command::Wait(args) => commands::follow::wait(args, out),
        Command::Logs(args) => commands::follow::logs(args, out),
        Command::Stop(args) => commands::control::stop(args, out),
        Command::Cancel(args) => commands::control::ask(args, RequestMode::Cancel, out),
        Command::Pause(args) => commands::control::ask(args, RequestMode::Pause, out),
        Command::Unpause(args) => commands::control::unpause(args, out),
        Command::Verify(args) => commands::upkeep::verify(args, out),
        Command::Cleanup(args) => commands::upkeep::cleanup(args, out),
        Command::Prune(args) => commands::upkeep::prune(args, out),
        Command::Pin(args) => commands::upkeep::pin(args, out),
        Command::Unpin(args) => commands::upkeep::unpin(args, out),
        Command::Reindex(args) => commands::upkeep::reindex(args, out),
        Command::Plugin(args) => commands::plugin::run(args, out),
    };
    done.unwrap_or_else(|error| {
        out.error(&error);
        error.exit()
    })
}

/// Prints the help or version that was asked for, or why the arguments are wrong.
fn out_of_usage(error: &clap::Error, arguments: &[OsString], out: &Out) -> Exit {
    let text = error.render();
    let text = if arguments.iter().any(|argument| argument.to_string_lossy().contains('\u{1b}')) {
        // The colours of an argument cannot be told from clap's.
        text.to_string()
    } else {
        text.ansi().to_string()
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out.data(text.trim_end());
            // Of this kernel, to compare with what the manifest of a run has.
            if arguments.iter().any(|argument| argument == "--verbose") {
                out.data(&format!("second wall: {}", runner_worker::offered()));
            }
            Exit::Success
        }
        _ => {
            out.talk(text.trim_end());
            Exit::Usage
        }
    }
}
