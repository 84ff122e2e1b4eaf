//! One file a command: its arguments, its call, and the text of its document.

pub mod control;
pub mod exec;
pub mod follow;
pub mod group;
pub mod init;
pub mod list;
pub mod plugin;
pub mod resume;
pub mod show;
pub mod upkeep;
pub mod validate;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use clap::{Arg, Command};

use crate::text::style;

/// The commands as the help groups them. A command that is missing here would be missing in the help.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Begin", &["init", "validate"]),
    ("Write providers", &["plugin"]),
    ("Run", &["exec", "resume"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait"]),
    ("Look", &["list", "show", "logs"]),
    ("Keep", &["verify", "cleanup", "prune", "pin", "unpin", "reindex"]),
];

/// Gives the program a help with its commands in groups, which clap does not have.
pub fn grouped(command: Command) -> Command {
    let mut text = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        text += &format!("\n{}\n", style::bold(&format!("{title}:")));
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text += &format!("  {name:10}{about}\n");
        }
    }
    text += &format!("\n{}\n{{options}}\n", style::bold("Options:"));
    text += "\n`runner COMMAND --help` has a command's arguments.";
    // A number below 0 is a wrong value, and no flag.
    let numbers = |arg: Arg| match arg.get_action().takes_values() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    command.help_template(text).mut_subcommands(|command| command.mut_args(numbers))
}

/// Writes a file that is not there yet, and makes its folder.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::File::create_new(path)?.write_all(content)
}
