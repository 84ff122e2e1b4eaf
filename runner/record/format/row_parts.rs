//! Parts of rows that judgements have as well.

use std::{borrow::Cow, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    log_record::LogLineRecord,
    numbers::{finite, milliseconds},
    row_digest::RowDigest,
    words::{self, CodeSchema, WordSchema},
};
use crate::model::{self, CheckVerdict, ErrorClass};

/// A number that the provider measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowMetric<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: f64,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Cow<'a, str>>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowError<'a> {
    /// What kind of failure it is; absent for timeouts and stops.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<ErrorClass>>")]
    pub class: Option<ErrorClass>,
    /// A short stable word: the provider's own, one of the runner, or the name of a trap.
    #[schemars(with = "CodeSchema")]
    pub code: Cow<'a, str>,
    /// For people.
    pub message: Cow<'a, str>,
    /// How long the provider asked to wait before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<f64>,
}

impl RowError<'_> {
    /// Its code, or what kind of failure it is where the provider gave it none.
    pub fn word(&self) -> &str {
        match (&*self.code, self.class) {
            ("", Some(class)) => class.as_str(),
            (code, _) => code,
        }
    }

    /// All of it, on one line: `code: message`.
    pub fn told(&self) -> String {
        let word = self.word();
        let separator = if word.is_empty() { "" } else { ": " };
        format!("{word}{separator}{}", self.message)
    }
}

/// What an attempt used; what is absent is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RowUsage {
    /// The largest sum of the sizes of the guest's memories, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub peak_memory: u64,
    /// Calls of the contract's imports.
    #[serde(skip_serializing_if = "is_zero")]
    pub host_calls: u64,
    /// HTTP requests that were sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub http_requests: u64,
    /// Bytes handed to the guest.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Bytes taken from the guest.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Fuel burnt, where it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl<'a> RowMetric<'a> {
    pub(in crate::record) fn new(metric: &'a model::Metric) -> Option<Self> {
        Some(Self {
            name: metric.name.as_str().into(),
            value: finite(Some(metric.value))?,
            unit: metric.unit.as_deref().map(Cow::Borrowed),
        })
    }
}

impl<'a> RowError<'a> {
    pub(in crate::record) fn new(error: &'a model::AttemptError) -> Self {
        Self {
            class: error.class,
            code: error.code.as_str().into(),
            message: error.message.as_str().into(),
            retry_after_ms: error.retry_after.map(milliseconds),
        }
    }
}

impl RowUsage {
    pub(in crate::record) fn new(usage: model::Usage) -> Self {
        Self {
            peak_memory: usage.peak_memory,
            host_calls: usage.host_calls,
            http_requests: usage.http_requests,
            bytes_in: usage.bytes_in,
            bytes_out: usage.bytes_out,
            fuel: usage.fuel,
        }
    }
}

/// What a grader said of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowGrade<'a> {
    /// The grader's name.
    pub grader: Cow<'a, str>,
    /// Whether it let the attempt pass; absent where it came to none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub verdict: Option<CheckVerdict>,
    /// What it said itself of that; absent where it only gave a score.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub own_verdict: Option<CheckVerdict>,
    /// Its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The least score that passes; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// Why, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Cow<'a, str>>,
    /// The first 16 digits of the digest of what it was asked, and of everything of it that decides what it says; absent if it
    /// could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<RowDigest>,
    /// Whether it was said of the same output before, and stands: the grader was not asked again. Absent where it was asked.
    #[serde(rename = "kept", default, skip_serializing_if = "is_false")]
    pub is_kept: bool,
    /// What it measured, such as what it cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<RowMetric<'a>>,
    /// What it used.
    #[serde(default)]
    pub usage: RowUsage,
    /// How often it was asked.
    pub attempts: u32,
    /// How long it took, all attempts together, in milliseconds.
    pub duration_ms: f64,
    /// Why it gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// The end of its log, in its last attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLineRecord<'a>>,
    /// The end of its standard output, where that is not the answer itself.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub stdout: Cow<'a, str>,
    /// The end of its standard error.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub stderr: Cow<'a, str>,
}

/// Which line says what an attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowJudged {
    /// The judgement's place in the run.
    pub seq: u64,
    /// The session that wrote it.
    pub session: u32,
    /// The first 16 digits of the digest of the scenario that it was judged by.
    pub scenario: RowDigest,
}

impl<'a> RowGrade<'a> {
    pub(in crate::record) fn new(grade: &'a model::Grade) -> Self {
        Self {
            grader: grade.grader.as_str().into(),
            verdict: grade.verdict,
            own_verdict: grade.own_verdict,
            score: finite(grade.score),
            least: finite(grade.least),
            asked: grade.asked.map(RowDigest::beginning_of),
            explanation: grade.explanation.as_deref().map(Cow::Borrowed),
            is_kept: grade.is_kept,
            metrics: grade.metrics.iter().filter_map(RowMetric::new).collect(),
            usage: RowUsage::new(grade.usage),
            attempts: grade.attempts,
            duration_ms: milliseconds(grade.duration),
            error: grade.error.as_ref().map(RowError::new),
            log: grade.log.iter().map(LogLineRecord::of).collect(),
            stdout: grade.stdout.as_str().into(),
            stderr: grade.stderr.as_str().into(),
        }
    }
}

impl RowGrade<'_> {
    /// What the grader answered, to stand again for what it was asked; `None` if it gave no answer.
    pub fn to_answer(&self) -> Option<model::Grade> {
        let error = self.error.as_ref();
        if error.is_some_and(|error| error.code != model::Grade::UNDECIDED) {
            return None;
        }
        let millis = self.duration_ms.max(0.0) / 1e3;
        Some(model::Grade {
            grader: self.grader.to_string(),
            verdict: self.verdict,
            own_verdict: self.own_verdict,
            score: self.score,
            least: self.least,
            explanation: self.explanation.as_deref().map(str::to_owned),
            asked: None,
            is_kept: true,
            metrics: self.metrics.iter().map(RowMetric::to_metric).collect(),
            usage: self.usage.to_usage(),
            attempts: self.attempts,
            duration: Duration::try_from_secs_f64(millis).unwrap_or_default(),
            // That it is undecided is decided anew.
            error: None,
            log: self.log.iter().map(LogLineRecord::to_record).collect(),
            stdout: self.stdout.to_string(),
            stderr: self.stderr.to_string(),
        })
    }
}

impl RowMetric<'_> {
    fn to_metric(&self) -> model::Metric {
        model::Metric {
            name: self.name.to_string(),
            value: self.value,
            unit: self.unit.as_deref().map(str::to_owned),
        }
    }
}

impl RowUsage {
    fn to_usage(self) -> model::Usage {
        let Self {
            peak_memory,
            host_calls,
            http_requests,
            bytes_in,
            bytes_out,
            fuel,
        } = self;
        model::Usage {
            peak_memory,
            host_calls,
            http_requests,
            bytes_in,
            bytes_out,
            fuel,
        }
    }
}

pub(in crate::record) fn is_false(value: &bool) -> bool {
    !value
}

pub(in crate::record) fn is_zero(number: &u64) -> bool {
    *number == 0
}
