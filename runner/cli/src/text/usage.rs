//! Messages about wrong arguments: the mistake that clap found, and the words to type instead.

use std::{error::Error as _, ffi::OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use runner_model::visible::visible_line;
use runner_scenario::{gone, similar};

/// Commands and flags of other tools, each with its counterpart here. For a flag, the line also names the flag that the command must
/// have.
const OTHER_TOOLS: &str = include_str!("other_tools.txt");

/// Returns the message about arguments that clap refused. `program` is built.
pub fn message(error: &Error, arguments: &[OsString], program: &Command) -> String {
    let usage = all(error, ContextKind::Usage).concat();
    let usage = usage.trim_start_matches("Usage: ");
    let names = usage.split(' ').take_while(|word| !word.starts_with(['[', '<', '-']));
    let mut names: Vec<_> = names.skip(1).collect();
    // An error about a value has no usage.
    if usage.is_empty() {
        names = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    }
    let mut command = program;
    let mut name = "runner".to_owned();
    for part in names {
        if let Some(inner) = command.find_subcommand(part) {
            (command, name) = (inner, format!("{name} {}", inner.get_name()));
        }
    }
    let arg = first(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(error, command, &name),
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            unknown_flag(error, program, command, &name)
        }
        ErrorKind::UnknownArgument => {
            let word = if arg.contains("://") { "ADDRESS" } else { &arg };
            let advice = gone(&name, word).map(|advice| format!("{advice}\n"));
            format!("unexpected argument `{arg}`\n{}usage: {usage}", advice.unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => {
            format!("{}\nusage: {usage}", missing_arguments(error, command, &name))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => invalid_value(error, &name),
        ErrorKind::TooManyValues => format!("`{}` takes no value", flag(&arg)),
        ErrorKind::ArgumentConflict => {
            let arg = flag(&arg);
            let other = first(error, ContextKind::PriorArg);
            match flag(&other) {
                other if other == arg => {
                    let advice =
                        gone(&name, &format!("{arg} A {arg} B")).map(|text| format!("\n{text}"));
                    format!("`{arg}` can be used only once{}", advice.unwrap_or_default())
                }
                other => format!("`{arg}` cannot be used with `{other}`"),
            }
        }
        _ => {
            let text = error.render().to_string();
            let text = text.trim_start_matches("error: ").split("\n\n").next();
            visible_line(&text.unwrap_or_default().replace('\'', "`")).into_owned()
        }
    }
}

fn unknown_command(error: &Error, command: &Command, name: &str) -> String {
    let given = first(error, ContextKind::InvalidSubcommand);
    let other = counterparts(&given).next().map(|other| other.replace("COMMAND", &given));
    let names = command.get_subcommands().map(Command::get_name);
    let tip = match (gone(name, &given), other, similar(&given, names)) {
        (Some(advice), ..) => format!("{advice}\n"),
        (None, Some(other), _) => format!("use instead: {other}\n"),
        (None, None, Some(similar)) => format!("did you mean `{name} {similar}`?\n"),
        (None, None, None) => String::new(),
    };
    format!("`{name}` has no command `{given}`\n{tip}all commands: {}", help(name))
}

fn unknown_flag(error: &Error, program: &Command, command: &Command, name: &str) -> String {
    let given = first(error, ContextKind::InvalidArg);
    let word = given.trim_start_matches('-');
    let mut others = counterparts(&given).filter_map(|other| other.split_once(": "));
    let other = others.find(|(flag, _)| flags(command).any(|known| known == *flag));
    let owners = program.get_subcommands().filter(|owner| flags(owner).any(|known| known == word));
    let owners: Vec<_> = owners.map(|owner| format!("`runner {}`", owner.get_name())).collect();
    let tip = match (gone(name, &given), other, similar(word, flags(command))) {
        (Some(advice), ..) => format!("{advice}\n"),
        (None, Some((_, other)), _) => format!("use instead: {other}\n"),
        _ if name == "runner" && !owners.is_empty() => {
            format!("write it after the command, such as: runner COMMAND {given}\n")
        }
        _ if (1..=4).contains(&owners.len()) => format!("it is a flag of {}\n", owners.join(", ")),
        (.., Some(similar)) => format!("did you mean `--{similar}`?\n"),
        _ => String::new(),
    };
    format!("`{name}` has no flag `{given}`\n{tip}all flags: {}", help(name))
}

/// Returns the counterparts of a word of other tools.
fn counterparts(word: &str) -> impl Iterator<Item = &'static str> {
    let counterparts = OTHER_TOOLS.lines().filter_map(|line| line.split_once(": "));
    let named = counterparts.filter(move |(names, _)| names.split(' ').any(|name| name == word));
    named.map(|(_, other)| other)
}

fn flags(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(Arg::get_long)
}

fn missing_arguments(error: &Error, command: &Command, name: &str) -> String {
    let missing = all(error, ContextKind::InvalidArg);
    let args: Vec<_> =
        command.get_arguments().filter(|arg| missing.contains(&arg.to_string())).collect();
    // A flag that another flag requires is not required by itself.
    let also = if args.iter().all(|arg| arg.is_required_set()) { "" } else { "also " };
    let args = args.iter().map(|arg| {
        let values = arg.get_possible_values();
        let values: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        match values[..] {
            [] => format!("`{arg}`"),
            _ => format!("`{arg}` (one of {})", values.join(", ")),
        }
    });
    let mut args: Vec<_> = args.collect();
    if args.is_empty() {
        args = missing.iter().map(|arg| format!("`{arg}`")).collect();
    }
    format!("`{name}` {also}needs {}", args.join(" and "))
}

fn invalid_value(error: &Error, name: &str) -> String {
    let arg = first(error, ContextKind::InvalidArg);
    let flag = flag(&arg);
    let value = first(error, ContextKind::InvalidValue);
    let values = all(error, ContextKind::ValidValue);
    if value.is_empty() && error.source().is_none() {
        return match values[..] {
            [] => format!("`{arg}` has no value"),
            _ => format!("`{arg}` has no value\nuse one of {}", values.join(", ")),
        };
    }
    let reason = error.source().map(ToString::to_string);
    let reason = reason.unwrap_or_else(|| format!("use one of {}", values.join(", ")));
    let words = if flag.starts_with('-') { format!("{flag} {value}") } else { value.clone() };
    let near = similar(&value, values.iter().map(String::as_str));
    let tip = match (gone(name, &words), near) {
        (Some(advice), _) => format!("\n{advice}"),
        (None, Some(near)) => format!("\ndid you mean `{near}`?"),
        (None, None) if flag == "--lang" => {
            "\nother languages have no template, but work if they compile to WASI".to_owned()
        }
        (None, None) => String::new(),
    };
    format!("invalid value `{value}` for `{flag}`: {reason}{tip}")
}

/// Returns `--jobs` of `--jobs <N>`.
fn flag(arg: &str) -> &str {
    arg.split([' ', '[']).next().filter(|flag| !flag.is_empty()).unwrap_or(arg)
}

/// Returns the command that prints the help of the command `name`.
fn help(name: &str) -> String {
    name.replacen("runner", "runner help", 1)
}

fn first(error: &Error, kind: ContextKind) -> String {
    all(error, kind).into_iter().next().unwrap_or_default()
}

/// Returns the texts that clap attached, each visible on one line.
fn all(error: &Error, kind: ContextKind) -> Vec<String> {
    let visible = |text: &String| visible_line(text).into_owned();
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![visible(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(visible).collect(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        _ => Vec::new(),
    }
}
