//! Words of the program: messages about arguments, helps, widths of lines, and the style of all texts.

mod arguments;
mod habits;
pub(crate) mod outputs;
mod requests;
pub(crate) mod transcript;
mod widths;

use crate::support::runner::Runner;

/// Returns all commands with a help, such as `plugin run`.
fn commands(runner: &Runner) -> Vec<String> {
    let names = |of: &str| {
        let help = runner.run(&[of.split(' ').collect(), vec!["--help"]].concat()).expect(0).stdout;
        let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned);
        let names = lines.filter_map(|line| {
            let (name, about) = line.split_once("  ")?;
            let is_name = name.chars().all(|letter| letter.is_ascii_lowercase());
            (is_name && !about.trim().is_empty() && !name.is_empty()).then(|| name.to_owned())
        });
        names.collect::<Vec<_>>()
    };
    let help = runner.run(&["help"]).expect(0).stdout;
    let mut commands: Vec<_> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && !name.starts_with('-') && *name != "help")
        .map(str::to_owned)
        .collect();
    commands.extend(names("plugin").into_iter().map(|name| format!("plugin {name}")));
    assert!(commands.len() > 20, "{commands:?}");
    commands
}
