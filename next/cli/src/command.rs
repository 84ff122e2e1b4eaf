//! The commands, their calls, and their help with groups and examples.

use std::env;

use clap::{Arg, ColorChoice, Parser, Subcommand};
use runner_model::exit::Exit;
use runner_record::RequestMode;

use crate::args::{RootArgs, RunArgs};
use crate::commands::help::{completions, manual, schema};
use crate::commands::results::{compare, history, merge, notify, queue};
use crate::commands::{control, exec, follow, init, list, plugin};
use crate::commands::{report, rescore, resume, serve, show, upkeep, validate};
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
    Exec(exec::Args),
    Resume(resume::Args),
    Rescore(rescore::Args),
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
    /// Check the files of a run for damage
    Verify(RunArgs),
    Cleanup(upkeep::CleanupArgs),
    Notify(notify::Args),
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
pub const GROUPS: [(&str, &[&str]); 7] = [
    ("Start", &["init", "validate"]),
    ("Run", &["exec", "resume", "rescore", "merge"]),
    ("Inspect", &["list", "show", "report", "compare", "history", "logs", "serve"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait", "queue", "label"]),
    ("Write providers", &["plugin"]),
    ("Maintain", &["verify", "cleanup", "notify", "prune", "pin", "unpin", "reindex"]),
    ("Help", &["help", "schema", "completions", "man"]),
];

/// The commands and their examples, which work in the folder of `runner init`.
const EXAMPLES: [(&str, &[&str]); 39] = [
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
    (
        "rescore",
        &["runner rescore --dry-run --explain", "runner rescore latest --scenario first.toml"],
    ),
    (
        "merge",
        &[
            "runner exec first.toml --shard 1/1 --into shards/1-of-1",
            "runner merge shards/1-of-1 --into results/whole",
        ],
    ),
    ("stop", &["runner stop --reason 'wrong scenario'", "runner stop latest --drain"]),
    ("cancel", &["runner cancel", "runner cancel latest --reason 'no longer needed'"]),
    ("pause", &["runner pause"]),
    ("unpause", &["runner unpause"]),
    ("label", &["runner label latest team=night", "runner label latest --remove team"]),
    ("wait", &["runner wait", "runner wait latest --timeout 30m"]),
    ("list", &["runner list --status passed", "runner list --scenario 'first*' --since 7d --json"]),
    (
        "show",
        &[
            "runner show",
            "runner show latest --failed",
            "runner show latest greeting",
            "runner show --matrix",
        ],
    ),
    ("history", &["runner history", "runner history first --since 7d --by day"]),
    ("report", &["runner report -o report.html", "runner report latest --junit -o junit.xml"]),
    ("logs", &["runner logs latest --tail 20", "runner logs --follow"]),
    ("serve", &["runner serve --scenarios . --open", "runner serve --link"]),
    ("compare", &["runner compare", "runner compare latest~1 --fail-on regressed"]),
    ("queue", &["runner exec first.toml --queue", "runner queue", "runner queue work --once"]),
    ("queue move", &["runner queue move 6ba42b73 --priority 5"]),
    ("queue remove", &["runner queue remove 6ba42b73"]),
    ("queue work", &["runner queue work", "runner queue work --once"]),
    ("verify", &["runner verify latest"]),
    ("cleanup", &["runner cleanup", "runner cleanup --yes"]),
    ("notify", &["runner notify --dry-run", "runner notify latest"]),
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
    (
        "plugin new",
        &[
            "runner plugin new shout --lang rust",
            "runner plugin new count --lang go --kind command",
        ],
    ),
    ("plugin build", &["runner plugin build shout"]),
    (
        "plugin inspect",
        &["runner plugin inspect bundled:echo", "runner plugin inspect bundled:units --json"],
    ),
    ("plugin doctor", &["runner plugin doctor", "runner plugin doctor shout"]),
    ("plugin run", &["runner plugin run bundled:echo --input '{\"text\": \"hello\"}'"]),
    ("schema", &["runner schema", "runner schema row > row.schema.json"]),
    ("completions", &["runner completions bash > runner.bash"]),
    ("man", &["runner man | man -l -", "runner man --dir man1"]),
];

/// Headings of flags in the help of `exec`, `resume` and `rescore`.
const HEADINGS: [(&str, &[&str]); 7] = [
    (
        "Selection",
        &[
            "test",
            "exclude",
            "provider",
            "tag",
            "last_failed",
            "filter",
            "failed_in",
            "shard",
            "from",
            "rerun",
            "accept_changes",
            "force",
            "scenario",
            "no_graders",
        ],
    ),
    ("Output", &["dry_run", "explain", "json", "quiet", "verbose", "no_ci", "scheduler_exit"]),
    (
        "Settings of the run",
        &[
            "repeat",
            "retries",
            "seed",
            "limit",
            "set",
            "jobs",
            "timeout",
            "timeout_minutes",
            "fail_fast",
            "budget",
            "grace",
        ],
    ),
    ("Results", &["into", "results", "label", "report", "junit"]),
    ("Background and other runs", &["detach", "exclusive", "wait", "queue", "priority", "preempt"]),
    ("Plugins and secrets", &["build", "secret_file"]),
    ("Options", &["color", "help"]),
];

impl Command {
    pub fn run(&self, out: &Out) -> Result<Exit, CommandError> {
        match self {
            Self::Init(args) => init::run(args, out),
            Self::Exec(args) => exec::run(args, out),
            Self::Resume(args) => resume::run(args, out),
            Self::Rescore(args) => rescore::run(args, out),
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
            Self::Verify(args) => upkeep::verify(args, out),
            Self::Cleanup(args) => upkeep::cleanup(args, out),
            Self::Notify(args) => notify::run(args, out),
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
    // Otherwise `--jobs -1` is reported as an unknown flag, not as a wrong value.
    let allow_negative = |arg: Arg| {
        let takes_values = arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    let program = program.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let inner = |inner: clap::Command| {
            let name = format!("{name} {}", inner.get_name());
            with_examples(&name, inner)
        };
        with_examples(&name, command.mut_subcommands(inner).mut_args(allow_negative))
    });
    with_headings(program.help_template(text))
}

/// Returns the program, built, with headings in the help of commands with many flags.
pub fn with_headings(mut program: clap::Command) -> clap::Command {
    // Gives `--color` and `--help` to each command.
    program.build();
    for name in ["exec", "resume", "rescore"] {
        program = program.mut_subcommand(name, |command| command.mut_args(with_heading));
    }
    program
}

/// Adds notes and examples after the flags.
fn with_examples(name: &str, command: clap::Command) -> clap::Command {
    let examples = examples(name)
        .map(|examples| format!("{}\n  {}", style::bold("Examples:"), examples.join("\n  ")));
    let parts: Vec<_> = notes(&command).into_iter().chain(examples).collect();
    let command = command.long_about(None::<&str>);
    if parts.is_empty() { command } else { command.after_help(parts.join("\n\n")) }
}

/// Returns the examples of a command such as `plugin run`.
pub fn examples(name: &str) -> Option<&'static [&'static str]> {
    EXAMPLES.iter().find(|(known, _)| *known == name).map(|(_, examples)| *examples)
}

/// Returns the paragraphs about a command after its first line.
pub fn notes(command: &clap::Command) -> Option<String> {
    let long = command.get_long_about().map(ToString::to_string);
    let rest = long.and_then(|long| Some(long.split_once("\n\n")?.1.to_owned()));
    rest.or_else(|| command.get_after_help().map(ToString::to_string))
}

fn with_heading(arg: Arg) -> Arg {
    let id = arg.get_id().as_str();
    let found = HEADINGS.iter().find(|(_, ids)| ids.contains(&id) && !arg.is_positional());
    match found {
        Some((heading, _)) => arg.help_heading(*heading),
        None => arg,
    }
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
