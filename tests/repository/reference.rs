//! The tables of the reference that are made of the program's own definitions, and lists that have to be complete.
//!
//! `UPDATE=1` writes the tables anew.

use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use regex::{Captures, Regex};
use runner::{cli::Cli, error::ExitStatus};

use crate::support::{fresh::expect_file, pages::read};

const COMMANDS: &str = "docs/commands.md";

#[test]
fn the_page_of_commands_has_every_flag_of_every_command() {
    let commands = commands();
    let text = read(COMMANDS);
    for command in &commands {
        let heading = format!("\n## `{}`\n", name(command));
        assert!(text.contains(&heading), "{heading}");
        let link = format!("](#{})", name(command).replace(' ', "-"));
        assert!(text.contains(&link), "{link}");
    }
    let block = Regex::new(r"(?s)<!-- flags of `(.*?)` -->\n.*?<!-- /flags -->").unwrap();
    let mut written = Vec::new();
    let fresh = block.replace_all(&text, |found: &Captures| {
        let command = commands.iter().find(|command| name(command) == &found[1]);
        let command = command.unwrap_or_else(|| panic!("there is no `{}`", &found[1]));
        written.push(found[1].to_owned());
        format!(
            "<!-- flags of `{}` -->\n{}<!-- /flags -->",
            &found[1],
            flags(command)
        )
    });
    expect_file(Path::new(COMMANDS), &fresh);
    written.sort();
    let mut names: Vec<_> = commands.iter().map(name).collect();
    names.sort_unstable();
    assert_eq!(written, names, "each command has one table");
}

#[test]
fn the_page_of_outcomes_lists_the_exit_codes() {
    let page = read("docs/outcomes.md");
    let (_, section) = page.split_once("## Exit codes\n").unwrap();
    let code = Regex::new(r"(?m)^\| (\d+) \|").unwrap();
    let listed: Vec<u8> = code
        .captures_iter(section)
        .map(|found| found[1].parse().unwrap())
        .collect();
    assert_eq!(listed, ExitStatus::ALL.map(ExitStatus::code));
}

#[test]
fn the_page_of_commands_lists_every_variable_that_is_read() {
    let variable = Regex::new(r#""(RUNNER_[A-Z]+)""#).unwrap();
    let page = read(COMMANDS);
    let (_, section) = page.split_once("## Environment variables\n").unwrap();
    let sources = read("runner/program.rs") + &read("runner/cli/mod.rs");
    let mut count = 0;
    for found in variable.captures_iter(&sources) {
        assert!(
            section.contains(&format!("| `{}` |", &found[1])),
            "{}",
            &found[1]
        );
        count += 1;
    }
    assert!(count > 3);
}

/// The commands that have no subcommands.
fn commands() -> Vec<Command> {
    let mut program = Cli::command();
    program.build();
    leaves(&program)
}

fn leaves(command: &Command) -> Vec<Command> {
    let mut subcommands = command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help")
        .peekable();
    if subcommands.peek().is_none() {
        return vec![command.clone()];
    }
    // Some do something without a subcommand.
    let own = (!command.is_subcommand_required_set()).then(|| command.clone());
    own.into_iter()
        .chain(subcommands.flat_map(leaves))
        .collect()
}

/// The words that call a command, such as `runner plugin build`.
fn name(command: &Command) -> &str {
    command.get_bin_name().unwrap()
}

/// How a command is called, and a table of its arguments.
fn flags(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap();
    let mut text = format!("\n`{usage}`\n\n| argument | meaning |\n| --- | --- |\n");
    let (flags, operands): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .partition(|argument| argument.get_long().is_some());
    for argument in operands.into_iter().chain(flags) {
        let call = call(argument).replace('|', r"\|");
        text.push_str(&format!("| {call} | {} |\n", meaning(argument)));
    }
    text + "\n"
}

/// How an argument is written, such as `-j N`, `--jobs N`.
fn call(argument: &Arg) -> String {
    let value = value(argument);
    let Some(long) = argument.get_long() else {
        let is_many = matches!(argument.get_action(), ArgAction::Append);
        let dashes = if argument.is_last_set() { "-- " } else { "" };
        let more = if is_many { "…" } else { "" };
        return format!("`{dashes}{value}{more}`");
    };
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let is_optional = argument
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    let suffix = match takes_value {
        true if is_optional => format!("[={value}]"),
        true => format!(" {value}"),
        false => String::new(),
    };
    match argument.get_short() {
        Some(short) => format!("`-{short}{suffix}`, `--{long}{suffix}`"),
        None => format!("`--{long}{suffix}`"),
    }
}

/// What stands for an argument's value: its choices, if they are few and have no better name.
fn value(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let name = names.first().map_or_else(String::new, ToString::to_string);
    let choices: Vec<_> = argument
        .get_possible_values()
        .iter()
        .map(|choice| choice.get_name().to_owned())
        .collect();
    let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
    match choices.is_empty() || is_flag {
        true => name,
        false => choices.join("|"),
    }
}

/// What an argument is for: its help, and what holds without it.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().unwrap().to_string();
    let default = Regex::new(r" \[default: (.*)\]$").unwrap();
    let help = default.replace(&help, ". Default: $1");
    let mut meaning = format!("{help}.");
    let defaults = argument.get_default_values();
    if let [default] = defaults
        && argument.get_action().takes_values()
    {
        meaning.push_str(&format!(" Default: `{}`.", default.to_str().unwrap()));
    }
    if let Some(variable) = argument.get_env() {
        meaning.push_str(&format!(" Environment: `{}`.", variable.to_str().unwrap()));
    }
    meaning.replace('|', r"\|")
}
