//! The commands, their calls, and their help with groups and examples.

use std::env;

use clap::{Arg, ColorChoice, Parser, Subcommand};
use runner_model::exit::Exit;
use runner_record::RequestMode;

use crate::args::{RootArgs, RunArgs};
use crate::commands::{control, exec, follow, init, list, manual, plugin};
use crate::commands::{resume, show, upkeep, validate};
use crate::text::{CommandError, Out, style};

/// The version of wasmtime in `Cargo.lock`, which wasmtime does not export.
const WASMTIME: &str = "48.0.8";
/// About `runner help`, which clap adds.
const HELP: &str = "Print the help of a command";

/// Runs tests of TOML scenarios on sandboxed WASM providers
#[derive(Parser)]
#[command(name = "runner", bin_name = "runner", version)]
#[command(arg_required_else_help = true)]
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
    #[command(subcommand, disable_help_subcommand = true)]
    Plugin(PluginCommand),
    Completions(manual::CompletionsArgs),
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
const GROUPS: [(&str, &[&str]); 7] = [
    ("Start", &["init", "validate"]),
    ("Write providers", &["plugin"]),
    ("Run", &["exec", "resume"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait"]),
    ("Inspect", &["list", "show", "logs"]),
    ("Maintain", &["verify", "cleanup", "prune", "pin", "unpin", "reindex"]),
    ("Help", &["help", "completions", "man"]),
];

/// The commands and their examples, which work in the folder of `runner init`.
const EXAMPLES: [(&str, &[&str]); 22] = [
    ("init", &["runner init", "runner init examples/first"]),
    ("validate", &["runner validate first.toml"]),
    (
        "exec",
        &[
            "runner exec first.toml",
            "runner exec first.toml --test 'greet*' --provider echo --verbose",
            "runner exec first.toml --jobs 2 --fail-fast 3 --label team=night",
        ],
    ),
    ("resume", &["runner resume", "runner resume latest --rerun all --dry-run"]),
    ("stop", &["runner stop --reason 'wrong scenario'", "runner stop latest --drain"]),
    ("cancel", &["runner cancel", "runner cancel latest --reason 'no longer needed'"]),
    ("pause", &["runner pause"]),
    ("unpause", &["runner unpause"]),
    ("wait", &["runner wait", "runner wait latest --timeout 30m"]),
    ("list", &["runner list --status passed", "runner list --scenario 'first*' --since 7d --json"]),
    ("show", &["runner show", "runner show latest --failed", "runner show latest greeting"]),
    ("logs", &["runner logs latest --tail 20", "runner logs --follow"]),
    ("verify", &["runner verify latest"]),
    ("cleanup", &["runner cleanup", "runner cleanup --yes"]),
    ("prune", &["runner prune --keep-last 100", "runner prune --older-than 30d --yes"]),
    ("pin", &["runner pin latest --reason baseline"]),
    ("unpin", &["runner unpin latest"]),
    ("reindex", &["runner reindex"]),
    (
        "plugin",
        &[
            "runner plugin new shout --lang rust",
            "runner plugin run bundled:echo --input '\"hello\"'",
            "runner plugin doctor",
        ],
    ),
    ("plugin run", &["runner plugin run bundled:echo --input '{\"text\": \"hello\"}'"]),
    ("completions", &["runner completions bash > runner.bash"]),
    ("man", &["runner man | man -l -", "runner man man1"]),
];

/// Headings of flags in the help of commands with many flags.
const HEADINGS: [(&str, &[&str]); 5] = [
    ("Selection", &["test", "exclude", "provider", "tag", "last_failed", "rerun"]),
    (
        "In place of the scenario's values",
        &["repeat", "retries", "seed", "limit", "jobs", "grace", "budget", "fail_fast"],
    ),
    ("Time and other runs", &["timeout", "timeout_minutes", "detach", "exclusive", "wait"]),
    ("Results", &["into", "results", "label"]),
    ("Output", &["json", "quiet", "verbose", "dry_run", "explain"]),
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
            Self::Completions(args) => manual::completions(args, out),
            Self::Man(args) => manual::man(args, out),
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
    // Otherwise `--jobs -1` is reported as an unknown flag, not as a wrong value.
    let allow_negative = |arg: Arg| {
        let takes_values = arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    let program = with_examples(program).help_template(text);
    program.mut_subcommands(|command| command.mut_args(allow_negative))
}

/// Returns the program with examples and headings in the help of its commands.
pub fn with_examples(program: clap::Command) -> clap::Command {
    program.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let command = command.mut_subcommands(|inner| {
            let name = format!("{name} {}", inner.get_name());
            with_examples_of(&name, inner)
        });
        let command = if ["exec", "resume"].contains(&&*name) {
            command.mut_args(with_heading)
        } else {
            command
        };
        with_examples_of(&name, command)
    })
}

fn with_examples_of(name: &str, command: clap::Command) -> clap::Command {
    let Some((_, examples)) = EXAMPLES.iter().find(|(known, _)| *known == name) else {
        return command;
    };
    let text = format!("{}\n  {}", style::bold("Examples:"), examples.join("\n  "));
    let text = match command.get_after_help() {
        Some(notes) => format!("{notes}\n\n{text}"),
        None => text,
    };
    command.after_help(text)
}

fn with_heading(arg: Arg) -> Arg {
    let id = arg.get_id().as_str();
    let found = HEADINGS.iter().find(|(_, ids)| ids.contains(&id));
    match found {
        Some((heading, _)) => arg.help_heading(*heading),
        None => arg,
    }
}

/// Returns the version's details for `--version --verbose`.
pub fn build_facts() -> String {
    format!(
        "commit: {}\nwasmtime: {WASMTIME}\ntarget: {}-{}\nsecond wall: {}",
        option_env!("RUNNER_COMMIT").unwrap_or("unknown"),
        env::consts::ARCH,
        env::consts::OS,
        // Compared with the wall in a run's manifest, it shows whether the run had less than this machine offers.
        runner_worker::offered(),
    )
}
