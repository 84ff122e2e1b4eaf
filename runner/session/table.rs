//! [`csv_table`]: what a run came to, trial by trial, in as little time as reading its rows takes.

use std::{io, panic::resume_unwind, path::Path, thread};

use super::{
    NamedRuns,
    report::{report, unsettled_trial},
};
use crate::{
    error::Error,
    filter::Filter,
    record::{LineError, Look, RecordError, RowCells},
    report::{CsvTable, MadeReport, ReportFormat},
    run::TrialNames,
    scenario::TestLabel,
    view::TrialCells,
};

/// Puts the table of the run in `dir` together, or of those of its trials that `filter` means; `damaged` hears of lines that
/// give no row.
///
/// # Errors
///
/// Fails as [`report`] does.
pub fn csv_table(
    dir: &Path,
    filter: Option<&Filter>,
    damaged: impl FnMut(&LineError),
) -> Result<CsvTable, Error> {
    if filter.is_some() {
        let report = report(dir, filter, damaged)?;
        return CsvTable::of(&report).map_err(|error| Error::record(kept(error)));
    }
    let look = Look::at(dir).map_err(|error| Error::find(error.into()))?;
    make(&look, damaged).map_err(Error::record)
}

/// Makes a report of this form of what is named, of all trials or of those that `filter` means; `damaged` hears of lines
/// that give no row.
///
/// # Errors
///
/// Fails as [`report`] does.
pub fn report_named(
    named: &NamedRuns,
    format: ReportFormat,
    filter: Option<&Filter>,
    mut damaged: impl FnMut(&LineError),
) -> Result<MadeReport, Error> {
    if format == ReportFormat::Csv {
        let dirs = named.dirs().into_iter();
        let tables = dirs.map(|dir| csv_table(dir, filter, &mut damaged));
        return Ok(MadeReport::Csv {
            tables: tables.collect::<Result<_, _>>()?,
            is_group: matches!(named, NamedRuns::Group(_)),
        });
    }
    match named {
        NamedRuns::One(dir) => {
            let report = report(dir, filter, damaged)?;
            Ok(MadeReport::Run(format, report.into()))
        }
        NamedRuns::Group(runs) => {
            let reports = runs
                .iter()
                .map(|run| report(&run.dir, filter, &mut damaged));
            let reports = reports.collect::<Result<_, _>>()?;
            Ok(MadeReport::Group(format, reports))
        }
    }
}

fn make(look: &Look, damaged: impl FnMut(&LineError)) -> Result<CsvTable, RecordError> {
    let reader = look.reader();
    let mut table = CsvTable::new(reader.id().to_string());
    let take = |row: &RowCells<'_>| table.take(&TrialCells::of_row(row));
    let (read, labels) = thread::scope(|scope| {
        // The tests are about as much to read as the rows.
        let labels = || TrialNames::labels(reader);
        let labelling = thread::Builder::new().spawn_scoped(scope, labels);
        let read = reader.settled_cells(take, damaged);
        let labels = match labelling {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => labels(),
        };
        (read, labels)
    });
    let (history, settled) = read?;
    let mut names = None;
    let unlabelled = TestLabel::default();
    for (ordinal, cells) in (0..).zip(settled) {
        let cells = match cells {
            Some(cells) => cells,
            None => {
                let names = names.get_or_insert_with(|| TrialNames::of(reader));
                let Some(mut trial) = unsettled_trial(names.as_mut(), ordinal) else {
                    continue;
                };
                trial.attempts = history.state.attempts(ordinal);
                table.take(&TrialCells::from(&trial))
            }
        };
        let label = labels.as_ref().and_then(|labels| labels.of(ordinal));
        let label = label.unwrap_or(&unlabelled);
        table.add(cells, &label.tags, &label.meta);
    }
    Ok(table)
}

fn kept(source: io::Error) -> RecordError {
    RecordError::Io {
        action: "read what was kept of trials in a temporary file",
        source,
    }
}
