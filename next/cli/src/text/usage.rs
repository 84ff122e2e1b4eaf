//! Messages about wrong arguments: the mistake that clap found, and the words to type instead.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use runner_model::visible::visible_line;
use runner_scenario::similar;

/// Commands of other tools, each with the command to use here.
const COMMANDS: [(&[&str], &str); 16] = [
    (&["jobs", "ls", "ps", "runs", "status"], "runner list"),
    (&["get", "info", "view"], "runner show RUN"),
    (&["export", "html", "junit", "results", "summary"], "runner report RUN"),
    (&["diff"], "runner compare BASE NEW"),
    (&["flaky", "stats", "trend", "trends"], "runner history SCENARIO"),
    (&["grade", "judge", "regrade", "score"], "runner rescore RUN"),
    (&["shard"], "runner exec SCENARIO --shard I/N"),
    (&["go", "start", "test"], "runner exec SCENARIO"),
    (&["check", "lint"], "runner validate SCENARIO"),
    (&["build", "doctor", "inspect", "new"], "runner plugin COMMAND"),
    (&["continue", "rerun", "restart", "retry"], "runner resume RUN --rerun failed"),
    (&["attach", "follow", "log", "tail", "watch"], "runner logs --follow"),
    (&["clean", "delete", "gc", "remove", "rm"], "runner prune"),
    (&["abort", "kill"], "runner stop"),
    (&["repair"], "runner cleanup"),
    (&["version"], "runner --version"),
];

/// Flags of other tools, each with the flag to use here if the command has it.
const FLAGS: [(&[&str], &str, &str); 23] = [
    (&["-k", "-t", "--filter", "--grep", "--match", "--only", "--tests"], "test", "--test GLOB"),
    (&["-k", "--grep", "--match", "--test", "--tests"], "filter", "--filter 'test(GLOB)'"),
    (&["--base", "--baseline"], "fail-on", "runner compare BASE NEW"),
    (&["--csv", "--html", "--markdown"], "report", "--report FILE"),
    (&["--ignore", "--skip", "--deselect"], "exclude", "--exclude GLOB"),
    (&["-m", "--group", "--marker", "--tags"], "tag", "--tag TAG"),
    (&["-p", "--model", "--models", "--providers"], "provider", "--provider GLOB"),
    (
        &["-x", "--bail", "--exitfirst", "--failfast", "--max-fail", "--maxfail"],
        "fail-fast",
        "--fail-fast",
    ),
    (&["--failed", "--ff", "--lf", "--rerun-failed"], "last-failed", "--last-failed"),
    (&["--failed"], "rerun", "--rerun failed"),
    (
        &["-n", "-w", "--concurrency", "--parallel", "--processes", "--threads", "--workers"],
        "jobs",
        "--jobs N",
    ),
    (&["--count", "--iterations", "--repeat-each", "--times"], "repeat", "--repeat N"),
    (&["-o", "--out", "--output", "--output-dir"], "results", "--results DIR"),
    (&["--list", "--collect-only", "--dry", "--no-run"], "dry-run", "--dry-run"),
    (&["--junit-xml", "--junitxml"], "junit", "--junit FILE"),
    (&["--format", "--reporter"], "report", "--report FILE"),
    (&["--format", "--reporter"], "json", "--json"),
    (&["--last"], "last-failed", "--last-failed"),
    (&["--count", "--last", "--max"], "limit", "--limit N"),
    (&["-n", "--lines"], "tail", "--tail N"),
    (&["--watch"], "last-failed", "--last-failed, after each change"),
    (&["-y", "--apply", "--delete", "--force"], "yes", "--yes"),
    (&["--colour", "--no-color", "--no-colour"], "color", "--color never"),
];

/// Returns the message about arguments that clap refused. `program` is built.
pub fn message(error: &Error, program: &Command) -> String {
    let usage = all(error, ContextKind::Usage).concat();
    let usage = usage.trim_start_matches("Usage: ");
    let names = usage.split(' ').take_while(|word| !word.starts_with(['[', '<', '-']));
    let (mut command, mut name) = (program, "runner".to_owned());
    for part in names.skip(1) {
        command = command.find_subcommand(part).unwrap_or(command);
        name = format!("{name} {part}");
    }
    let arg = first(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(error, command, &name),
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            unknown_flag(error, program, command, &name)
        }
        ErrorKind::UnknownArgument => format!("unexpected argument `{arg}`\nusage: {usage}"),
        ErrorKind::MissingRequiredArgument => {
            format!("{}\nusage: {usage}", missing_arguments(error, command, &name))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => invalid_value(error),
        ErrorKind::TooManyValues => format!("`{}` takes no value", flag(&arg)),
        ErrorKind::ArgumentConflict => {
            let (arg, other) = (flag(&arg), first(error, ContextKind::PriorArg));
            match flag(&other) {
                other if other == arg => format!("`{arg}` can be used only once"),
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
    let other = COMMANDS.iter().find(|(names, _)| names.contains(&&*given));
    let other = other.map(|(_, other)| other.replace("COMMAND", &given));
    let names = command.get_subcommands().map(Command::get_name);
    let tip = match (other, similar(&given, names)) {
        (Some(other), _) => format!("use instead: {other}\n"),
        (None, Some(similar)) => format!("did you mean `{name} {similar}`?\n"),
        (None, None) => String::new(),
    };
    format!("`{name}` has no command `{given}`\n{tip}all commands: {}", help(name))
}

fn unknown_flag(error: &Error, program: &Command, command: &Command, name: &str) -> String {
    let given = first(error, ContextKind::InvalidArg);
    let has = |command: &Command, flag: &str| flags(command).any(|known| known == flag);
    let word = given.trim_start_matches('-');
    let mut other = FLAGS.iter();
    let other = other.find(|(names, flag, _)| names.contains(&&*given) && has(command, flag));
    let owners = program.get_subcommands().filter(|owner| has(owner, word));
    let owners: Vec<_> = owners.map(|owner| format!("`runner {}`", owner.get_name())).collect();
    let tip = match (other, similar(word, flags(command))) {
        (Some((.., other)), _) => format!("use instead: {other}\n"),
        (None, _) if name == "runner" && !owners.is_empty() => {
            format!("write it after the command, such as: runner COMMAND {given}\n")
        }
        (None, _) if (1..=4).contains(&owners.len()) => {
            format!("it is a flag of {}\n", owners.join(", "))
        }
        (None, Some(similar)) => format!("did you mean `--{similar}`?\n"),
        (None, None) => String::new(),
    };
    format!("`{name}` has no flag `{given}`\n{tip}all flags: {}", help(name))
}

fn flags(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(Arg::get_long)
}

fn missing_arguments(error: &Error, command: &Command, name: &str) -> String {
    let missing = all(error, ContextKind::InvalidArg);
    let is_missing = |arg: &&Arg| missing.contains(&arg.to_string());
    let args: Vec<_> = command.get_arguments().filter(is_missing).collect();
    // A flag that another flag requires is not required by itself.
    let also = if args.iter().all(|arg| arg.is_required_set()) { "" } else { "also " };
    let with_values = |arg: &&Arg| {
        let values = arg.get_possible_values();
        let values: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        match values[..] {
            [] => format!("`{arg}`"),
            _ => format!("`{arg}` (one of {})", values.join(", ")),
        }
    };
    let mut args: Vec<_> = args.iter().map(with_values).collect();
    if args.is_empty() {
        args = missing.iter().map(|arg| format!("`{arg}`")).collect();
    }
    format!("`{name}` {also}needs {}", args.join(" and "))
}

fn invalid_value(error: &Error) -> String {
    let arg = first(error, ContextKind::InvalidArg);
    let (flag, value) = (flag(&arg), first(error, ContextKind::InvalidValue));
    let values = all(error, ContextKind::ValidValue);
    if value.is_empty() && error.source().is_none() {
        return match values[..] {
            [] => format!("`{arg}` has no value"),
            _ => format!("`{arg}` has no value\nuse one of {}", values.join(", ")),
        };
    }
    let reason = error.source().map(ToString::to_string);
    let reason = reason.unwrap_or_else(|| format!("use one of {}", values.join(", ")));
    let near = similar(&value, values.iter().map(String::as_str));
    let near = near.map(|near| format!("\ndid you mean `{near}`?")).or_else(|| {
        let other = "\nother languages have no template, but work if they compile to WASI";
        (flag == "--lang").then(|| other.to_owned())
    });
    let near = near.unwrap_or_default();
    format!("invalid value `{value}` for `{flag}`: {reason}{near}")
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
