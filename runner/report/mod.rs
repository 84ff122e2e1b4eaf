//! Reports: what a run came to, in the forms that people and other programs read.
//!
//! Every form is written from a [`RunReport`] and nothing else, so that the same rows give the same bytes. What guests have said
//! is data in each of them: it becomes no markup, no script, no formula and no colour.

mod compare;
mod csv;
mod file;
mod html;
mod junit;
mod markdown;
mod words;

use std::{
    io::{self, Write},
    path::Path,
    slice,
};

use crate::view::{ReportLine, RunReport};

pub use compare::{ComparisonFormat, write_comparison};
pub use csv::{CsvKinds, CsvLine, CsvLines, CsvTable};
pub use file::write_file;

/// A form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// One page for a browser, with everything in it.
    Html,
    /// JUnit's XML, as CI systems read it.
    Junit,
    /// A comment of a pull request.
    Markdown,
    /// One line a trial.
    Csv,
    /// The documents: the run, and then a line a trial.
    Jsonl,
}

impl ReportFormat {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Html,
        Self::Junit,
        Self::Markdown,
        Self::Csv,
        Self::Jsonl,
    ];

    /// What the names of its files end with, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Junit => "xml",
            Self::Markdown => "md",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    /// The form that the name of a file tells by its end.
    pub fn of_file(file: &Path) -> Option<Self> {
        let extension = file.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|format| format.extension() == extension)
    }
}

/// Writes a report.
///
/// # Errors
///
/// Fails as `to` does.
pub fn write(report: &RunReport, format: ReportFormat, to: &mut dyn Write) -> io::Result<()> {
    match format {
        ReportFormat::Html => html::write(report, to),
        ReportFormat::Junit => junit::write(slice::from_ref(report), to),
        ReportFormat::Markdown => markdown::write(report, to),
        ReportFormat::Csv => write_tables(&[CsvTable::of(report)], false, to),
        ReportFormat::Jsonl => jsonl(report, to),
    }
}

/// Writes a report of the runs of a group.
///
/// # Errors
///
/// Fails as `to` does.
pub fn write_all(
    reports: &[RunReport],
    format: ReportFormat,
    to: &mut dyn Write,
) -> io::Result<()> {
    match format {
        ReportFormat::Html => return html::write_group(reports, to),
        ReportFormat::Junit => return junit::write(reports, to),
        ReportFormat::Csv => {
            let tables: Vec<_> = reports.iter().map(CsvTable::of).collect();
            return write_tables(&tables, true, to);
        }
        ReportFormat::Markdown | ReportFormat::Jsonl => {}
    }
    for (place, report) in reports.iter().enumerate() {
        if place > 0 && format == ReportFormat::Markdown {
            to.write_all(b"\n")?;
        }
        write(report, format, to)?;
    }
    Ok(())
}

/// Writes tables of runs one below the other; where they are of a group, their first column says of which run a line is.
///
/// # Errors
///
/// Fails as `to` does.
pub fn write_tables(tables: &[CsvTable<'_>], is_group: bool, to: &mut dyn Write) -> io::Result<()> {
    csv::write(tables, is_group, to)
}

/// A report that has its form, of a run or of the runs of a group.
pub enum MadeReport {
    /// Tables, of a group or of one run.
    Csv {
        /// A table for each run.
        tables: Vec<CsvTable<'static>>,
        /// Whether they are of a group.
        is_group: bool,
    },
    /// Of one run.
    Run(ReportFormat, Box<RunReport>),
    /// Of a group.
    Group(ReportFormat, Vec<RunReport>),
}

impl MadeReport {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// Fails as `to` does.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Csv { tables, is_group } => write_tables(tables, *is_group, to),
            Self::Run(format, report) => write(report, *format, to),
            Self::Group(format, reports) => write_all(reports, *format, to),
        }
    }
}

fn jsonl(report: &RunReport, to: &mut dyn Write) -> io::Result<()> {
    let mut line = |line: &ReportLine<'_>| {
        serde_json::to_writer(&mut *to, line)?;
        to.write_all(b"\n")
    };
    line(&ReportLine::Run(&report.head))?;
    for trial in &report.trials {
        line(&ReportLine::Trial(&*report.in_full(trial)?))?;
    }
    Ok(())
}
