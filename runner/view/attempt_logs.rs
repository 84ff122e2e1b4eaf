//! [`SpokenAttempts`]: what guests have said in their attempts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{trial::AttemptName, version::DocumentVersion, written};
use crate::{
    model::{Outcome, visible_line},
    record::{
        LiveSaid, LogLineRecord, Row, RunId, Said,
        words::{self, WordSchema},
    },
};

/// The document of `runner logs RUN TRIAL --json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpokenAttempts {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The run's id.
    #[serde(serialize_with = "written::shown")]
    #[schemars(with = "String")]
    pub run: RunId,
    /// The attempts of the trials that were asked for, in the order of their rows; behind these are those that go on.
    pub attempts: Vec<SpokenAttempt>,
}

/// What was said in one attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpokenAttempt {
    /// Which one it is.
    #[serde(flatten)]
    pub name: AttemptName,
    /// What the attempt came to; `null` where it goes on, or its process has died.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<Outcome>>")]
    pub outcome: Option<Outcome>,
    /// The records of its log.
    pub log: Vec<Value>,
    /// Its standard output, where that is not the reply itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// What the graders said beside their answers that were asked of it; absent where none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graders: Vec<SpokenGrader>,
    /// Its row, if it has ended.
    #[serde(skip)]
    pub row: Option<Row<'static>>,
    /// The lines of its log, those that are not valid JSON included.
    #[serde(skip)]
    pub log_text: String,
}

/// What a grader said in its last attempt at an output, beside its answer: the end of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpokenGrader {
    /// Its name.
    pub grader: String,
    /// The records of its log.
    pub log: Vec<LogLineRecord<'static>>,
    /// Its standard output, where that is not the answer itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A record of a guest's log, as a line of JSON, on one line: `TIME info message key=value`, its time as `clock` shows it. What
/// is no record is left as it is.
pub fn said_line(line: &str, clock: impl FnOnce(Timestamp) -> String) -> String {
    let Ok(record) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let text = |key: &str| record[key].as_str().unwrap_or_default();
    let at = text("at").parse().ok().map(clock);
    let mut words: Vec<_> = at.into_iter().collect();
    words.extend([text("level"), text("message")].map(str::to_owned));
    for (name, value) in record["fields"].as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        words.push(format!("{name}={value}"));
    }
    visible_line(&words.join(" ")).into_owned()
}

/// The same of a record that was read.
pub fn said_record(record: &LogLineRecord<'_>, clock: impl FnOnce(Timestamp) -> String) -> String {
    // Texts can always be written as JSON.
    let line = serde_json::to_string(record).unwrap_or_default();
    said_line(&line, clock)
}

impl SpokenAttempts {
    /// The key of the list of attempts, which may be too long to be held.
    pub const ATTEMPTS: &str = "attempts";
}

impl SpokenAttempt {
    /// What an attempt has said: its log, which has a JSON object on each line, and its two outputs.
    pub fn new(row: Row<'static>, said: Said) -> Self {
        let name = AttemptName {
            trial: row.trial.clone().into_owned(),
            number: row.attempt,
        };
        Self::of(name, Some(row), said)
    }

    /// What an attempt has said so far that has not ended.
    pub fn of_live(live: LiveSaid) -> Self {
        let name = AttemptName {
            trial: live.trial,
            number: live.key.number,
        };
        Self::of(name, None, live.said)
    }

    fn of(name: AttemptName, row: Option<Row<'static>>, said: Said) -> Self {
        let Said {
            log: log_text,
            stdout,
            stderr,
        } = said;
        let records = log_text.lines();
        let grades = row.iter().flat_map(|row| &row.grades);
        let graders = grades.map(|grade| SpokenGrader {
            grader: grade.grader.to_string(),
            log: grade.log.clone(),
            stdout: grade.stdout.to_string(),
            stderr: grade.stderr.to_string(),
        });
        Self {
            name,
            outcome: row.as_ref().map(|row| row.outcome),
            log: records
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            stdout,
            stderr,
            graders: graders.collect(),
            row,
            log_text,
        }
    }
}
