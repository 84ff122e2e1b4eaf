//! `runner report`.

use std::ffi::OsStr;

use miette::miette;

use super::{Context, context, naming::Named};
use crate::{
    cli::{ReportArgs, ReportFormArgs},
    error::{Error, ExitStatus},
    record::LineError,
    report::{self, ReportFormat},
    session::{self, Store},
};

/// Writes a report of a run.
pub(super) fn report(args: &ReportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let output = &context.output;
    let format = format(args)?;
    let filter = args.filter.parse()?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let dir = Named::or_latest(args.run.as_deref(), context).locate(&store)?;
    let warn = |error: &LineError| output.warn(&error.to_string());
    let report = session::report(&dir, filter.as_ref(), warn)?;
    match &args.output {
        Some(file) => context::write_file(file, |to| report::write(&report, format, to))?,
        None => {
            let mut bytes = Vec::new();
            report::write(&report, format, &mut bytes).expect("memory can be written");
            output.reply(&String::from_utf8_lossy(&bytes));
        }
    }
    Ok(ExitStatus::Success)
}

/// The form that a flag names, or else the name of the file.
fn format(args: &ReportArgs) -> Result<ReportFormat, Error> {
    let ReportFormArgs {
        html,
        junit,
        markdown,
        csv,
        jsonl,
    } = args.form;
    let flags = [html, junit, markdown, csv, jsonl];
    let mut flagged = ReportFormat::ALL.into_iter().zip(flags);
    if let Some((format, _)) = flagged.find(|(_, is_set)| *is_set) {
        return Ok(format);
    }
    let Some(file) = &args.output else {
        return Ok(ReportFormat::Markdown);
    };
    let extension = file.extension().and_then(OsStr::to_str);
    let extension = extension.map(str::to_ascii_lowercase);
    extension.as_deref().and_then(ReportFormat::of_extension).ok_or_else(|| {
        Error::usage(miette!(
            help = "name it `.html`, `.xml`, `.md`, `.csv` or `.jsonl`, or add `--html`, `--junit`, `--markdown`, `--csv` or `--jsonl`",
            "the name of `{}` does not tell the form of the report",
            file.display()
        ))
    })
}
