//! Logs and output of guests, in the order of their attempts' rows.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use runner_model::log::{Level, LogLine, Said};
use runner_model::protocol::{CallLine, Entry, Exchange};
use runner_model::row::{Grade, read_line};
use runner_model::{RowRef, Text, Time, TrialId, units::show_duration};
use runner_record::{JournalKey, Journals, ReadLine, RecordError, RunDir};
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
    /// Number of a request, from 1. Present for calls only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
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
    /// A request in the journal. Only with `--calls`.
    Call,
}

/// Position in the logs of a run.
#[derive(Debug, Default)]
pub struct Reading {
    from: u64,
    /// Numbers of the rows that were read. Another program may have sorted the file, or a last row was read without its line
    /// break.
    rows: HashSet<u64>,
    /// Hashes of the grades whose logs were read. Later rows of a trial repeat its grades.
    grades: HashSet<u64>,
    /// Lines of the rows that cannot be read. The output of their attempts is left out.
    pub damaged: u64,
    /// Journals by the hash of their trial. `None` if calls are left out.
    journals: Option<Journals>,
}

impl Reading {
    /// Returns the start of the logs, with the calls in the journal among the entries.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    pub fn with_calls(run: &RunDir) -> Result<Self, RecordError> {
        let number = |line: &CallLine<'_>| Some(hash(&line.trial));
        let journals =
            run.snapshot(|| Journals::read(run, &run.manifest()?, &number, &mut |_, _| {}))?;
        Ok(Self { journals: Some(journals), ..Self::default() })
    }

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
        self.from = run.read_lines_from(self.from, &mut |_, line| {
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
        if row.judged.is_none() {
            let mut calls = self.calls(run, row, None, &mut each);
            match run.log(row) {
                Ok(Some(line)) => {
                    if let Ok(read) = serde_json::from_str::<LogLine<'_>>(&line) {
                        entries(&read, &mut calls, &mut |entry| each(Ok(entry)));
                    }
                }
                Ok(None) => {}
                Err(error) => each(Err(error)),
            }
            calls.into_iter().for_each(|call| each(Ok(call)));
        }
        for grade in &row.grades {
            let Grade { grader, attempt, log, calls, .. } = grade;
            let is_wanted = log.is_some() || calls.is_some();
            if !is_wanted
                || !self.grades.insert(hash(&(&row.trial, row.attempt, &**grader, attempt, log)))
            {
                continue;
            }
            let calls = self.calls(run, row, Some(grade), &mut each);
            calls.into_iter().for_each(|call| each(Ok(call)));
            if let Some(log) = log {
                let session = row.session.unwrap_or(1);
                let entry = LogEntry::new(&row.trial, *attempt, session, Stream::Log, log);
                each(Ok(LogEntry { grader: Some(grader.to_string()), ..entry }));
            }
        }
    }

    /// Returns the calls of an attempt, or of a grader of its output, in the order of their numbers.
    fn calls(
        &self,
        run: &RunDir,
        row: &RowRef<'_>,
        grade: Option<&Grade<'_>>,
        each: &mut impl FnMut(Result<LogEntry, RecordError>),
    ) -> VecDeque<LogEntry> {
        let trial = hash(&row.trial);
        let key = match grade {
            Some(grade) => JournalKey::of_grade(trial, row, grade),
            None => JournalKey::new(trial, row.attempt),
        };
        let journal = self.journals.as_ref().and_then(|journals| journals.get(&key));
        let Some(journal) = journal else { return VecDeque::new() };
        let lines = run.call_lines(journal).unwrap_or_else(|error| {
            each(Err(error));
            Vec::new()
        });
        let mut calls: Vec<_> = lines.split(|byte| *byte == b'\n').filter_map(call).collect();
        calls.sort_by_key(|entry| entry.call);
        calls.into()
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
            call: None,
            at: None,
            level: None,
            text: text.to_owned(),
            fields: Vec::new(),
        }
    }
}

/// Reads a call from a line of a journal. `None` if it is not an exchange.
fn call(line: &[u8]) -> Option<LogEntry> {
    let line: CallLine<'_> = serde_json::from_slice(line).ok()?;
    let Entry::Exchange(exchange) = Entry::read(line.entry.get().as_bytes()).ok()? else {
        return None;
    };
    let Exchange { number, took_us, request, response, failure, .. } = exchange;
    let result = match (response, failure) {
        (Some(response), _) => response.status.to_string(),
        (None, failure) => failure.map(|failure| failure.message.to_string()).unwrap_or_default(),
    };
    let took = show_duration(Duration::from_micros(took_us));
    let text = format!("{number} {} {}: {result}, {took}", &*request.method, &*request.url);
    let attempt = if line.grader.is_some() { line.tries } else { line.attempt };
    let entry = LogEntry::new(&line.trial, attempt, line.session, Stream::Call, &text);
    let grader = line.grader.map(|grader| grader.to_string());
    Some(LogEntry { grader, call: Some(number), ..entry })
}

/// Calls `each` for the records and the outputs of an attempt, and for its calls among them.
fn entries(line: &LogLine<'_>, calls: &mut VecDeque<LogEntry>, each: &mut dyn FnMut(LogEntry)) {
    let LogLine { trial, attempt, session, said, .. } = line;
    for record in &said.log {
        while let Some(call) = calls.pop_front_if(|call| call.call <= Some(record.calls)) {
            each(call);
        }
        let fields = record.fields.iter();
        each(LogEntry {
            at: Some(record.at),
            level: Some(record.level),
            fields: fields.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            ..LogEntry::new(trial, *attempt, *session, Stream::Log, &record.message)
        });
    }
    calls.drain(..).for_each(&mut *each);
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
