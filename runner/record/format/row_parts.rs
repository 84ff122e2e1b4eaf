//! Parts of rows that judgements have as well.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
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
    /// Its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Cow<'a, str>>,
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
            score: finite(grade.score),
            explanation: grade.explanation.as_deref().map(Cow::Borrowed),
            metrics: grade.metrics.iter().filter_map(RowMetric::new).collect(),
            usage: RowUsage::new(grade.usage),
            attempts: grade.attempts,
            duration_ms: milliseconds(grade.duration),
            error: grade.error.as_ref().map(RowError::new),
        }
    }
}

pub(in crate::record) fn is_zero(number: &u64) -> bool {
    *number == 0
}
