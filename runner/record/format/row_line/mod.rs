//! [`RowLine`]: a row as its line has it, without what follows from the rest and without what is usual.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    numbers::finite,
    row::{Row, RowArtifact, RowCheck, RowDenied, RowLogs, RowOutput, present, version_of},
    row_digest::{LineFingerprint, RowDigest},
    row_parts::{RowError, RowMetric, RowUsage, is_false, is_zero},
    words::{self, WordSchema},
};
use crate::model::{self, CheckVerdict, Outcome};

/// One finished attempt: a line of `index.jsonl`.
///
/// The line ends with a key `crc` that is not part of this type: the CRC-32 (IEEE) of all bytes of the line before
/// `,"crc":`, as 8 hexadecimal digits. The keys `worker` and `origin` are reserved. What `--json` prints of an attempt is a
/// [`Row`], with all that follows from this: the test, the provider and the repeat, and what is absent here because it is
/// usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowLine<'a> {
    /// The version of the format: 2, or 3 where the outcome is `ungraded`.
    #[schemars(range(min = 2))]
    pub v: u32,
    /// The row's place in the run, from 1.
    pub seq: u64,
    /// The session that wrote it; absent for the first one, which has number 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub session: u32,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id: `test@provider#repeat`.
    pub trial: Cow<'a, str>,
    /// Which execution of the trial; absent for the first one, which has number 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempt: u32,
    /// Whether this attempt settles its trial; absent where it does.
    #[serde(rename = "final", default = "yes", skip_serializing_if = "is_true")]
    pub is_final: bool,
    /// What the attempt came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// Whether the trial passed only after an attempt that did not; absent where it is not so.
    #[serde(rename = "flaky", default, skip_serializing_if = "is_false")]
    pub is_flaky: bool,
    /// The provider's score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The provider's own verdict, where it gave one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_word"
    )]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub verdict: Option<CheckVerdict>,
    /// The provider's summary of its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Cow<'a, str>>,
    /// What was checked: the scenario's expectations, then the provider's own checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<LineCheck<'a>>,
    /// What the provider measured.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub metrics: Cow<'a, [RowMetric<'a>]>,
    /// What the thing under test produced.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub output: Option<Cow<'a, RowOutput<'a>>>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, RowError<'a>>>,
    /// When the attempt began, in milliseconds since the beginning of 1970 in UTC.
    #[serde(rename = "began")]
    pub started_at: i64,
    /// How long it took, in milliseconds, by the monotonic clock, without the time in which the runner's process was stopped.
    #[serde(rename = "ms")]
    pub duration_ms: f64,
    /// For how long the runner's process was stopped meanwhile; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_ms: Option<f64>,
    /// The worker on another machine that made it; absent where it was made on the runner's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Cow<'a, str>>,
    /// What it used; absent where it is nothing.
    #[serde(default, skip_serializing_if = "LineUsage::is_nothing")]
    pub usage: LineUsage,
    /// What it tried and was not granted.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub denied: Cow<'a, [RowDenied<'a>]>,
    /// Files of this attempt, below the run directory's `artifacts`.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub artifacts: Cow<'a, [RowArtifact<'a>]>,
    /// Where what was said in this attempt is: its log and its standard streams. Absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<RowLogs>,
    /// What decides the result: the first 16 digits of the digest of everything that decides what the provider does, then
    /// the first 16 of the digest of everything that decides what that means.
    #[serde(rename = "digests")]
    pub fingerprint: LineFingerprint,
    /// Whether checks or texts were cut, because a line has at most 256 KiB; absent where they were not.
    #[serde(rename = "truncated", default, skip_serializing_if = "is_false")]
    pub is_truncated: bool,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LineCheck<'a> {
    /// It held, and there is nothing else to say: its name.
    Held(Cow<'a, str>),
    /// It did not, or there is more to say.
    Told(RowCheck<'a>),
}

/// What an attempt used; what is absent is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LineUsage {
    /// The largest sum of the sizes of the guest's memories, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// Calls of the contract's imports.
    #[serde(skip_serializing_if = "is_zero")]
    pub host_calls: u64,
    /// HTTP requests that were sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub http_requests: u64,
    /// Bytes handed to the guest.
    #[serde(rename = "in", skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Bytes taken from the guest.
    #[serde(rename = "out", skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Fuel burnt, where it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl<'a> RowLine<'a> {
    /// The line of a row.
    pub(in crate::record) fn of(row: &'a Row<'_>) -> Self {
        Self {
            v: version_of(row.outcome),
            seq: row.seq,
            session: row.session,
            ordinal: row.ordinal,
            trial: Cow::Borrowed(&row.trial),
            attempt: row.attempt,
            is_final: row.is_final,
            outcome: row.outcome,
            is_flaky: row.is_flaky,
            score: row.score,
            verdict: row.verdict,
            summary: row.summary.as_deref().map(Cow::Borrowed),
            checks: row.checks.iter().map(LineCheck::of).collect(),
            metrics: Cow::Borrowed(&row.metrics),
            output: row.output.as_ref().map(Cow::Borrowed),
            error: row.error.as_ref().map(Cow::Borrowed),
            started_at: row.started_at.as_millisecond(),
            duration_ms: row.duration_ms,
            suspended_ms: row.suspended_ms,
            worker: row.worker.as_deref().map(Cow::Borrowed),
            usage: LineUsage::of(row.usage),
            denied: Cow::Borrowed(&row.denied),
            artifacts: Cow::Borrowed(&row.artifacts),
            logs: row.logs,
            fingerprint: LineFingerprint::of(row.fingerprint, row.judgement_fingerprint),
            is_truncated: row.is_truncated,
        }
    }
}

impl RowLine<'static> {
    /// The row with all that follows from its line; the text of the error says what is wrong with it.
    pub(in crate::record) fn into_row(self) -> Result<Row<'static>, String> {
        let (test, provider, repeat) = parts(&self.trial);
        let started_at =
            Timestamp::from_millisecond(self.started_at).map_err(|error| error.to_string())?;
        let (execution, judgement) = self.fingerprint.parts();
        Ok(Row {
            v: self.v,
            seq: self.seq,
            session: self.session,
            ordinal: self.ordinal,
            test: test.to_owned().into(),
            provider: provider.to_owned().into(),
            repeat,
            trial: self.trial,
            attempt: self.attempt,
            is_final: self.is_final,
            outcome: self.outcome,
            is_flaky: self.is_flaky,
            score: self.score,
            verdict: self.verdict,
            summary: self.summary,
            checks: self.checks.into_iter().map(LineCheck::into_check).collect(),
            metrics: self.metrics.into_owned(),
            output: self.output.map(Cow::into_owned),
            error: self.error.map(Cow::into_owned),
            started_at,
            duration_ms: self.duration_ms,
            suspended_ms: self.suspended_ms,
            worker: self.worker,
            usage: self.usage.into_usage(),
            denied: self.denied.into_owned(),
            artifacts: self.artifacts.into_owned(),
            logs: self.logs,
            fingerprint: RowDigest::Beginning(execution),
            judgement_fingerprint: Some(RowDigest::Beginning(judgement)),
            is_truncated: self.is_truncated,
            grades: Vec::new(),
            judged: None,
        })
    }
}

/// Test, provider and repeat of a trial's id. Of a text that is none they do not make it again, and so it is found.
pub(in crate::record) fn parts(trial: &str) -> (&str, &str, u32) {
    let (test, rest) = trial.rsplit_once('@').unwrap_or((trial, ""));
    let (provider, repeat) = rest.rsplit_once('#').unwrap_or((rest, ""));
    (test, provider, repeat.parse().unwrap_or_default())
}

impl<'a> LineCheck<'a> {
    pub(in crate::record) fn of(check: &'a RowCheck<'_>) -> Self {
        if *check != RowCheck::held(Cow::Borrowed(&check.name)) {
            return Self::Told(check.clone());
        }
        Self::Held(Cow::Borrowed(&check.name))
    }

    /// The shortest form of a check.
    pub(in crate::record) fn shortest(check: &'a model::Check) -> Self {
        match has_only_held(check) {
            true => Self::Held((*check.name).into()),
            false => Self::Told(RowCheck::new(check)),
        }
    }

    pub(in crate::record) fn into_check(self) -> RowCheck<'a> {
        match self {
            Self::Held(name) => RowCheck::held(name),
            Self::Told(check) => check,
        }
    }
}

/// Tells whether there is no more to say of a check than that it held.
pub(in crate::record) fn has_only_held(check: &model::Check) -> bool {
    check.verdict == CheckVerdict::Pass
        && finite(check.score).is_none()
        && check.message.is_none()
        && check.expected.is_none()
        && check.actual.is_none()
        && check.diff.is_none()
        && check.details.is_none()
}

/// By hand, because whatever is untagged is held as a tree first.
impl<'de> Deserialize<'de> for LineCheck<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CheckVisitor;

        impl<'de> Visitor<'de> for CheckVisitor {
            type Value = LineCheck<'static>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a check or a check")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(LineCheck::Held(name.to_owned().into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, check: A) -> Result<Self::Value, A::Error> {
                RowCheck::deserialize(MapAccessDeserializer::new(check)).map(LineCheck::Told)
            }
        }

        deserializer.deserialize_any(CheckVisitor)
    }
}

impl LineUsage {
    fn of(usage: RowUsage) -> Self {
        Self {
            memory: usage.peak_memory,
            host_calls: usage.host_calls,
            http_requests: usage.http_requests,
            bytes_in: usage.bytes_in,
            bytes_out: usage.bytes_out,
            fuel: usage.fuel,
        }
    }

    fn into_usage(self) -> RowUsage {
        RowUsage {
            peak_memory: self.memory,
            host_calls: self.host_calls,
            http_requests: self.http_requests,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            fuel: self.fuel,
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

pub(in crate::record) fn one() -> u32 {
    1
}

pub(in crate::record) fn yes() -> bool {
    true
}

pub(in crate::record) fn is_one(number: &u32) -> bool {
    *number == 1
}

pub(in crate::record) fn is_true(flag: &bool) -> bool {
    *flag
}
