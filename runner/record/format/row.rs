//! [`Row`]: one line of `index.jsonl`.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{
    entry::Entry,
    mark::{AttemptKey, Mark},
    numbers::{finite, milliseconds, some_milliseconds},
    row_digest::RowDigest,
    row_parts::{RowError, RowGrade, RowJudged, RowMetric, RowUsage, is_false},
    words::{self, DigestSchema, InstantSchema, WordSchema},
};
use crate::model::{self, CheckVerdict, Digest, Outcome};

/// The version of the form of lines that say all of an attempt and what it means.
pub(in crate::record) const VERSION: u32 = 2;
/// The version of those that need another line beside them: attempts that have yet to be graded, and judgements. Whoever does
/// not know the one kind must not read the other.
pub(in crate::record) const APART: u32 = 3;
/// The deepest value in a row; readers of JSON give up at 128, and the row around it counts.
const MAX_DEPTH: usize = 100;

/// One finished attempt: all that its line of `index.jsonl` says, with what follows from it.
///
/// Lines of version 1 have these keys, and their checksum as `crc`; those of version 2 are shorter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row<'a> {
    /// The version of the form of its line: 1, 2, or 3 for an attempt that had yet to be graded when it was written.
    pub v: u32,
    /// The row's place in the run, from 1.
    pub seq: u64,
    /// The session that wrote it, from 1.
    pub session: u32,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id: `test@provider#repeat`.
    pub trial: Cow<'a, str>,
    /// The test's id.
    pub test: Cow<'a, str>,
    /// The provider's name.
    pub provider: Cow<'a, str>,
    /// Which of the test's repeats, from 1.
    pub repeat: u32,
    /// Which execution of the trial, from 1.
    pub attempt: u32,
    /// Whether this attempt settles its trial.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What the attempt came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// Whether the trial passed only after an attempt that did not.
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
    pub checks: Vec<RowCheck<'a>>,
    /// What the provider measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<RowMetric<'a>>,
    /// What the thing under test produced.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub output: Option<RowOutput<'a>>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// When the attempt began.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub started_at: Timestamp,
    /// How long it took, by the monotonic clock, without the time in which the runner's process was stopped.
    pub duration_ms: f64,
    /// For how long the runner's process was stopped meanwhile; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_ms: Option<f64>,
    /// The worker on another machine that made it; absent where it was made on the runner's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Cow<'a, str>>,
    /// What it used.
    #[serde(default)]
    pub usage: RowUsage,
    /// What it tried and was not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<RowDenied<'a>>,
    /// Files of this attempt, below the run directory's `artifacts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<RowArtifact<'a>>,
    /// Where what was said in this attempt is: its log and its standard streams. Absent if nothing was, and in rows of
    /// version 0.1.0, which has written these texts into files below `artifacts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<RowLogs>,
    /// Digest of everything that decides what the provider does, of which lines of version 2 have the first 16 digits. In
    /// rows without `judgement_fingerprint`, which version 0.1.0 wrote, also of the test's expectations, and by another
    /// recipe.
    pub fingerprint: RowDigest,
    /// Digest of everything that decides what that means: the test's expectations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement_fingerprint: Option<RowDigest>,
    /// Whether checks or texts were cut, because a line has at most 256 KiB.
    #[serde(rename = "truncated", default, skip_serializing_if = "is_false")]
    pub is_truncated: bool,
    /// What graders said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<RowGrade<'a>>,
    /// Where the judgement is that all of this goes by; absent where that is the attempt's own line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<RowJudged>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowCheck<'a> {
    /// The expectation's key, or the provider's name for it.
    pub name: Cow<'a, str>,
    /// Whether it held.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<CheckVerdict>")]
    pub verdict: CheckVerdict,
    /// A score from the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why it did not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// What was expected.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub expected: Option<Cow<'a, Value>>,
    /// What came.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub actual: Option<Cow<'a, Value>>,
    /// A line diff from expected to actual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Cow<'a, str>>,
    /// The provider's own details.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub details: Option<Cow<'a, Value>>,
}

impl RowCheck<'_> {
    /// What was expected and what came, where the message has not said both with their units.
    pub fn compared(&self) -> [Option<&Value>; 2] {
        match (self.name.as_ref(), &self.message) {
            ("max_duration" | "max_memory", Some(_)) => [None, None],
            _ => [self.expected.as_deref(), self.actual.as_deref()],
        }
    }
}

/// What the thing under test produced: the value itself, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RowOutput<'a> {
    /// It is in a file of its own: it has more than 64 KiB as JSON, is nested very deeply, or looks like this itself.
    Stored(StoredOutput<'a>),
    /// It is here.
    Inline(Cow<'a, Value>),
}

/// An output in a file of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredOutput<'a> {
    /// The file's name among the attempt's artifacts.
    pub artifact: Cow<'a, str>,
    /// The digest of its content.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub sha256: Digest,
    /// The length of its content.
    pub bytes: u64,
}

/// Something that the guest tried and was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowDenied<'a> {
    /// What it tried.
    pub what: Cow<'a, str>,
    /// What would allow it, as a line of the provider's `grants`; absent where nothing could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Cow<'a, str>>,
}

/// A file of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowArtifact<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What is in it.
    pub media_type: Cow<'a, str>,
    /// Its length.
    pub bytes: u64,
}

/// Where what was said in an attempt is: a line of `logs-<session>-<file>.jsonl` in the run directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowLogs {
    /// Which of the files of the row's session, from 1.
    pub file: u32,
    /// Where in the file the line begins, in bytes.
    pub at: u64,
    /// The line's length with its newline, in bytes.
    pub bytes: u64,
}

/// Where a row is in its run.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct RowPlace {
    pub(in crate::record) seq: u64,
    pub(in crate::record) session: u32,
}

impl<'a> Row<'a> {
    /// Makes the row of an attempt, whose files and logs are the caller's to add.
    pub(in crate::record) fn new(entry: &'a Entry, place: RowPlace) -> Self {
        let attempt = &entry.attempt;
        Self {
            v: version_of(attempt.outcome),
            seq: place.seq,
            session: place.session,
            ordinal: attempt.ordinal,
            trial: attempt.trial.to_string().into(),
            test: attempt.trial.test.as_str().into(),
            provider: attempt.trial.provider.as_str().into(),
            repeat: attempt.trial.repeat,
            attempt: attempt.number,
            is_final: entry.is_final,
            outcome: attempt.outcome,
            is_flaky: entry.is_flaky,
            score: finite(attempt.score),
            verdict: attempt.verdict,
            summary: attempt.summary.as_deref().map(Cow::Borrowed),
            checks: attempt.checks.iter().map(RowCheck::new).collect(),
            metrics: attempt.metrics.iter().filter_map(RowMetric::new).collect(),
            output: attempt
                .output
                .as_ref()
                .map(|output| RowOutput::Inline(Cow::Borrowed(output))),
            error: attempt.error.as_ref().map(RowError::new),
            started_at: attempt.started_at,
            duration_ms: milliseconds(attempt.duration),
            suspended_ms: some_milliseconds(attempt.suspended),
            worker: attempt.worker.as_deref().map(Cow::Borrowed),
            usage: RowUsage::new(attempt.usage),
            denied: attempt.denied.iter().map(RowDenied::new).collect(),
            artifacts: Vec::new(),
            logs: None,
            fingerprint: RowDigest::beginning_of(entry.fingerprint.execution),
            judgement_fingerprint: Some(RowDigest::beginning_of(entry.fingerprint.judgement)),
            is_truncated: false,
            grades: Vec::new(),
            judged: None,
        }
    }

    /// What of the row decides state.
    pub fn mark(&self) -> Mark {
        Mark {
            key: AttemptKey {
                ordinal: self.ordinal,
                number: self.attempt,
            },
            outcome: self.outcome,
            is_final: self.is_final,
            is_flaky: self.is_flaky,
        }
    }
}

/// The version of an attempt's line.
pub(in crate::record) fn version_of(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Ungraded => APART,
        _ => VERSION,
    }
}

impl RowCheck<'_> {
    /// The check itself.
    pub fn to_check(&self) -> model::Check {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let value = |value: &Option<Cow<'_, Value>>| value.as_deref().cloned();
        model::Check {
            name: self.name.clone().into_owned().into(),
            verdict: self.verdict,
            score: self.score,
            message: owned(&self.message),
            expected: value(&self.expected),
            actual: value(&self.actual),
            diff: owned(&self.diff),
            details: value(&self.details),
        }
    }
}

impl<'a> RowCheck<'a> {
    /// A check that held, of which there is nothing else to say.
    pub(in crate::record) fn held(name: Cow<'a, str>) -> Self {
        Self {
            name,
            verdict: CheckVerdict::Pass,
            score: None,
            message: None,
            expected: None,
            actual: None,
            diff: None,
            details: None,
        }
    }

    pub(in crate::record) fn new(check: &'a model::Check) -> Self {
        Self {
            name: (*check.name).into(),
            verdict: check.verdict,
            score: finite(check.score),
            message: check.message.as_deref().map(Cow::Borrowed),
            expected: readable(check.expected.as_ref()),
            actual: readable(check.actual.as_ref()),
            diff: check.diff.as_deref().map(Cow::Borrowed),
            details: readable(check.details.as_ref()),
        }
    }
}

impl<'a> RowDenied<'a> {
    /// As a row has it.
    pub fn new(denied: &'a model::Denied) -> Self {
        Self {
            what: denied.what.as_str().into(),
            grant: denied.grant.as_ref().map(|grant| grant.to_string().into()),
        }
    }
}

/// By hand, because whatever is untagged is held as another tree first.
impl<'de> Deserialize<'de> for RowOutput<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.get("artifact").is_some()
            && let Ok(stored) = StoredOutput::deserialize(&value)
        {
            return Ok(Self::Stored(stored.into_owned()));
        }
        Ok(Self::Inline(Cow::Owned(value)))
    }
}

impl StoredOutput<'_> {
    fn into_owned<'a>(self) -> StoredOutput<'a> {
        StoredOutput {
            artifact: self.artifact.into_owned().into(),
            ..self
        }
    }
}

/// A value that can be read back; one that cannot is left out.
fn readable(value: Option<&Value>) -> Option<Cow<'_, Value>> {
    value.filter(|value| !is_deep(value)).map(Cow::Borrowed)
}

/// Tells whether a value is nested so deeply that a line with it could not be read back.
pub(in crate::record) fn is_deep(value: &Value) -> bool {
    fn exceeds(value: &Value, room: usize) -> bool {
        match value {
            Value::Array(items) => room == 0 || items.iter().any(|item| exceeds(item, room - 1)),
            Value::Object(map) => room == 0 || map.values().any(|item| exceeds(item, room - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    exceeds(value, MAX_DEPTH)
}

/// Reads a value that is there, so that `null` is told from nothing.
pub(in crate::record) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
