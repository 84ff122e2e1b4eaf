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

use clap::Command;

/// The commands as the help groups them. A command that is missing here would be missing in the help.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Begin", &["init", "validate"]),
    ("Write providers", &["plugin"]),
    ("Run", &["exec", "resume"]),
    ("Control", &["stop", "cancel", "pause", "unpause", "wait"]),
    ("Look", &["list", "show", "logs"]),
    (
        "Keep",
        &["verify", "cleanup", "prune", "pin", "unpin", "reindex"],
    ),
];

/// Gives the program a help with its commands in groups, which clap does not have.
pub fn grouped(command: Command) -> Command {
    let mut text = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        text.push_str(&format!(
            "\n{}\n",
            crate::text::style::bold(&format!("{title}:"))
        ));
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {name:10}{about}\n"));
        }
    }
    text.push_str(&format!(
        "\n{}\n{{options}}\n",
        crate::text::style::bold("Options:")
    ));
    text.push_str("\n`runner COMMAND --help` has a command's arguments.");
    command.help_template(text)
}
