//! The commands, their calls, and the help that lists them in groups.

use clap::{Arg, ColorChoice, Parser, Subcommand};
use runner_model::exit::Exit;
use runner_record::RequestMode;

use crate::args::{RootArgs, RunArgs};
use crate::commands::{control, exec, follow, init, list, plugin, resume, show, upkeep, validate};
use crate::text::{CommandError, Out, style};

/// Runs tests of TOML scenarios on sandboxed WASM providers
#[derive(Parser)]
#[command(name = "runner", bin_name = "runner", version)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Use of colours; `NO_COLOR` and `CLICOLOR_FORCE` decide for `auto`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 900)]
    pub color: ColorChoice,
}

#[derive(Subcommand)]
pub enum Command {
    Init(init::Args),
    #[command(alias = "run")]
    Exec(exec::Args),
    Resume(resume::Args),
    Validate(validate::Args),
    List(list::Args),
    Show(show::Args),
    Wait(follow::WaitArgs),
    Logs(follow::LogsArgs),
    Stop(control::StopArgs),
    /// Stop a run for good; only `resume --force` continues it
    #[command(after_help = control::WITHOUT_RUN)]
    Cancel(control::RequestArgs),
    /// Pause a run
    #[command(after_help = control::WITHOUT_RUN)]
    Pause(control::RequestArgs),
    /// Continue a paused run
    #[command(after_help = control::WITHOUT_RUN)]
    Unpause(RunArgs),
    /// Check the files of a run for damage
    Verify(RunArgs),
    Cleanup(upkeep::CleanupArgs),
    Prune(upkeep::PruneArgs),
    Pin(upkeep::PinArgs),
    Unpin(upkeep::UnpinArgs),
    /// Rebuild `runner.db`, the index of the runs
    Reindex(RootArgs),
    /// Write, build and try plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
}

#[derive(Subcommand)]
pub enum PluginCommand {
    New(plugin::new::Args),
    Build(plugin::build::Args),
    Run(Box<plugin::run::Args>),
    Inspect(plugin::inspect::Args),
    Doctor(plugin::doctor::Args),
}

/// The groups of the help. Commands outside of these groups are not listed.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Start", &["init", "validate"]),
    ("Write providers", &["plugin"]),
    ("Run", &["exec", "resume"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait"]),
    ("Inspect", &["list", "show", "logs"]),
    ("Maintain", &["verify", "cleanup", "prune", "pin", "unpin", "reindex"]),
];

impl Command {
    pub fn run(&self, out: &Out) -> Result<Exit, CommandError> {
        match self {
            Self::Init(args) => init::run(args, out),
            Self::Exec(args) => exec::run(args, out),
            Self::Resume(args) => resume::run(args, out),
            Self::Validate(args) => validate::run(args, out),
            Self::List(args) => list::run(args, out),
            Self::Show(args) => show::run(args, out),
            Self::Wait(args) => follow::wait(args, out),
            Self::Logs(args) => follow::logs(args, out),
            Self::Stop(args) => control::stop(args, out),
            Self::Cancel(args) => control::request(args, RequestMode::Cancel, out),
            Self::Pause(args) => control::request(args, RequestMode::Pause, out),
            Self::Unpause(args) => control::unpause(args, out),
            Self::Verify(args) => upkeep::verify(args, out),
            Self::Cleanup(args) => upkeep::cleanup(args, out),
            Self::Prune(args) => upkeep::prune(args, out),
            Self::Pin(args) => upkeep::pin(args, out),
            Self::Unpin(args) => upkeep::unpin(args, out),
            Self::Reindex(args) => upkeep::reindex(args, out),
            Self::Plugin(command) => match command {
                PluginCommand::New(args) => plugin::new::run(args, out),
                PluginCommand::Build(args) => plugin::build::run(args, out),
                PluginCommand::Run(args) => plugin::run::run(args, out),
                PluginCommand::Inspect(args) => plugin::inspect::run(args, out),
                PluginCommand::Doctor(args) => plugin::doctor::run(args, out),
            },
        }
    }
}

/// Returns the program with a help that lists commands in groups, which clap does not have.
pub fn with_grouped_help(program: clap::Command) -> clap::Command {
    let mut text = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        text += &format!("\n{}\n", style::bold(&format!("{title}:")));
        for name in names {
            let about = program.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text += &format!("  {name:10}{about}\n");
        }
    }
    text += &format!("\n{}\n{{options}}\n", style::bold("Options:"));
    text += "\n`runner COMMAND --help` prints a command's arguments.";
    // Otherwise `--jobs -1` is reported as an unknown flag, not as a wrong value.
    let allow_negative = |arg: Arg| {
        let takes_values = arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    program.help_template(text).mut_subcommands(|command| command.mut_args(allow_negative))
}
