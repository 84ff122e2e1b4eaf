//! Logs and output of guests, in the order of their attempts' rows.

use std::collections::HashSet;

use runner_model::log::{Level, LogLine, Said};
use runner_model::{RowRef, Text, Time, TrialId, row::read_line};
use runner_record::{ReadLine, RecordError, RunDir};
use runner_results::hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::VERSION;

/// A log record or an output of an attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogEntry {
    /// Always [`VERSION`].
    pub v: u8,
    pub trial: TrialId,
    /// The grader whose log it is. Absent for the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grader: Option<String>,
    /// Number of the attempt of the provider or grader, from 1.
    pub attempt: u32,
    /// Number of the session, from 1.
    pub session: u32,
    /// Source of the text.
    pub stream: Stream,
    /// Present for log records only.
    pub at: Option<Time>,
    /// Present for log records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Text of a log record, the whole output, or the end of a grader's log and standard error.
    pub text: String,
    /// Fields of a log record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// Source of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Log records, and the logs of graders.
    Log,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Position in the logs of a run.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    from: u64,
    /// Numbers of the rows that were read. Another program may have sorted the file, or a last row was read without its line
    /// break.
    rows: HashSet<u64>,
    /// Hashes of the grades whose logs were read. Later rows of a trial repeat its grades.
    grades: HashSet<u64>,
    /// Lines of the rows that cannot be read. The output of their attempts is left out.
    pub damaged: u64,
}

impl Reading {
    /// Reads the entries of attempts whose rows were added since the last call. `is_wanted` selects trials. `each` also
    /// receives errors of lines that cannot be read.
    ///
    /// # Errors
    ///
    /// The rows cannot be read.
    pub fn read(
        &mut self,
        run: &RunDir,
        is_wanted: impl Fn(&TrialId) -> bool,
        mut each: impl FnMut(Result<LogEntry, RecordError>),
    ) -> Result<(), RecordError> {
        self.from = run.rows_from(self.from, &mut |_, line| {
            let ReadLine::Row(head, bytes) = line else {
                self.damaged += u64::from(matches!(line, ReadLine::Damaged(_)));
                return;
            };
            if !self.rows.insert(head.seq) || !is_wanted(&head.trial) {
                return;
            }
            let Ok(row) = read_line(bytes) else {
                self.damaged += 1;
                return;
            };
            self.read_row(run, &row, &mut each);
        })?;
        Ok(())
    }

    /// Reads the entries of a row, without the logs of grades that earlier rows had.
    pub fn read_row(
        &mut self,
        run: &RunDir,
        row: &RowRef<'_>,
        mut each: impl FnMut(Result<LogEntry, RecordError>),
    ) {
        // A judged row repeats the log of its attempt.
        let log = if row.judged.is_none() { run.log(row) } else { Ok(None) };
        match log {
            Ok(Some(line)) => {
                if let Ok(read) = serde_json::from_str::<LogLine<'_>>(&line) {
                    entries(&read, &mut |entry| each(Ok(entry)));
                }
            }
            Ok(None) => {}
            Err(error) => each(Err(error)),
        }
        for grade in &row.grades {
            if let Some(log) = &grade.log
                && self.grades.insert(hash(&(
                    &row.trial,
                    row.attempt,
                    &*grade.grader,
                    grade.attempt,
                    log,
                )))
            {
                let session = row.session.unwrap_or(1);
                let entry = LogEntry::new(&row.trial, grade.attempt, session, Stream::Log, log);
                each(Ok(LogEntry { grader: Some(grade.grader.to_string()), ..entry }));
            }
        }
    }
}

impl LogEntry {
    /// Creates an entry of a provider that is not a record.
    pub(super) fn new(
        trial: &TrialId,
        attempt: u32,
        session: u32,
        stream: Stream,
        text: &str,
    ) -> Self {
        Self {
            v: VERSION,
            trial: trial.clone(),
            grader: None,
            attempt,
            session,
            stream,
            at: None,
            level: None,
            text: text.to_owned(),
            fields: Vec::new(),
        }
    }
}

/// Calls `each` for the records and the outputs of an attempt.
fn entries(line: &LogLine<'_>, each: &mut dyn FnMut(LogEntry)) {
    let LogLine { trial, attempt, session, said, .. } = line;
    for record in &said.log {
        let fields = record.fields.iter();
        each(LogEntry {
            at: Some(record.at),
            level: Some(record.level),
            fields: fields.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            ..LogEntry::new(trial, *attempt, *session, Stream::Log, &record.message)
        });
    }
    let dropped = match said.dropped {
        0 => String::new(),
        count => format!("{count} more records were over the limit and were dropped"),
    };
    let stderr = without_records(said);
    let texts =
        [(Stream::Log, &*dropped), (Stream::Stdout, &said.stdout), (Stream::Stderr, &stderr)];
    for (stream, text) in texts.into_iter().filter(|(_, text)| !text.trim().is_empty()) {
        each(LogEntry::new(trial, *attempt, *session, stream, text));
    }
}

/// A log record on standard error of a command with the JSON protocol.
#[derive(Deserialize)]
pub(crate) struct JsonRecord<'a> {
    pub(crate) level: Level,
    #[serde(borrow)]
    pub(crate) message: Text<'a>,
}

impl<'a> JsonRecord<'a> {
    /// Parses a line. `None` if it is another text.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        line.starts_with('{').then(|| serde_json::from_str(line).ok())?
    }
}

/// Returns standard error without the lines that are log records of the attempt.
pub(crate) fn without_records(said: &Said<'_>) -> String {
    let records: HashSet<(Level, &str)> =
        said.log.iter().map(|record| (record.level, &*record.message)).collect();
    let others = said.stderr.split_inclusive('\n').filter(|line| match JsonRecord::parse(line) {
        Some(record) => !records.contains(&(record.level, &*record.message)),
        None => !records.contains(&(Level::Info, line.trim_end_matches(['\r', '\n']))),
    });
    others.collect()
}
