//! `runner report`.

use miette::miette;

use super::{Context, naming::Named};
use crate::{
    cli::{ReportArgs, ReportFormArgs},
    error::{Error, ExitStatus},
    report::ReportFormat,
    session::{self, Store},
};

/// Writes a report of a run, or of the runs of a group.
pub(super) fn report(args: &ReportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let format = format(args)?;
    let filter = args.filter.parse()?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = Named::or_latest(args.run.as_deref(), context).runs(&store)?;
    let warn = |error: &dyn std::error::Error| context.output.warn(&error.to_string());
    let report = session::report_named(&named, format, filter.as_ref(), warn)?;
    context.write_out(args.output.as_deref(), |to| report.write(to))?;
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
    ReportFormat::of_file(file).ok_or_else(|| {
        Error::usage(miette!(
            help = "name it `.html`, `.xml`, `.md`, `.csv` or `.jsonl`, or add `--html`, `--junit`, `--markdown`, `--csv` or `--jsonl`",
            "the name of `{}` does not tell the form of the report",
            file.display()
        ))
    })
}
