//! The program `runner`: turns arguments into requests of `engine` or documents of `report`, and prints the answers.
//!
//! `commands` has one file for each command or small group of commands; `text` formats and prints. Start at [`run`]. The
//! workers and other children of a run are this program, too: [`main`] first calls `runner_worker::main_if_child`.

mod args;
mod ci;
mod command;
mod detach;
mod report_files;
mod session_end;
mod shard;
mod source_build;
mod templates;
mod tools;

/// The commands: for each its arguments, its call, and the text of its answer.
mod commands {
    pub mod control;
    pub mod exec;
    pub mod follow;
    pub mod group;
    pub mod init;
    pub mod list;
    pub mod report;
    pub mod rescore;
    pub mod resume;
    pub mod serve;
    mod session;
    pub mod show;
    mod target;
    pub mod validate;
    mod watch;

    /// Workers on other machines: their commands, and the flags that connect to them.
    pub mod fleet {
        pub mod broker;
        pub mod flags;
        pub mod worker;
    }

    /// Commands about the program itself: completions, manual pages and JSON Schemas.
    pub mod help {
        pub mod completions;
        pub mod manual;
        pub mod schema;
    }

    /// `runner plugin`: the commands for authors of plugins.
    pub mod plugin {
        pub mod build;
        pub mod doctor;
        pub mod inspect;
        pub mod new;
        mod provider;
        pub mod run;
    }

    /// Commands about results of trials, and the texts of their answers.
    pub mod results {
        pub mod accept;
        pub mod calls;
        pub mod changes;
        pub mod compare;
        pub mod exact;
        pub mod history;
        pub mod known;
        pub mod merge;
        pub mod transcript;
        pub mod trial;
    }

    /// Commands about a results root: its queue, notifications, trust and upkeep.
    pub mod root {
        pub mod notify;
        pub mod queue;
        pub mod trust;
        pub mod upkeep;
    }
}

/// Output: the printer, colours, layout, and the texts that several commands share.
mod text {
    mod difference;
    pub mod error;
    pub mod events;
    pub mod grants;
    pub mod keys;
    mod layout;
    pub mod matrix;
    mod out;
    pub mod progress;
    mod spool;
    pub mod style;
    pub mod summary;
    pub mod trials;
    pub mod usage;

    pub use self::error::CommandError;
    pub(crate) use self::error::mistake;
    pub use self::layout::{Table, cut};
    pub use self::out::{Lines, Out, has_colours};

    #[cfg(test)]
    #[path = "../tests/screens.rs"]
    pub mod tests;
}

use std::panic::{self, AssertUnwindSafe};
use std::{env, ffi::OsString, io, process::ExitCode};

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use runner_model::exit::Exit;
use runner_prepare::machine;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    command::Cli,
    commands::{fleet::flags::hide_password, help::completions},
    text::{CommandError, Out, keys, mistake, usage},
};

fn main() -> ExitCode {
    runner_worker::main_if_child();
    runner_engine::keep_continue_pending();
    hide_password();
    detach::keep_lock();
    // If this fails, each session tries it again and reports the failure.
    let _ = runner_engine::fail_large_writes();
    let arguments: Vec<OsString> = env::args_os().take(1).chain(detach::arguments()).collect();
    let arguments = args::join_fail_fast(&arguments);
    let out = Out::default();
    out.report_panics();
    if out.columns().is_some() {
        runner_model::use_local_zone();
    }
    runner_engine::before_forced_exit(keys::restore_terminal_for_exit);
    runner_report::report_unreadable(|text| Out::default().warn(text));
    let prepared = machine::prepare_process().map_err(CommandError::failed);
    if let Err(error) = prepared.and_then(|()| start_log()) {
        out.talk(error.text());
        return ExitCode::from(out.exit(error.exit()).code());
    }
    // The hook has printed the message of a panic.
    let exit = panic::catch_unwind(AssertUnwindSafe(|| run(&arguments, &out)));
    ExitCode::from(out.exit(exit.unwrap_or(Exit::Internal)).code())
}

/// Logs the decisions of sessions to standard error, down to the level of `RUNNER_LOG`.
fn start_log() -> Result<(), CommandError> {
    let Some(level) = env::var_os("RUNNER_LOG") else { return Ok(()) };
    let level = level.to_string_lossy();
    let level: LevelFilter = level.parse().map_err(|_| {
        mistake!("invalid level `RUNNER_LOG={level}`: use error, warn, info, debug, trace or off")
    })?;
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).finish();
    // The client of NATS logs its password.
    log.with(filter_fn(|about| !about.target().starts_with("async_nats"))).init();
    Ok(())
}

fn run(arguments: &[OsString], out: &Out) -> Exit {
    if let [_, command, _, words @ ..] = arguments
        && command == "__complete"
    {
        completions::complete(words, out);
        return Exit::Success;
    }
    // The help of clap's own `help` lists the commands without their groups.
    let arguments = match arguments {
        [start @ .., before, last] if before == "help" && last == "help" => {
            &[start, std::slice::from_ref(before)].concat()
        }
        _ => arguments,
    };
    let parsed = command::with_grouped_help(Cli::command())
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return print_usage(&error, arguments, out),
    };
    match cli.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    cli.command.run(out).unwrap_or_else(|error| {
        out.talk(error.text());
        error.exit()
    })
}

/// Prints the help or the version, or the reason why the arguments are wrong.
fn print_usage(error: &clap::Error, arguments: &[OsString], out: &Out) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            out.data(error.render().ansi().to_string().trim_end());
            if arguments.iter().any(|argument| argument == "--verbose") {
                out.data(&command::build_facts());
            }
            Exit::Success
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            out.talk(error.render().ansi().to_string().trim_end());
            Exit::Usage
        }
        _ => {
            let program = command::with_grouped_help(Cli::command());
            out.talk(CommandError::usage(usage::message(error, arguments, &program)).text());
            Exit::Usage
        }
    }
}
