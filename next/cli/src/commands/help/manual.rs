//! `runner man`: the help of all commands as manual pages.

use std::path::{Path, PathBuf};
use std::{fs, io, iter};

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use runner_model::visible::{shown_path, visible_line};
use runner_model::{exit::Exit, units::plural};

use crate::command::{Cli, GROUPS, HELP, examples, notes, with_headings};
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

/// The environment variables of the program.
const ENVIRONMENT: [(&str, &str); 15] = [
    ("RUNNER_RESULTS", "The results root. `--results` takes precedence."),
    ("RUNNER_RUN", "The run for commands about a run. A run on the command line takes precedence."),
    ("RUNNER_CACHE", "The folder of compiled plugins."),
    (
        "RUNNER_TRUST_ROOT",
        "A results root whose settings and runs are used although other users can write to it.",
    ),
    ("RUNNER_LOG", "The level of a session's log: error, warn, info, debug, trace or off."),
    ("GITHUB_ACTIONS", "true if GitHub runs the command."),
    ("GITLAB_CI", "true if GitLab runs the command."),
    ("BUILDKITE", "true if Buildkite runs the command."),
    ("TMPDIR", "The folder for temporary files. The default is /tmp."),
    ("XDG_CACHE_HOME", "The user's cache directory. The default is ~/.cache."),
    ("SSL_CERT_FILE", "A file with the certificates that providers with a network trust."),
    ("SSL_CERT_DIR", "A folder with such files."),
    ("NO_COLOR", "Turns colours off."),
    ("CLICOLOR_FORCE", "Turns colours on, also outside of terminals."),
    ("COLUMNS", "The width of a terminal that does not report it."),
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
    let with_heading = |arg: Arg| {
        let heading = if arg.is_positional() { "Arguments" } else { "Options" };
        if arg.get_help_heading().is_some() { arg } else { arg.help_heading(heading) }
    };
    let plain = command.clone().override_usage(usage(command)).mut_args(with_heading);
    let plain = plain.long_about(long).after_help(None::<&str>);
    let mut page = Vec::new();
    Man::new(plain).source(concat!("runner ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    let mut end = String::new();
    if let Some(examples) = examples(name) {
        end += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(&examples.join("\n")));
    }
    for (title, rows) in [("EXIT STATUS", &EXIT_STATUS[..]), ("ENVIRONMENT", &ENVIRONMENT)] {
        end += &format!(".SH \"{title}\"\n");
        for (key, meaning) in rows {
            end += &format!(".TP\n\\fB{key}\\fR\n{}\n", escaped(meaning));
        }
    }
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
    let word = |arg: &Arg| {
        let is_plain = arg.is_positional() || arg.is_required_set();
        if is_plain { arg.to_string() } else { format!("[{arg}]") }
    };
    let inner = command.has_subcommands().then(|| "<COMMAND>".to_owned());
    let words = flags.into_iter().chain(positionals).map(word).chain(inner);
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
