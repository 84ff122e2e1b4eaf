//! `runner man`: the help of all commands as manual pages.

use std::path::{Path, PathBuf};
use std::{fs, io, iter};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use runner_model::visible::{shown_path, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_scenario::gone;

use crate::command::{Cli, GROUPS, HELP, examples, notes, with_headings};
use crate::text::{CommandError, Out, mistake};

/// The sections about exit codes and environment variables.
const END: &str = include_str!("manual.roff");

/// Print the manual page of a command, or write all pages
#[derive(clap::Args)]
pub struct ManArgs {
    /// The command, such as `plugin new`
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder, which is created
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub fn run(args: &ManArgs, out: &Out) -> Result<Exit, CommandError> {
    let help = Command::new("help").about(HELP).arg(clap::arg!([COMMAND]... "The command"));
    let program = with_headings(Cli::command().disable_help_subcommand(true).subcommand(help));
    let Some(folder) = &args.dir else {
        let mut command = &program;
        for name in &args.command {
            command = command.find_subcommand(name).ok_or_else(|| {
                let advice = gone("runner man", "DIR").unwrap_or_default();
                let name = visible_line(name);
                mistake!("there is no command `{name}`\n{advice}\nall commands: runner help")
            })?;
        }
        out.bytes(&page(command).map_err(CommandError::failed)?);
        return Ok(Exit::Success);
    };
    let written = fs::create_dir_all(folder).and_then(|()| write(&program, folder));
    let pages = written.map_err(|error| CommandError::cannot_write(folder, &error))?;
    let pages = plural(pages, "page", "pages");
    out.talk(&format!("wrote {pages} into {}", shown_path(folder)));
    Ok(Exit::Success)
}

/// Writes the pages of a command and of the commands in it. Returns their number.
fn write(command: &Command, folder: &Path) -> io::Result<u64> {
    let name = Man::new(command.clone()).get_filename();
    fs::write(folder.join(name), page(command)?)?;
    command.get_subcommands().try_fold(1, |pages, inner| Ok(pages + write(inner, folder)?))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let name = command.get_bin_name().unwrap_or_default().trim_start_matches("runner ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = format!("{about}.\n\n{}", notes(command).unwrap_or_default());
    let plain = command.clone().override_usage(usage(command)).mut_args(|arg| {
        let heading = if arg.is_positional() { "Arguments" } else { "Options" };
        if arg.get_help_heading().is_some() { arg } else { arg.help_heading(heading) }
    });
    let plain = plain.long_about(long).after_help(None::<&str>);
    let mut page = Vec::new();
    Man::new(plain).source(concat!("runner ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    let mut end = String::new();
    let examples: Vec<_> = examples(name).collect();
    if !examples.is_empty() {
        end += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(&examples.join("\n")));
    }
    end += END;
    let related = related(name).join(", ");
    if !related.is_empty() {
        end += &format!(".SH \"SEE ALSO\"\n{}\n", escaped(&related));
    }
    page.extend(end.into_bytes());
    Ok(page)
}

/// Returns the synopsis of a command, with the values of its flags.
fn usage(command: &Command) -> String {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let (positionals, flags): (Vec<_>, Vec<_>) = args.partition(|arg| arg.is_positional());
    let is_required = command.is_subcommand_required_set();
    let inner = if is_required { "<COMMAND>" } else { "[COMMAND]" };
    let inner = command.has_subcommands().then(|| inner.to_owned());
    let words = flags.into_iter().chain(positionals).map(|arg| {
        let is_plain = arg.is_positional() || arg.is_required_set();
        if is_plain { arg.to_string() } else { format!("[{arg}]") }
    });
    let words = words.chain(inner);
    let name = command.get_bin_name().unwrap_or_default().to_owned();
    iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// Returns the pages of the commands above and next to a command.
fn related(name: &str) -> Vec<String> {
    let page = |name: &str| format!("{name}(1)").replace(' ', "-");
    if let Some((above, _)) = name.rsplit_once(' ') {
        return vec![page(&format!("runner {above}"))];
    }
    let group = GROUPS.iter().find(|(_, names)| names.contains(&name));
    let others = group.into_iter().flat_map(|(_, names)| *names).filter(|other| **other != name);
    let above = group.map(|_| page("runner"));
    above.into_iter().chain(others.map(|other| page(&format!("runner {other}")))).collect()
}

/// Escapes text for roff. No line may start with `.` or `'`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\(rs").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga")
}
