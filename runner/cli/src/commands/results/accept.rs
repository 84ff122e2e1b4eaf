//! `runner accept`: writes the outputs of a run over the expectations of its failed tests.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _};

use runner_engine::{EditRequest, Edits};
use runner_model::visible::{visible, visible_line};
use runner_model::{exit::Exit, units::plural};
use runner_report::VERSION;
use runner_report::schemars::{self, JsonSchema};
use runner_scenario::{FileEdit, Filter};
use serde::Serialize;

use crate::args::{DocumentArgs, RunArgs, filters};
use crate::text::{CommandError, Out, mistake, style};

/// Bytes of a file whose lines are all compared.
const MAX_WHOLE: usize = 128 << 10;
/// Tests that a list of reasons names.
pub const MAX_NAMED: usize = 20;

/// Accept the outputs of a run as expectations
///
/// Writes the output of each failed test into its golden file, or over its `equals` in the scenario or in a record of a test
/// list. Shows the difference of each file, and asks.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Accept only tests with a failed trial that matches `test(a*)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Write without asking
    #[arg(short, long, conflicts_with = "dry_run")]
    yes: bool,
    /// Show the differences, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// `runner accept`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AcceptDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// The files are replaced. Only with `--yes`.
    pub written: bool,
    /// The files that change, sorted by path.
    pub files: Vec<AcceptedFile>,
    /// The tests whose outputs cannot be accepted, sorted by id.
    pub refused: Vec<RefusedTest>,
}

/// A file with accepted outputs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AcceptedFile {
    /// Path relative to the scenario's folder.
    pub path: String,
    /// The file is missing before.
    pub new: bool,
    /// Number of tests whose expectations change.
    pub tests: usize,
    /// The lines that change. Of a large file, a part.
    pub diff: String,
}

/// A test whose output cannot be accepted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RefusedTest {
    /// The test's id.
    pub test: String,
    /// The reason, as a clause.
    pub reason: String,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let RunArgs { run, document: DocumentArgs { root, json } } = &args.run;
    let request = EditRequest {
        run: run.name(),
        filter: Filter::all(filters(&args.filter)?),
        results: root.open()?.path().to_owned(),
    };
    let accepted = runner_engine::accept(&request)?;
    accepted.notices.iter().for_each(|notice| out.warn(notice));
    let tests: usize = accepted.files.values().map(|edit| edit.changes).sum();
    if *json {
        let written = args.yes && tests > 0;
        if written {
            accepted.write()?;
        }
        out.document(&AcceptDocument::new(&accepted, written));
    } else {
        print(&accepted, out);
    }
    if tests == 0 && !accepted.report.is_empty() {
        return Err(mistake!("no output can be accepted; nothing was written"));
    }
    if *json {
        return Ok(Exit::Success);
    }
    let files = plural(accepted.files.len() as u64, "file", "files");
    if tests == 0 || args.dry_run {
        out.talk(match tests {
            0 => "nothing to accept",
            _ => "nothing was written",
        });
        return Ok(Exit::Success);
    }
    if !args.yes && !confirm(&files, out)? {
        return Ok(Exit::Success);
    }
    accepted.write()?;
    let tests = plural(tests as u64, "test", "tests");
    out.talk(&format!("accepted the outputs of {tests} in {files}"));
    out.hint(&format!("to judge the run by them: {}", accepted.next));
    Ok(Exit::Success)
}

impl AcceptDocument {
    fn new(accepted: &Edits<BTreeMap<String, String>>, written: bool) -> Self {
        let files = accepted.files.iter().map(|(path, edit)| {
            let diff = diff(edit);
            AcceptedFile { path: path.clone(), new: edit.old.is_none(), tests: edit.changes, diff }
        });
        let refused = accepted
            .report
            .iter()
            .map(|(test, reason)| RefusedTest { test: test.clone(), reason: reason.clone() });
        Self {
            v: VERSION,
            run: accepted.run.clone(),
            written,
            files: files.collect(),
            refused: refused.collect(),
        }
    }
}

/// Prints the difference of each file, and the tests that cannot be accepted.
fn print(accepted: &Edits<BTreeMap<String, String>>, out: &Out) {
    for (path, edit) in &accepted.files {
        let state = if edit.old.is_none() { ", new" } else { "" };
        let tests = plural(edit.changes as u64, "test", "tests");
        print_diff(&format!("{path} ({tests}{state})"), edit, out);
    }
    for (test, why) in accepted.report.iter().take(MAX_NAMED) {
        out.warn(&format!("{}: {}", visible_line(test), visible_line(why)));
    }
    let hidden = accepted.report.len().saturating_sub(MAX_NAMED);
    if hidden > 0 {
        out.warn(&format!("{} more cannot be accepted", plural(hidden as u64, "test", "tests")));
    }
}

fn diff(edit: &FileEdit) -> String {
    let old = String::from_utf8_lossy(edit.old.as_deref().unwrap_or_default());
    runner_worker::text_diff(&old, &edit.new)
}

/// Prints the difference of a file below its title.
pub fn print_diff(title: &str, edit: &FileEdit, out: &Out) {
    out.data(&style::bold(&visible_line(title)));
    out.data(visible(&diff(edit)).trim_end());
    let old = edit.old.as_ref().map_or(0, Vec::len);
    if old.max(edit.new.len()) > MAX_WHOLE {
        out.warn("the file is large; its difference is shown in part");
    }
}

/// Asks the user at the terminal whether to write these changes.
pub fn confirm(changes: &str, out: &Out) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(mistake!(
            "nothing was written\nto write {changes} without a question, add `--yes`"
        ));
    }
    out.talk(&format!("Write {changes}? [y/N]"));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    let agrees = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agrees {
        out.talk("nothing was written");
    }
    Ok(agrees)
}
