//! `runner report`.

use std::path::PathBuf;

use miette::miette;

use super::{Context, naming::Named};
use crate::{
    cli::{ReportArgs, ReportFormArgs},
    error::{Error, ExitStatus},
    record::LineError,
    report::{self, ReportFormat},
    session::{self, Store},
};

/// Writes a report of a run, or of the runs of a group.
pub(super) fn report(args: &ReportArgs, context: &Context) -> Result<ExitStatus, Error> {
    let format = format(args)?;
    let filter = args.filter.parse()?;
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let named = Named::or_latest(args.run.as_deref(), context);
    let group = named.group(&store)?;
    let is_group = group.is_some();
    let dirs: Vec<PathBuf> = match group {
        Some(runs) => runs.into_iter().map(|run| run.dir).collect(),
        None => vec![named.locate(&store)?],
    };
    let warn = |error: &LineError| context.output.warn(&error.to_string());
    let (file, filter) = (args.output.as_deref(), filter.as_ref());
    if format == ReportFormat::Csv {
        let tables = dirs.iter().map(|dir| session::csv_table(dir, filter, warn));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        context.write_out(file, |to| report::write_tables(&tables, is_group, to))?;
        return Ok(ExitStatus::Success);
    }
    let reports = dirs.iter().map(|dir| session::report(dir, filter, warn));
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    context.write_out(file, |to| match &reports[..] {
        [one] if !is_group => report::write(one, format, to),
        all => report::write_all(all, format, to),
    })?;
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
