//! The commands, their calls, and their help with groups and examples.

use std::env;

use clap::{Arg, ColorChoice, Parser, Subcommand};
use runner_model::exit::Exit;
use runner_record::RequestMode;

use crate::args::{RootArgs, RunArgs};
use crate::commands::fleet::{broker, worker};
use crate::commands::help::{completions, manual, schema};
use crate::commands::results::{accept, compare, history, known, merge};
use crate::commands::root::{notify, queue, trust, upkeep};
use crate::commands::{control, exec, follow, init, list, plugin};
use crate::commands::{report, rescore, resume, serve, show, validate};
use crate::text::{CommandError, Out, style};

/// The version of wasmtime in `Cargo.lock`, which wasmtime does not export.
const WASMTIME: &str = "48.0.8";
/// About `runner help`, which clap adds.
pub const HELP: &str = "Print the help of a command";

/// Runs tests of TOML scenarios on sandboxed WASM providers
#[derive(Parser)]
#[command(name = "runner", bin_name = "runner", version)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Use colours: auto, always or never [default: auto]
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", display_order = 900)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub color: ColorChoice,
}

#[derive(Subcommand)]
pub enum Command {
    Init(init::Args),
    #[command(alias = "run")]
    Exec(Box<exec::Args>),
    Resume(resume::Args),
    Rescore(rescore::Args),
    Accept(accept::Args),
    Known(known::Args),
    Merge(merge::Args),
    Validate(validate::Args),
    List(list::Args),
    Show(show::Args),
    Report(report::Args),
    History(history::Args),
    Wait(follow::WaitArgs),
    Logs(follow::LogsArgs),
    Serve(serve::Args),
    Compare(compare::Args),
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
    Label(control::LabelArgs),
    Queue(queue::Args),
    Worker(worker::Args),
    /// Check the NATS server that connects workers
    #[command(subcommand, disable_help_subcommand = true)]
    Broker(broker::BrokerCommand),
    /// Check the files of a run for damage
    Verify(RunArgs),
    Cleanup(upkeep::CleanupArgs),
    Notify(notify::Args),
    Trust(trust::Args),
    Prune(upkeep::PruneArgs),
    Pin(upkeep::PinArgs),
    Unpin(upkeep::UnpinArgs),
    /// Rebuild `runner.db`, the index of the runs
    Reindex(RootArgs),
    /// Write, build and try plugins
    #[command(subcommand, disable_help_subcommand = true)]
    Plugin(PluginCommand),
    Schema(schema::Args),
    Completions(completions::CompletionsArgs),
    Man(manual::ManArgs),
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
pub const GROUPS: [(&str, &[&str]); 8] = [
    ("Start", &["init", "validate"]),
    ("Run", &["exec", "resume", "rescore", "accept", "known", "merge"]),
    ("Inspect", &["list", "show", "report", "compare", "history", "logs", "serve"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait", "queue", "label"]),
    ("Use several machines", &["worker", "broker"]),
    ("Write providers", &["plugin"]),
    ("Maintain", &["verify", "cleanup", "notify", "trust", "prune", "pin", "unpin", "reindex"]),
    ("Help", &["help", "schema", "completions", "man"]),
];

/// Names of commands, each before its examples, which work in the folder of `runner init`.
const EXAMPLES: &str = include_str!("commands/help/examples.txt");

impl Command {
    pub fn run(&self, out: &Out) -> Result<Exit, CommandError> {
        match self {
            Self::Init(args) => init::run(args, out),
            Self::Exec(args) => exec::run(args, out),
            Self::Resume(args) => resume::run(args, out),
            Self::Rescore(args) => rescore::run(args, out),
            Self::Accept(args) => accept::run(args, out),
            Self::Known(args) => known::run(args, out),
            Self::Merge(args) => merge::run(args, out),
            Self::Validate(args) => validate::run(args, out),
            Self::List(args) => list::run(args, out),
            Self::Show(args) => show::run(args, out),
            Self::Report(args) => report::run(args, out),
            Self::History(args) => history::run(args, out),
            Self::Wait(args) => follow::wait(args, out),
            Self::Logs(args) => follow::logs(args, out),
            Self::Serve(args) => serve::run(args, out),
            Self::Compare(args) => compare::run(args, out),
            Self::Stop(args) => control::stop(args, out),
            Self::Cancel(args) => control::request(args, RequestMode::Cancel, out),
            Self::Pause(args) => control::request(args, RequestMode::Pause, out),
            Self::Unpause(args) => control::unpause(args, out),
            Self::Label(args) => control::label(args, out),
            Self::Queue(args) => queue::run(args, out),
            Self::Worker(args) => worker::run(args, out),
            Self::Broker(command) => broker::run(command, out),
            Self::Verify(args) => upkeep::verify(args, out),
            Self::Cleanup(args) => upkeep::cleanup(args, out),
            Self::Notify(args) => notify::run(args, out),
            Self::Trust(args) => trust::run(args, out),
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
            Self::Schema(args) => schema::run(args, out),
            Self::Completions(args) => completions::run(args, out),
            Self::Man(args) => manual::run(args, out),
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
            let about = about.map_or_else(|| HELP.to_owned(), ToString::to_string);
            text += &format!("  {name:13}{about}\n");
        }
    }
    text += &format!("\n{}\n{{options}}\n", style::bold("Options:"));
    text += "\n`runner help COMMAND` prints a command's arguments and examples.";
    let program = program.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let command = command
            .mut_subcommands(|inner| with_examples(&format!("{name} {}", inner.get_name()), inner));
        with_examples(&name, command.mut_args(allow_negative))
    });
    with_headings(program.help_template(text))
}

/// Returns the built command line. Flags without a heading get one, because clap would list them before all others.
pub fn with_headings(mut program: clap::Command) -> clap::Command {
    // Gives `--color` and `--help` to each command.
    program.build();
    program.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let is_complete = arg.is_positional() || arg.get_help_heading().is_some();
            if is_complete { arg } else { arg.help_heading("Options") }
        })
    })
}

/// Adds notes and examples after the flags.
fn with_examples(name: &str, command: clap::Command) -> clap::Command {
    let examples: Vec<_> = examples(name).collect();
    let examples = (!examples.is_empty())
        .then(|| format!("{}\n  {}", style::bold("Examples:"), examples.join("\n  ")));
    let parts: Vec<_> = notes(&command).into_iter().chain(examples).collect();
    let command = command.long_about(None::<&str>);
    if parts.is_empty() { command } else { command.after_help(parts.join("\n\n")) }
}

/// Returns the examples of a command such as `plugin run`.
pub fn examples(name: &str) -> impl Iterator<Item = &'static str> {
    let lines = EXAMPLES.lines().skip_while(move |line| *line != name).skip(1);
    lines.map_while(|line| line.strip_prefix("  "))
}

/// Returns the paragraphs about a command after its first line.
pub fn notes(command: &clap::Command) -> Option<String> {
    let long = command.get_long_about().map(ToString::to_string);
    let rest = long.and_then(|long| Some(long.split_once("\n\n")?.1.to_owned()));
    rest.or_else(|| command.get_after_help().map(ToString::to_string))
}

/// Returns the version's details for `--version --verbose`.
pub fn build_facts() -> String {
    format!(
        "commit: {}\nwasmtime: {WASMTIME}\ntarget: {}-{}\nsandbox of workers: {}",
        option_env!("RUNNER_COMMIT").unwrap_or("unknown"),
        env::consts::ARCH,
        env::consts::OS,
        // Compared with `wall` in a run's manifest, it shows whether the run had less than this machine offers.
        runner_worker::offered(),
    )
}

/// Lets `--jobs -1` be reported as a wrong value, not as an unknown flag.
fn allow_negative(arg: Arg) -> Arg {
    let takes_values = arg.get_action().takes_values();
    if takes_values { arg.allow_negative_numbers(true) } else { arg }
}
