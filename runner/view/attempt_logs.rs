//! [`SpokenAttempts`]: what guests have said in their attempts.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{trial::AttemptName, version::DocumentVersion, written};
use crate::{
    model::Outcome,
    record::{
        Row, RunId, Said,
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
    /// The attempts of the trials that were asked for, in the order of their rows.
    pub attempts: Vec<SpokenAttempt>,
}

/// What was said in one attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpokenAttempt {
    /// Which one it is.
    #[serde(flatten)]
    pub name: AttemptName,
    /// What the attempt came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// The records of its log.
    pub log: Vec<Value>,
    /// Its standard output, where that is not the reply itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its row.
    #[serde(skip)]
    pub row: Row<'static>,
    /// The lines of its log, those that are not valid JSON included.
    #[serde(skip)]
    pub log_text: String,
}

impl SpokenAttempt {
    /// What an attempt has said: its log, which has a JSON object on each line, and its two outputs.
    pub fn new(row: Row<'static>, said: Said) -> Self {
        let Said {
            log: log_text,
            stdout,
            stderr,
        } = said;
        let records = log_text.lines();
        Self {
            name: AttemptName {
                trial: row.trial.clone().into_owned(),
                number: row.attempt,
            },
            outcome: row.outcome,
            log: records
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            stdout,
            stderr,
            row,
            log_text,
        }
    }
}
