//! One line a trial.
//!
//! There may be very many of them: no more is held at once than a few pieces of the table, which threads make beside each other.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    io::{self, Write},
    ops::Range,
};

use crate::{
    model::{CheckVerdict, Outcome, cores, work_in_lanes},
    view::{RunReport, TrialCells, TrialGrade},
};

/// Columns before those that its test says of itself.
const NAMES: [&str; 4] = ["trial", "test", "provider", "repeat"];
const LABELS: [&str; 2] = ["tags", "meta"];
const RESULTS: [&str; 10] = [
    "outcome",
    "flaky",
    "attempts",
    "score",
    "started_at",
    "duration_ms",
    "peak_memory",
    "error_class",
    "error_code",
    "message",
];

/// What there is of each grader, beside what it measured.
const GRADE_COLUMNS: [&str; 5] = ["verdict", "score", "explanation", "attempts", "duration_ms"];

/// How many lines are made at once.
const PIECE: u64 = 1024;
/// More threads than these would wait for the one that writes.
const MOST_THREADS: usize = 8;

/// A table with a line for each trial of a run.
pub struct CsvTable<'a> {
    run: String,
    columns: BTreeSet<CsvColumn>,
    lines: Box<dyn CsvLines + 'a>,
}

/// What the lines of a table are made of.
pub trait CsvLines: Send + Sync {
    /// How many trials are planned.
    fn planned(&self) -> u64;

    /// Hands over those of these trials of which there is something to tell, in the plan's order, each with its tags and with
    /// what its test says of itself as JSON, which is empty if it says nothing.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    fn visit(&self, ordinals: Range<u64>, line: &mut CsvLine<'_>) -> io::Result<()>;
}

/// Takes a trial with its tags and metadata.
pub type CsvLine<'l> = dyn FnMut(&TrialCells<'_>, &[String], &str) + 'l;

/// A column that not every table has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum CsvColumn {
    Metric(String),
    /// For a grader: its name, and what of its grade is in the column.
    Grade(String, GradePart),
}

/// In the order of the columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum GradePart {
    /// By its place in [`GRADE_COLUMNS`].
    Own(usize),
    Metric(String),
}

/// Which columns trials need: there are few kinds of trials, and many of each.
#[derive(Debug, Default)]
pub struct CsvKinds(HashMap<Vec<CsvColumn>, u32>);

impl CsvKinds {
    /// What kind of trial it is.
    pub fn of(&mut self, trial: &TrialCells<'_>) -> u32 {
        if trial.metrics.is_empty() && trial.grades.is_empty() {
            return 0;
        }
        let metrics = trial.metrics.iter();
        let metrics = metrics.map(|metric| CsvColumn::Metric(metric.name.clone().into_owned()));
        let graded = trial.grades.iter().flat_map(graded);
        let columns = metrics.chain(graded.map(|(column, _)| column)).collect();
        let next = u32::try_from(self.0.len() + 1).unwrap_or(u32::MAX);
        *self.0.entry(columns).or_insert(next)
    }

    /// The columns of these kinds.
    fn columns(self, kinds: impl Iterator<Item = u32>) -> BTreeSet<CsvColumn> {
        let kinds: BTreeSet<u32> = kinds.collect();
        let all = self.0.into_iter();
        let wanted = all.filter(|(_, kind)| kinds.contains(kind));
        wanted.flat_map(|(columns, _)| columns).collect()
    }
}

impl<'a> CsvTable<'a> {
    /// A table of lines that are of these kinds.
    pub fn new(
        run: String,
        (kinds, of): (CsvKinds, impl Iterator<Item = u32>),
        lines: impl CsvLines + 'a,
    ) -> Self {
        Self {
            run,
            columns: kinds.columns(of),
            lines: Box::new(lines),
        }
    }

    /// The table of a report.
    pub fn of(report: impl Borrow<RunReport> + Send + Sync + 'a) -> Self {
        let mut kinds = CsvKinds::default();
        let trials = report.borrow().trials.iter();
        let of: Vec<u32> = trials.map(|trial| kinds.of(&trial.into())).collect();
        let run = report.borrow().head.run.to_string();
        Self::new(run, (kinds, of.into_iter()), ReportLines(report))
    }

    /// The lines of some trials, with these columns behind those of every table.
    fn piece(
        &self,
        ordinals: Range<u64>,
        columns: &BTreeSet<&CsvColumn>,
        has_runs: bool,
    ) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.lines.visit(ordinals, &mut |trial, tags, meta| {
            if has_runs {
                cell(&mut text, &self.run);
            }
            cell(&mut text, trial.trial);
            cell(&mut text, trial.test);
            cell(&mut text, trial.provider);
            whole(&mut text, trial.repeat);
            cell(&mut text, &tags.join(" "));
            cell(&mut text, meta);
            results(&mut text, trial);
            more(&mut text, trial, columns);
            end_line(&mut text);
        })?;
        Ok(text)
    }
}

/// The lines of a report, by the places of its trials in it.
struct ReportLines<R>(R);

impl<R: Borrow<RunReport> + Send + Sync> CsvLines for ReportLines<R> {
    fn planned(&self) -> u64 {
        self.0.borrow().trials.len() as u64
    }

    fn visit(&self, ordinals: Range<u64>, line: &mut CsvLine<'_>) -> io::Result<()> {
        let report: &RunReport = self.0.borrow();
        for trial in &report.trials[ordinals.start as usize..ordinals.end as usize] {
            let trial = &*report.in_full(trial)?;
            let meta = match trial.meta.is_empty() {
                true => String::new(),
                false => serde_json::to_string(&trial.meta)?,
            };
            line(&trial.into(), &trial.tags, &meta);
        }
        Ok(())
    }
}

/// What there is of a grade, by its columns.
fn graded(grade: &TrialGrade) -> impl Iterator<Item = (CsvColumn, String)> {
    let explanation = grade.explanation.as_deref();
    let error = || grade.error.as_ref().map(|error| &*error.message);
    let number = |number: f64| number.to_string();
    let own = [
        grade.verdict.map_or("", CheckVerdict::as_str).to_owned(),
        grade.score.map(number).unwrap_or_default(),
        explanation.or_else(error).unwrap_or_default().to_owned(),
        grade.attempts.to_string(),
        number(grade.duration_ms),
    ];
    let own = (0..).map(GradePart::Own).zip(own);
    let metrics = grade.metrics.iter();
    let metrics = metrics.map(move |metric| {
        let part = GradePart::Metric(metric.name.clone().into_owned());
        (part, number(metric.value))
    });
    let parts = own.chain(metrics);
    parts.map(|(part, value)| {
        (
            CsvColumn::Grade(grade.grader.clone().into_owned(), part),
            value,
        )
    })
}

impl CsvColumn {
    fn name(&self) -> String {
        match self {
            Self::Metric(name) => format!("metric:{name}"),
            Self::Grade(grader, GradePart::Own(place)) => {
                format!("grader:{grader}:{}", GRADE_COLUMNS[*place])
            }
            Self::Grade(grader, GradePart::Metric(name)) => {
                format!("grader:{grader}:metric:{name}")
            }
        }
    }
}

/// Writes a header and the lines of a table, or of several whose first column is their run. Metrics are columns behind the
/// others: `metric:NAME`; and then what each grader said: `grader:NAME:verdict`, `…:score`, `…:explanation`, `…:attempts`,
/// `…:duration_ms` and `…:metric:NAME`.
pub(super) fn write(tables: &[CsvTable<'_>], has_runs: bool, to: &mut dyn Write) -> io::Result<()> {
    let columns: BTreeSet<&CsvColumn> = tables.iter().flat_map(|table| &table.columns).collect();
    let mut text = Vec::new();
    if has_runs {
        cell(&mut text, "run");
    }
    for name in NAMES.into_iter().chain(LABELS).chain(RESULTS) {
        cell(&mut text, name);
    }
    for column in &columns {
        quoted(&mut text, &column.name());
    }
    end_line(&mut text);
    to.write_all(&text)?;
    for table in tables {
        let planned = table.lines.planned();
        let pieces = (0..planned.div_ceil(PIECE)).map(|piece| {
            let first = piece * PIECE;
            first..planned.min(first + PIECE)
        });
        let worker = || |ordinals| table.piece(ordinals, &columns, has_runs);
        let workers = (0..cores().min(MOST_THREADS)).map(|_| worker());
        work_in_lanes(pieces, workers, |piece: io::Result<Vec<u8>>| {
            to.write_all(&piece?)?;
            Ok::<_, io::Error>(true)
        })??;
    }
    to.flush()
}

/// Adds the cells of columns that not every table has.
fn more(text: &mut Vec<u8>, trial: &TrialCells<'_>, columns: &BTreeSet<&CsvColumn>) {
    if columns.is_empty() {
        return;
    }
    let mut grades = HashMap::new();
    for (column, value) in trial.grades.iter().flat_map(graded) {
        grades.entry(column).or_insert(value);
    }
    for column in columns {
        match column {
            CsvColumn::Metric(name) => {
                let mut metrics = trial.metrics.iter();
                match metrics.find(|metric| *metric.name == **name) {
                    Some(metric) => plain(text, format_args!("{}", metric.value)),
                    None => text.push(b','),
                }
            }
            CsvColumn::Grade(_, part) => match grades.remove(*column) {
                Some(value) if *part == GradePart::Own(2) => cell(text, &value),
                Some(value) => quoted(text, &value),
                None => text.push(b','),
            },
        }
    }
}

fn results(text: &mut Vec<u8>, trial: &TrialCells<'_>) {
    let error = trial.error;
    let number = |text: &mut Vec<u8>, number: Option<f64>| match number {
        Some(number) => plain(text, format_args!("{number}")),
        None => text.push(b','),
    };
    quoted(text, trial.outcome.map_or("", Outcome::as_str));
    quoted(text, if trial.is_flaky { "true" } else { "false" });
    whole(text, trial.attempts);
    number(text, trial.score);
    match trial.started_at {
        Some(at) => plain(text, format_args!("{at}")),
        None => text.push(b','),
    }
    number(text, trial.duration_ms);
    whole(text, trial.peak_memory);
    let class = error.and_then(|error| error.class);
    quoted(text, class.map_or("", |class| class.as_str()));
    cell(text, error.map_or("", |error| &*error.code));
    cell(
        text,
        match error {
            Some(error) => &error.message,
            None => trial.summary.unwrap_or_default(),
        },
    );
}

/// Adds what has nothing to quote, and the comma behind it.
fn plain(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("memory can be written to");
    text.push(b',');
}

/// Adds a whole number and the comma behind it, in a part of the time that formatting takes.
fn whole(text: &mut Vec<u8>, number: impl Into<u64>) {
    let written = serde_json::to_writer(&mut *text, &number.into());
    written.expect("memory can be written to");
    text.push(b',');
}

/// Adds a text as a cell. Spreadsheets take one for a formula that begins like one, and a guest may have chosen it.
fn cell(text: &mut Vec<u8>, what: &str) {
    match what.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => quoted(text, &format!("'{what}")),
        false => quoted(text, what),
    }
}

/// Adds a cell, in quotes where it needs them, and the comma behind it.
fn quoted(text: &mut Vec<u8>, what: &str) {
    let is_special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !what.bytes().any(is_special) {
        text.extend_from_slice(what.as_bytes());
    } else {
        text.push(b'"');
        text.extend_from_slice(what.replace('"', "\"\"").as_bytes());
        text.push(b'"');
    }
    text.push(b',');
}

/// The last comma of a line has nothing behind it.
fn end_line(text: &mut Vec<u8>) {
    text.pop();
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::{io, ops::Range};

    use serde_json::{Value, json};

    use super::{CsvKinds, CsvLine, CsvLines, CsvTable, write};
    use crate::view::ReportTrial;

    /// The same trial twice, with and without labels.
    struct Twice(ReportTrial);

    impl CsvLines for Twice {
        fn planned(&self) -> u64 {
            2
        }

        fn visit(&self, ordinals: Range<u64>, line: &mut CsvLine<'_>) -> io::Result<()> {
            for ordinal in ordinals {
                let trial = &(&self.0).into();
                match ordinal {
                    0 => line(trial, &["x".into(), "y".into()], r#"{"k":"v,w"}"#),
                    _ => line(trial, &[], ""),
                }
            }
            Ok(())
        }
    }

    fn trial(test: &str, metrics: &[Value]) -> ReportTrial {
        let trial = json!({
            "trial": test, "ordinal": 0, "test": test, "provider": "p", "repeat": 1, "tags": [], "outcome": "passed",
            "flaky": false, "attempts": 1, "score": 0.1 + 0.2, "duration_ms": 1.5, "peak_memory": 7, "metrics": metrics,
            "denied": [], "artifacts": [], "grades": [],
        });
        serde_json::from_value(trial).unwrap()
    }

    fn metric(name: &str, value: f64) -> Value {
        json!({"name": name, "value": value})
    }

    #[test]
    fn a_reader_of_csv_finds_the_cells_that_were_written() {
        let texts = ["a,b", "say \"x\"", "two\nlines", "=1+1", " ", "ü", "\r\n"];
        let mut tables = Vec::new();
        for (place, text) in texts.into_iter().enumerate() {
            let mut kinds = CsvKinds::default();
            // A row that another has replaced, which measured what no other did.
            kinds.of(&(&trial("gone", &[metric("none", 1.0)])).into());
            let metrics = [metric("b", 2.5), metric("a,", 1e21)];
            let trial = trial(text, &metrics[..place % 3]);
            let of = [kinds.of(&(&trial).into()); 2];
            let table = CsvTable::new(
                format!("run {place}"),
                (kinds, of.into_iter()),
                Twice(trial),
            );
            tables.push(table);
        }
        let mut written = Vec::new();
        write(&tables, true, &mut written).unwrap();

        let mut reader = csv::Reader::from_reader(&written[..]);
        let header = reader.headers().unwrap().clone();
        let columns: Vec<_> = header.iter().collect();
        assert_eq!(
            columns[..7],
            ["run", "trial", "test", "provider", "repeat", "tags", "meta"]
        );
        assert_eq!(columns[columns.len() - 2..], ["metric:a,", "metric:b"]);
        let lines: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 2 * texts.len());
        for (place, line) in lines.iter().enumerate() {
            let text = texts[place / 2];
            let expected = match text {
                "=1+1" => "'=1+1",
                "\r\n" => "'\r\n",
                text => text,
            };
            assert_eq!(
                (&line[0], &line[2]),
                (&*format!("run {}", place / 2), expected)
            );
            let said = if place % 2 == 0 {
                ("x y", r#"{"k":"v,w"}"#)
            } else {
                ("", "")
            };
            assert_eq!((&line[5], &line[6]), said);
            assert_eq!((&line[10], &line[13]), ("0.30000000000000004", "7"));
            let measured = match place / 2 % 3 {
                0 => ("", ""),
                1 => ("", "2.5"),
                _ => ("1000000000000000000000", "2.5"),
            };
            assert_eq!((&line[line.len() - 2], &line[line.len() - 1]), measured);
        }
    }
}
