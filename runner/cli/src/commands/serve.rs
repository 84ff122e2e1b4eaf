//! `runner serve`: the pages and the HTTP API of a results root.

use std::process::{Command, Stdio};
use std::{io, io::Write as _, path::PathBuf, thread, time::Duration};

use runner_model::visible::{shown_path, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_operations::settings::Settings;
use runner_record::ResultsRoot;
use runner_scenario::Notify;
use runner_serve::{BoundServer, Listen, ServeSettings, links};

use crate::text::{CommandError, Out, mistake, style};
use crate::{args::RootArgs, commands::root::notify};

/// Time in which a browser must read the file of `--open`.
const OPEN_TIME: Duration = Duration::from_secs(60);

/// Show the runs in a browser, and answer programs over HTTP
///
/// Runs that the server starts keep running when it ends. With `--allow-host`, nothing can be changed without `--allow-writes`, and
/// browsers send the cookie of a login to all ports of that name.
#[derive(clap::Args)]
pub struct Args {
    /// Scenarios in this folder can be started; repeatable
    #[arg(long, value_name = "DIR")]
    scenarios: Vec<PathBuf>,
    /// Address and port, or `unix:PATH`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    listen: Listen,
    /// Refuse every change
    #[arg(long)]
    read_only: bool,
    /// File of the token for programs; it is created if it is missing
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Also answer to this name, for other machines; repeatable
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Allow changes also with `--allow-host`
    #[arg(long, requires = "allow_host")]
    allow_writes: bool,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
    /// Print a login link of the running server of this root
    #[arg(long, conflicts_with_all = ["scenarios", "read_only", "token_file", "allow_host", "open"])]
    link: bool,
    #[command(flatten)]
    root: RootArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let path = args.root.existing_path();
    if args.link {
        return print_links(args, out);
    }
    if args.root.results.is_some() && !path.is_dir() {
        let missing = shown_path(&path);
        return Err(mistake!(
            "`{missing}` is not a folder\n`--results` names it; create it, or leave the flag out to use `results`"
        ));
    }
    let root = ResultsRoot::existing(&path)?;
    let settings = Settings::read(&root)?;
    settings.ignored.iter().for_each(|why| out.warn(why));
    notify::warn(&settings.keys.notify, &Notify::default(), out);
    let settings = settings.keys.serve;
    let (scenarios, key) = if args.scenarios.is_empty() {
        let in_root = settings.scenarios.iter().map(|folder| path.join(folder));
        (in_root.collect(), "`scenarios` of `runner.toml`")
    } else {
        (args.scenarios.clone(), "`--scenarios`")
    };
    if let Some(missing) = scenarios.iter().find(|folder| !folder.is_dir()) {
        let missing = shown_path(missing);
        return Err(mistake!(
            "`{missing}` is not a folder\n{key} names it; create it, or name the folder of the scenarios"
        ));
    }
    let server = BoundServer::bind(ServeSettings {
        scenarios,
        listen: args.listen.clone(),
        is_read_only: args.read_only || settings.read_only,
        hosts: args.allow_host.clone(),
        allows_writes: args.allow_writes,
        token_file: args.token_file.clone(),
        root: path.clone(),
        changed_lines: runner_worker::changed_lines,
    })
    .map_err(CommandError::usage)?;
    let runs = plural(root.runs()?.runs.len() as u64, "run", "runs");
    let mode = if server.is_read_only() { ", read-only" } else { "" };
    out.data(&format!("results: {} ({runs}{mode})", visible_line(&path.to_string_lossy())));
    if let Listen::File(socket) = &args.listen {
        // ssh takes the path of the other machine's end as it is.
        let socket = std::path::absolute(socket).unwrap_or_else(|_| socket.clone());
        out.data(&format!("tunnel:  ssh -L 7878:{} HOST", shown_path(&socket)));
    }
    let link = server.link();
    out.data(&format!("link:    {link}"));
    let more = root.command(&["serve", "--link"]);
    out.hint(&format!(
        "the link works once, within 5 minutes; `{more}` prints another\nCtrl-C ends the server; runs keep running"
    ));
    if args.open
        && let Err(error) = open(&link)
    {
        out.warn(&format!("cannot start `xdg-open`: {error}; open the link yourself"));
    }
    match server.run(print_problem).map_err(CommandError::usage)? {}
}

/// Prints a problem of the server's regular work.
fn print_problem(problem: &str) {
    // Without a terminal or log, there is no place to report it.
    let _ =
        writeln!(anstream::stderr(), "{} {}", style::warning("warning:"), visible_line(problem));
}

fn print_links(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let path = args.root.existing_path();
    let links = links(&path);
    if links.is_empty() {
        return Err(mistake!(
            "no server of yours is running for the results root {}\nstart one: runner serve --open",
            shown_path(&path)
        ));
    }
    links.iter().for_each(|link| out.data(&visible_line(link)));
    Ok(Exit::Success)
}

/// Opens a link in a browser, with a file that only this user can read: all users can see the arguments of processes, and one of
/// them could use the link first.
fn open(link: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix("runner-").suffix(".html").tempfile()?;
    write!(file, "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={link}\">")?;
    let mut command = Command::new("xdg-open");
    command.arg(file.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut browser = command.spawn()?;
    thread::spawn(move || {
        if !browser.wait().is_ok_and(|status| status.success()) {
            print_problem("`xdg-open` opened no browser; open the link yourself");
        }
        thread::sleep(OPEN_TIME);
        drop(file);
    });
    Ok(())
}
