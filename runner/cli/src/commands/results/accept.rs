//! `runner accept`: writes the outputs of a run over the expectations of its failed tests.

use std::io::{self, BufRead as _, IsTerminal as _};

use runner_engine::{AcceptRequest, Acceptance};
use runner_model::visible::{visible, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_scenario::Filter;

use crate::args::{RootArgs, RunArg, filters};
use crate::text::{CommandError, Out, mistake, style};

/// Bytes of a file whose lines are all compared.
const MAX_WHOLE: usize = 128 << 10;
/// Tests that a list of reasons names.
const MAX_NAMED: usize = 20;

/// Accept the outputs of a run as expectations
///
/// Writes the output of each failed test into its golden file, or over its `equals` in the scenario or in a record of a test
/// list. Shows the difference of each file, and asks.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Accept only tests with a failed trial that matches `test(a*)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Write without asking
    #[arg(short, long, conflicts_with = "dry_run")]
    yes: bool,
    /// Show the differences, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    root: RootArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = AcceptRequest {
        run: args.run.name(),
        filter: Filter::all(filters(&args.filter)?),
        results: args.root.open()?.path().to_owned(),
    };
    let accepted = runner_engine::accept(&request)?;
    accepted.notices.iter().for_each(|notice| out.warn(notice));
    let tests = print(&accepted, out);
    if tests == 0 && !accepted.outputs.refused.is_empty() {
        return Err(mistake!("no output can be accepted; nothing was written"));
    }
    let files = plural(accepted.outputs.files.len() as u64, "file", "files");
    if tests == 0 || args.dry_run {
        out.talk(match tests {
            0 => "nothing to accept",
            _ => "nothing was written",
        });
        return Ok(Exit::Success);
    }
    if !args.yes && !confirm(&files, out)? {
        out.talk("nothing was written");
        return Ok(Exit::Success);
    }
    accepted.write()?;
    let tests = plural(tests as u64, "test", "tests");
    out.talk(&format!("accepted the outputs of {tests} in {files}"));
    out.hint(&format!("to judge the run by them: {}", accepted.next));
    Ok(Exit::Success)
}

/// Prints the difference of each file, and the tests that cannot be accepted. Returns the number of the others.
fn print(accepted: &Acceptance, out: &Out) -> usize {
    let outputs = &accepted.outputs;
    for (path, edit) in &outputs.files {
        let state = if edit.old.is_none() { ", new" } else { "" };
        let old = String::from_utf8_lossy(edit.old.as_deref().unwrap_or_default());
        let tests = plural(edit.tests as u64, "test", "tests");
        out.data(&style::bold(&format!("{} ({tests}{state})", visible_line(path))));
        out.data(visible(&runner_worker::text_diff(&old, &edit.new)).trim_end());
        if old.len().max(edit.new.len()) > MAX_WHOLE {
            out.warn(&format!("{} is large; its difference is shown in part", visible_line(path)));
        }
    }
    for (test, why) in outputs.refused.iter().take(MAX_NAMED) {
        out.warn(&format!("{}: {}", visible_line(test), visible_line(why)));
    }
    let hidden = outputs.refused.len().saturating_sub(MAX_NAMED);
    if hidden > 0 {
        out.warn(&format!("{} more cannot be accepted", plural(hidden as u64, "test", "tests")));
    }
    outputs.files.values().map(|edit| edit.tests).sum()
}

/// Asks the user at the terminal.
fn confirm(files: &str, out: &Out) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(mistake!(
            "nothing was written\nto write {files} without a question, add `--yes`"
        ));
    }
    out.talk(&format!("Write {files}? [y/N]"));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
