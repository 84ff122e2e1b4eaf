//! One line a trial.
//!
//! Lines are put together while rows are read, in one piece of memory, because there may be very many of them.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    io::{self, Write},
    ops::Range,
};

use crate::{
    model::{CheckVerdict, Outcome},
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

/// Bytes that are written at once.
const WRITTEN_AT_ONCE: usize = 256 * 1024;

/// A table with a line for each trial of a run.
#[derive(Debug)]
pub struct CsvTable {
    run: String,
    /// Cells, as they are written.
    text: Vec<u8>,
    /// What was measured, by the numbers of the metrics' names.
    values: Vec<(usize, f64)>,
    metrics: Numbered<String>,
    /// What graders said, by the numbers of its columns.
    said: Vec<(usize, Range<usize>)>,
    grades: Numbered<GradeColumn>,
    lines: Vec<CsvLine>,
}

/// A column for a grader: its name, and what of its grade is in it, in the order of the columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GradeColumn(String, GradePart);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum GradePart {
    /// By its place in [`GRADE_COLUMNS`].
    Own(usize),
    Metric(String),
}

/// The cells of a trial that are known from its row, within their table.
#[derive(Clone, Debug)]
pub struct CsvCells {
    names: Range<usize>,
    results: Range<usize>,
    values: Range<usize>,
    said: Range<usize>,
}

#[derive(Debug)]
struct CsvLine {
    cells: CsvCells,
    labels: Range<usize>,
}

/// Names of columns by numbers: there are few of them, and many lines.
#[derive(Debug)]
struct Numbered<N> {
    numbers: HashMap<N, usize>,
    names: Vec<N>,
}

impl CsvTable {
    /// A table for a run without a trial.
    pub fn new(run: String) -> Self {
        Self {
            run,
            text: Vec::new(),
            values: Vec::new(),
            metrics: Numbered::new(),
            said: Vec::new(),
            grades: Numbered::new(),
            lines: Vec::new(),
        }
    }

    /// The table of a report.
    ///
    /// # Errors
    ///
    /// Fails if the details of a trial cannot be read.
    pub fn of(report: &RunReport) -> io::Result<Self> {
        let mut table = Self::new(report.head.run.to_string());
        for trial in &report.trials {
            let trial = &*report.in_full(trial)?;
            let cells = table.take(&trial.into());
            let meta = match trial.meta.is_empty() {
                true => String::new(),
                false => serde_json::to_string(&trial.meta)?,
            };
            table.add(cells, &trial.tags, &meta);
        }
        Ok(table)
    }

    /// Takes what is known of a trial from its row, which is no line yet.
    pub fn take(&mut self, trial: &TrialCells<'_>) -> CsvCells {
        let from = self.text.len();
        let text = &mut self.text;
        cell(text, trial.trial);
        cell(text, trial.test);
        cell(text, trial.provider);
        whole(text, trial.repeat);
        let names = from..text.len();
        results(text, trial);
        let from = self.values.len();
        for metric in trial.metrics {
            let number = self.metrics.number(&*metric.name, str::to_owned);
            self.values.push((number, metric.value));
        }
        let results = names.end..self.text.len();
        let values = from..self.values.len();
        let from = self.said.len();
        for grade in trial.grades {
            self.take_grade(grade);
        }
        CsvCells {
            names,
            results,
            values,
            said: from..self.said.len(),
        }
    }

    fn take_grade(&mut self, grade: &TrialGrade) {
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
        let metrics = metrics.map(|metric| {
            let part = GradePart::Metric(metric.name.clone().into_owned());
            (part, number(metric.value))
        });
        for (part, value) in own.chain(metrics) {
            let from = self.text.len();
            match part {
                GradePart::Own(2) => cell(&mut self.text, &value),
                _ => quoted(&mut self.text, &value),
            }
            let column = GradeColumn(grade.grader.clone().into_owned(), part);
            let number = self.grades.number(&column, GradeColumn::clone);
            self.said.push((number, from..self.text.len()));
        }
    }

    /// Adds a line, for a trial whose test says this of itself; `meta` is JSON, or empty.
    pub fn add(&mut self, cells: CsvCells, tags: &[String], meta: &str) {
        let from = self.text.len();
        cell(&mut self.text, &tags.join(" "));
        cell(&mut self.text, meta);
        let mut labels = from..self.text.len();
        // Most say the same as the one before them.
        if let Some(last) = self.lines.last().map(|last| last.labels.clone())
            && self.text[last.clone()] == self.text[labels.clone()]
        {
            self.text.truncate(from);
            labels = last;
        }
        self.lines.push(CsvLine { cells, labels });
    }

    /// The names of the metrics that trials of the table have measured.
    fn measured(&self) -> impl Iterator<Item = &str> {
        let values = self.lines.iter();
        let values = values.flat_map(|line| &self.values[line.cells.values.clone()]);
        let numbers: BTreeSet<usize> = values.map(|(number, _)| *number).collect();
        let names = numbers.into_iter();
        names.map(|number| self.metrics.names[number].as_str())
    }

    /// The columns for what graders said of trials of the table.
    fn graded(&self) -> impl Iterator<Item = &GradeColumn> {
        let said = self.lines.iter();
        let said = said.flat_map(|line| &self.said[line.cells.said.clone()]);
        let numbers: BTreeSet<usize> = said.map(|(number, _)| *number).collect();
        numbers.into_iter().map(|number| &self.grades.names[number])
    }
}

impl GradeColumn {
    fn name(&self) -> String {
        let Self(grader, part) = self;
        match part {
            GradePart::Own(place) => format!("grader:{grader}:{}", GRADE_COLUMNS[*place]),
            GradePart::Metric(name) => format!("grader:{grader}:metric:{name}"),
        }
    }
}

/// Writes a header and the lines of a table, or of several whose first column is their run. Metrics are columns behind the
/// others: `metric:NAME`; and then what each grader said: `grader:NAME:verdict`, `…:score`, `…:explanation`, `…:attempts`,
/// `…:duration_ms` and `…:metric:NAME`.
pub(super) fn write(tables: &[CsvTable], has_runs: bool, to: &mut dyn Write) -> io::Result<()> {
    let metrics: BTreeSet<&str> = tables.iter().flat_map(CsvTable::measured).collect();
    let grades: BTreeSet<&GradeColumn> = tables.iter().flat_map(CsvTable::graded).collect();
    let mut text = Vec::with_capacity(WRITTEN_AT_ONCE + WRITTEN_AT_ONCE / 8);
    if has_runs {
        cell(&mut text, "run");
    }
    for name in NAMES.into_iter().chain(LABELS).chain(RESULTS) {
        cell(&mut text, name);
    }
    for name in &metrics {
        quoted(&mut text, &format!("metric:{name}"));
    }
    for column in &grades {
        quoted(&mut text, &column.name());
    }
    end_line(&mut text);
    for table in tables {
        let metrics: Vec<_> = metrics
            .iter()
            .map(|name| table.metrics.get(*name))
            .collect();
        let grades: Vec<_> = grades
            .iter()
            .map(|column| table.grades.get(*column))
            .collect();
        for line in &table.lines {
            if has_runs {
                cell(&mut text, &table.run);
            }
            table.write_line(line, &metrics, &grades, &mut text);
            if text.len() >= WRITTEN_AT_ONCE {
                to.write_all(&text)?;
                text.clear();
            }
        }
    }
    to.write_all(&text)?;
    to.flush()
}

impl CsvTable {
    /// Writes a line with columns for these metrics and grades, each by its number in this table.
    fn write_line(
        &self,
        line: &CsvLine,
        metrics: &[Option<usize>],
        grades: &[Option<usize>],
        text: &mut Vec<u8>,
    ) {
        let CsvCells {
            names,
            results,
            values,
            said,
        } = &line.cells;
        for part in [names, &line.labels, results] {
            text.extend_from_slice(&self.text[part.clone()]);
        }
        for column in metrics {
            let mut values = self.values[values.clone()].iter();
            match values.find(|(number, _)| Some(*number) == *column) {
                Some((_, value)) => plain(text, format_args!("{value}")),
                None => text.push(b','),
            }
        }
        for column in grades {
            let mut said = self.said[said.clone()].iter();
            match said.find(|(number, _)| Some(*number) == *column) {
                Some((_, place)) => text.extend_from_slice(&self.text[place.clone()]),
                None => text.push(b','),
            }
        }
        end_line(text);
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

impl<N: Hash + Eq + Clone> Numbered<N> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            names: Vec::new(),
        }
    }

    fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<usize>
    where
        N: Borrow<Q>,
    {
        self.numbers.get(name).copied()
    }

    fn number<Q: Hash + Eq + ?Sized>(&mut self, name: &Q, owned: impl FnOnce(&Q) -> N) -> usize
    where
        N: Borrow<Q>,
    {
        if let Some(number) = self.get(name) {
            return number;
        }
        let name = owned(name);
        self.names.push(name.clone());
        self.numbers.insert(name, self.names.len() - 1);
        self.names.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CsvTable, write};
    use crate::view::ReportTrial;

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
            let mut table = CsvTable::new(format!("run {place}"));
            // A row that another has replaced, which measured what no other did.
            table.take(&(&trial("gone", &[metric("none", 1.0)])).into());
            let metrics = [metric("b", 2.5), metric("a,", 1e21)];
            let cells = table.take(&(&trial(text, &metrics[..place % 3])).into());
            let meta = r#"{"k":"v,w"}"#;
            table.add(cells.clone(), &["x".into(), "y".into()], meta);
            table.add(cells, &[], "");
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
