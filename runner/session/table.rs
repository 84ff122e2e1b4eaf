//! [`csv_table`]: what a run came to, trial by trial, in little more time than reading its rows takes, and in little memory.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    panic::resume_unwind,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use super::{
    NamedRuns,
    report::{report, unsettled_trial},
};
use crate::{
    error::Error,
    filter::Filter,
    record::{Look, RecordError, RowCells, RunReader, SettledRows},
    report::{CsvKinds, CsvLine, CsvLines, CsvTable, MadeReport, ReportFormat},
    run::TrialNames,
    scenario::{TestLabel, TestLabels},
    view::{ReportTrial, TrialCells},
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
    damaged: impl FnMut(&dyn std::error::Error),
) -> Result<CsvTable<'static>, Error> {
    if filter.is_some() {
        return report(dir, filter, damaged).map(CsvTable::of);
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
    mut damaged: impl FnMut(&dyn std::error::Error),
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

/// The trials of a run.
struct RunLines {
    reader: RunReader,
    rows: SettledRows,
    labels: Option<TestLabels>,
    /// Those that no row settles; read once there is one.
    names: OnceLock<Option<Mutex<TrialNames>>>,
}

impl CsvLines for RunLines {
    fn planned(&self) -> u64 {
        self.reader.manifest().metadata.planned_test_count
    }

    fn visit(&self, ordinals: Range<u64>, line: &mut CsvLine<'_>) -> io::Result<()> {
        let unlabelled = TestLabel::default();
        self.rows.read(ordinals, |ordinal, row| {
            let labels = self.labels.as_ref();
            let label = labels.and_then(|labels| labels.of(ordinal));
            let label = label.unwrap_or(&unlabelled);
            match row {
                Some(row) => line(&TrialCells::of_row(row), &label.tags, &label.meta),
                None => {
                    if let Some(trial) = self.unsettled(ordinal) {
                        line(&(&trial).into(), &label.tags, &label.meta);
                    }
                }
            }
            Ok(())
        })
    }
}

impl RunLines {
    fn unsettled(&self, ordinal: u64) -> Option<ReportTrial> {
        let names = self
            .names
            .get_or_init(|| TrialNames::of(&self.reader).map(Mutex::new));
        let names = names.as_ref()?.lock();
        let mut names = names.unwrap_or_else(PoisonError::into_inner);
        let mut trial = unsettled_trial(Some(&mut *names), ordinal)?;
        trial.attempts = self.rows.history().state.attempts(ordinal);
        Some(trial)
    }
}

fn make(
    look: &Look,
    damaged: impl FnMut(&dyn std::error::Error),
) -> Result<CsvTable<'static>, RecordError> {
    let reader = look.reader();
    let mut kinds = CsvKinds::default();
    let kind = |row: &RowCells<'_>| kinds.of(&TrialCells::of_row(row));
    let (rows, labels) = thread::scope(|scope| {
        // The tests are about as much to read as the rows.
        let labels = || TrialNames::labels(reader);
        let labelling = thread::Builder::new().spawn_scoped(scope, labels);
        let rows = reader.settled_rows(kind, damaged);
        let labels = match labelling {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => labels(),
        };
        (rows, labels)
    });
    let rows = rows?;
    let of: Vec<u32> = rows.kinds().collect::<BTreeSet<_>>().into_iter().collect();
    let lines = RunLines {
        reader: reader.clone(),
        rows,
        labels,
        names: OnceLock::new(),
    };
    let run = reader.id().to_string();
    Ok(CsvTable::new(run, (kinds, of.into_iter()), lines))
}
