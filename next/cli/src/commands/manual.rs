//! `runner man`: the help of all commands as manual pages.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use runner_model::visible::{shown_path, visible_line};
use runner_model::{exit::Exit, units::plural};

use crate::command::{Cli, HELP, examples, notes, with_headings};
use crate::text::{CommandError, Out};

/// The exit codes of all commands.
const EXIT_STATUS: [(&str, &str); 13] = [
    ("0", "The run is completed and all trials passed, or the command succeeded."),
    ("1", "The run is completed and not all trials passed, or a check found problems."),
    (
        "2",
        "Wrong usage, an invalid scenario or plugin file, or an unknown run. Nothing was created.",
    ),
    ("3", "The run could not start as requested."),
    ("4", "The run is cancelled, or incomplete for a reason that has no code of its own."),
    ("5", "No test is selected."),
    ("6", "Another process holds the run or the results root, or did not respond in time."),
    ("7", "Results could not be stored, or output could not be written."),
    ("8", "Rows of the run are lost or changed."),
    ("70", "A bug of the runner."),
    ("129", "The run is incomplete, stopped by SIGHUP."),
    ("130", "The run is incomplete, stopped by SIGINT (Ctrl-C)."),
    ("143", "The run is incomplete, stopped by SIGTERM."),
];

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
                let name = visible_line(name);
                CommandError::usage(format!(
                    "there is no command `{name}`\nall commands: runner help"
                ))
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
    let plain = command.clone().long_about(long).after_help(None::<&str>);
    let mut page = Vec::new();
    Man::new(plain).source(concat!("runner ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    let mut end = String::new();
    if let Some(examples) = examples(name) {
        end += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(&examples.join("\n")));
    }
    end += ".SH \"EXIT STATUS\"\n";
    for (code, meaning) in EXIT_STATUS {
        end += &format!(".TP\n\\fB{code}\\fR\n{}\n", escaped(meaning));
    }
    page.extend(end.into_bytes());
    Ok(page)
}

/// Escapes text for roff. No line may start with `.` or `'`.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\(rs").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga")
}
