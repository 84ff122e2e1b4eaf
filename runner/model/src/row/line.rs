//! [`Row`], [`Tail`] and [`RowRef`]: writing and reading a line.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use thiserror::Error;

use super::parts::{
    Actor, Artifact, Calls, Denied, Grade, LogPlace, Metric, OUTPUT_REFERENCE, Raw, RowError, Usage,
};
use super::{metric_sums::MetricSums, row_check::Check};
use crate::enum_text::{default_weight, is_default, present};
use crate::transcript::{TRANSCRIPT, TranscriptResult};
use crate::workspace::{CHANGES, CONTENTS, WorkspaceResult};
use crate::{Fingerprint, Outcome, ProviderName, TestId, Text, Time, TrialId, outcome::Verdict};

/// The version of rows, their `v`.
pub const VERSION: u8 = 4;

/// The result of an attempt, from a worker, or from the coordinator for a worker that did not answer.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Row<'a> {
    /// Always [`VERSION`].
    #[schemars(extend("const" = VERSION))]
    pub v: u8,
    /// The trial, as `test@provider#repeat`.
    pub trial: TrialId,
    /// The test's id.
    pub test: TestId,
    /// The provider's name.
    pub provider: ProviderName,
    /// The trial's repeat, from 1.
    pub repeat: u32,
    /// The attempt of the trial, from 1.
    pub attempt: u32,
    /// Result of the attempt.
    pub outcome: Outcome,
    /// Start of the attempt, by the wall clock.
    pub started_at: Time,
    /// Time of the call in milliseconds, without `suspended_ms`.
    pub duration_ms: f64,
    /// Resources of the attempt.
    pub usage: Usage,
    /// The provider's output, which may be `null`. `{"$artifact": NAME}` refers to an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Raw<'a>>,
    /// The provider's own verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The provider's own score. The score of a trial is the mean of the scores in `grades`, or else this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The provider's summary of its reply, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Text<'a>>,
    /// The scenario's expectations, then the provider's own checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check<'a>>,
    /// Answers of graders, in the order of `expect.graders`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<Grade<'a>>,
    /// Measurements of the provider.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric<'a>>,
    /// Reason why there is no verdict. Present if the outcome is `error`, `timeout` or `stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// Actions of the guest that are not granted, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied<'a>>,
    /// Files of the attempt. A large output is the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact<'a>>,
    /// Whether parts were removed because they were too deep, or to keep the row within 256 KiB.
    #[serde(skip_serializing_if = "is_default")]
    pub truncated: bool,
    /// Time for which the attempt was paused, or the machine suspended, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub suspended_ms: f64,
    /// The attempt's exchanges in `calls.jsonl`. Only with `[run] journal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    /// How many times the attempt continued after an interruption, from its journal.
    #[serde(skip_serializing_if = "is_default")]
    pub continued: u32,
    /// What the attempt left in its workspace. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceResult>,
    /// The attempt's transcript. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptResult>,
    /// Whether the error is `unavailable` or `rate-limited`, and the attempt's last request failed as the runner saw it: with
    /// status 429 or 503, without a connection, by a cut response, or by a timeout of the request. Such an attempt makes no
    /// later pass flaky.
    #[serde(skip_serializing_if = "is_default")]
    pub service_failed: bool,
    /// The reason why the attempt was cut off: `timeout`, or the code of the limit's error. Absent without a kept workspace, by
    /// which graders can judge the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_by: Option<Text<'a>>,
}

/// The coordinator's keys of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tail {
    /// Hash of all that determines the provider's result.
    pub fingerprint: Fingerprint,
    /// Hash of all that determines how the result is judged.
    pub judgement_fingerprint: Fingerprint,
    /// The `seq` of the row whose output this one grades, or judges again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<u64>,
    /// The worker that made the attempt, if it is on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The user whose stop ended the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// The attempt's line in `logs.jsonl`. Absent without log and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogPlace>,
    /// Whether the trial passed after an attempt that did not.
    #[serde(skip_serializing_if = "is_default")]
    pub flaky: bool,
    /// Whether this is the trial's last attempt.
    pub r#final: bool,
    /// The session, from 1.
    pub session: u32,
    /// The row's number in the run, from 1.
    pub seq: u64,
}

/// A line, or a worker's part of one, read without copies. [`Row`] and [`Tail`] document the keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
pub struct RowRef<'a> {
    pub v: u8,
    pub trial: TrialId,
    pub test: Text<'a>,
    pub provider: Text<'a>,
    pub repeat: u32,
    pub attempt: u32,
    pub outcome: Outcome,
    pub started_at: Time,
    pub duration_ms: f64,
    pub usage: Usage,
    #[serde(default, deserialize_with = "present")]
    pub output: Option<Raw<'a>>,
    pub verdict: Option<Verdict>,
    pub score: Option<f64>,
    pub summary: Option<Text<'a>>,
    #[serde(default)]
    pub checks: Vec<Check<'a>>,
    #[serde(default)]
    pub grades: Vec<Grade<'a>>,
    #[serde(default)]
    pub metrics: Vec<Metric<'a>>,
    pub error: Option<RowError<'a>>,
    #[serde(default)]
    pub denied: Vec<Denied<'a>>,
    #[serde(default)]
    pub artifacts: Vec<Artifact<'a>>,
    #[serde(default)]
    pub truncated: bool,
    #[serde(default)]
    pub suspended_ms: f64,
    pub calls: Option<Calls>,
    #[serde(default)]
    pub continued: u32,
    pub workspace: Option<WorkspaceResult>,
    pub transcript: Option<TranscriptResult>,
    #[serde(default)]
    pub service_failed: bool,
    pub cut_by: Option<Text<'a>>,
    pub fingerprint: Option<Fingerprint>,
    pub judgement_fingerprint: Option<Fingerprint>,
    pub judged: Option<u64>,
    pub worker: Option<Text<'a>>,
    pub stopped_by: Option<Actor>,
    pub logs: Option<LogPlace>,
    #[serde(default)]
    pub flaky: bool,
    pub r#final: Option<bool>,
    pub session: Option<u32>,
    pub seq: Option<u64>,
    pub crc: Option<Text<'a>>,
}

/// The keys of a line that a fold over rows needs. [`Row`] and [`Tail`] document them.
#[derive(Clone, Debug, Deserialize)]
pub struct RowHead {
    pub v: u8,
    pub trial: TrialId,
    pub attempt: u32,
    pub outcome: Outcome,
    pub started_at: Time,
    pub duration_ms: f64,
    pub judged: Option<u64>,
    #[serde(default, rename = "denied", deserialize_with = "is_present")]
    pub has_denied: bool,
    /// `None` without metrics.
    pub metrics: Option<MetricSums>,
    pub score: Option<f64>,
    #[serde(default)]
    pub grades: Vec<GradeHead>,
    #[serde(default)]
    pub service_failed: bool,
    pub fingerprint: Fingerprint,
    pub judgement_fingerprint: Fingerprint,
    pub worker: Option<Box<str>>,
    #[serde(default)]
    pub flaky: bool,
    pub r#final: bool,
    pub session: u32,
    pub seq: u64,
}

/// The keys of a [`Grade`] that a [`RowHead`] has.
#[derive(Clone, Debug, Deserialize)]
pub struct GradeHead {
    pub grader: Box<str>,
    pub attempt: u32,
    pub asked: Option<Fingerprint>,
    #[serde(default)]
    pub session: u32,
    pub score: Option<f64>,
    #[serde(default = "default_weight")]
    pub weight: f64,
    #[serde(default, rename = "denied", deserialize_with = "is_present")]
    pub has_denied: bool,
    #[serde(default)]
    pub metrics: MetricSums,
    #[serde(default)]
    pub partial: bool,
}

/// The reason why a line of `index.jsonl` is not a row.
#[derive(Debug, Error)]
pub enum BadLine {
    /// The bytes were changed after they were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right, but the line is not a row of this version.
    #[error("not a row: {0}")]
    Shape(String),
    #[error("a row of version {0}, and this runner reads {VERSION}")]
    Version(u64),
}

impl Row<'_> {
    /// Creates a row with the outcome `stopped` and no further keys. `started_at` is wall-clock time.
    pub fn new(
        trial: &TrialId,
        attempt: u32,
        started_at: Time,
        took: Duration,
        suspended: Duration,
    ) -> Self {
        let ms = |time: Duration| time.as_micros() as f64 / 1e3;
        Self {
            v: VERSION,
            trial: trial.clone(),
            test: trial.test.clone(),
            provider: trial.provider.clone(),
            repeat: trial.repeat,
            attempt,
            started_at,
            duration_ms: ms(took),
            suspended_ms: ms(suspended),
            ..Self::default()
        }
    }
}

impl<'a> From<RowRef<'a>> for Row<'a> {
    /// Drops the coordinator's keys.
    fn from(row: RowRef<'a>) -> Self {
        Self {
            v: row.v,
            test: row.trial.test.clone(),
            provider: row.trial.provider.clone(),
            trial: row.trial,
            repeat: row.repeat,
            attempt: row.attempt,
            outcome: row.outcome,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            usage: row.usage,
            output: row.output,
            verdict: row.verdict,
            score: row.score,
            summary: row.summary,
            checks: row.checks,
            grades: row.grades,
            metrics: row.metrics,
            error: row.error,
            denied: row.denied,
            artifacts: row.artifacts,
            truncated: row.truncated,
            suspended_ms: row.suspended_ms,
            calls: row.calls,
            continued: row.continued,
            workspace: row.workspace,
            transcript: row.transcript,
            service_failed: row.service_failed,
            cut_by: row.cut_by,
        }
    }
}

impl RowRef<'_> {
    /// Returns the coordinator's keys. `None` for a worker's row.
    pub fn tail(&self) -> Option<Tail> {
        Some(Tail {
            fingerprint: self.fingerprint?,
            judgement_fingerprint: self.judgement_fingerprint?,
            judged: self.judged,
            worker: self.worker.as_ref().map(ToString::to_string),
            stopped_by: self.stopped_by.clone(),
            logs: self.logs,
            flaky: self.flaky,
            r#final: self.r#final?,
            session: self.session?,
            seq: self.seq?,
        })
    }

    /// Returns whether the keys `test`, `provider` and `repeat` are those of `trial`.
    pub(super) fn names_trial(&self, trial: &TrialId) -> bool {
        *self.test == *trial.test
            && *self.provider == *trial.provider
            && self.repeat == trial.repeat
    }

    pub fn duration(&self) -> Duration {
        duration(self.duration_ms)
    }

    /// Returns the artifact that is the output. In rows of older versions, artifacts of the provider may have the same name.
    pub fn output_artifact(&self) -> Option<&Artifact<'_>> {
        let output = self.output.as_ref().filter(|output| output.get() == OUTPUT_REFERENCE);
        output.and(self.artifacts.first())
    }

    /// Returns the artifacts with the changes in the workspace and with their contents.
    pub fn changes(&self) -> [Option<&Artifact<'_>>; 2] {
        let digest = self.workspace.as_ref().and_then(|workspace| workspace.changes);
        // In rows of older versions, artifacts of guests may have these names, before those of the host.
        let last = |name: &str| {
            self.artifacts.iter().rev().find(|artifact| *artifact.name == *name && digest.is_some())
        };
        [last(CHANGES).filter(|list| Some(list.sha256) == digest), last(CONTENTS)]
    }

    /// Returns the artifact with the transcript.
    pub fn transcript_artifact(&self) -> Option<&Artifact<'_>> {
        let digest = self.transcript.as_ref()?.sha256?;
        let mut last = self.artifacts.iter().rev();
        last.find(|artifact| *artifact.name == *TRANSCRIPT && artifact.sha256 == digest)
    }

    /// Returns whether the row gives its trial a result. A later row can give another one.
    pub fn settles(&self) -> bool {
        self.r#final == Some(true) && self.outcome.can_be_final()
    }

    /// Returns whether another attempt decides the trial.
    pub fn is_retried(&self) -> bool {
        self.r#final == Some(false) && self.outcome != Outcome::Ungraded
    }

    /// Returns whether the attempt or one of its graders was denied something.
    pub fn denies(&self) -> bool {
        !self.denied.is_empty() || self.grades.iter().any(|grade| !grade.denied.is_empty())
    }

    /// Returns the names of failed checks, and of graders that failed or have no verdict.
    pub fn failed_checks(&self) -> impl Iterator<Item = &str> {
        let grades = self.grades.iter().filter(|grade| grade.has_failed());
        let checks = self.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        grades.map(|grade| &*grade.grader).chain(checks.map(Check::label))
    }

    /// Returns whether the attempt of its last grader has failed.
    pub fn has_failed_grader(&self) -> bool {
        self.grades.last().is_some_and(|grade| grade.error.is_some())
    }
}

impl RowHead {
    /// Returns whether the attempt or one of its graders was denied something.
    pub fn denies(&self) -> bool {
        self.has_denied || self.grades.iter().any(|grade| grade.has_denied)
    }

    /// Returns whether the provider has metrics, or a grader has answered.
    pub fn has_sums(&self) -> bool {
        self.metrics.is_some() || !self.grades.is_empty()
    }

    /// Returns tokens and cost of the provider, and those of the graders together.
    pub fn sums(&self) -> [MetricSums; 2] {
        let grades = self.grades.iter().map(|grade| grade.metrics);
        [self.metrics.unwrap_or_default(), grades.fold(MetricSums::default(), MetricSums::plus)]
    }

    /// Returns the end of the attempt by the wall clock, without suspensions.
    pub fn ended_at(&self) -> Time {
        self.started_at + duration(self.duration_ms)
    }
}

/// Converts milliseconds. Negative and too large numbers become 0.
pub fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

/// Bytes that a tail seldom exceeds.
pub(crate) const TAIL_BYTES: usize = 256;
/// Length of `,"crc":"7345d4b3"}`.
const CRC_BYTES: usize = 18;

impl Tail {
    /// Turns a worker's row into a line: replaces the closing brace by the tail, the checksum and a line break.
    pub fn finish(&self, row: &mut Vec<u8>) {
        debug_assert_eq!(row.last(), Some(&b'}'), "a row is a closed object");
        row.reserve(TAIL_BYTES);
        row.pop();
        let start = row.len();
        // Writing to a Vec cannot fail, and all keys are strings.
        let _ = serde_json::to_writer(&mut *row, self);
        // `{"fingerprint"` becomes `,"fingerprint"`.
        row[start] = b',';
        row.pop();
        close_line(row);
    }
}

/// Appends the checksum and a line break to an object that lacks its closing brace.
pub fn close_line(object: &mut Vec<u8>) {
    let end = line_end(object);
    object.extend_from_slice(&end);
    object.push(b'\n');
}

/// Replaces the checksum of a line without its line break, whose content was changed, and appends a line break.
pub fn reclose_line(line: &mut Vec<u8>) {
    line.truncate(line.len().saturating_sub(CRC_BYTES));
    close_line(line);
}

/// Returns whether a line has the right checksum. `line` is without its line break. A `\r` at its end, which an editor of
/// another system may add, is ignored.
pub fn has_right_checksum(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((content, end)) = line.len().checked_sub(CRC_BYTES).map(|at| line.split_at(at)) else {
        return false;
    };
    end == line_end(content)
}

/// Returns the end of a line with this content: its checksum and the closing brace.
fn line_end(content: &[u8]) -> [u8; CRC_BYTES] {
    let mut end = *br#","crc":"00000000"}"#;
    let mut crc = crc32fast::hash(content);
    for digit in end[8..16].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(crc & 15) as usize];
        crc >>= 4;
    }
    end
}

/// Reads a line of `index.jsonl`, without its line break.
///
/// # Errors
///
/// A line that is damaged, of another version or not a row.
pub fn read_line(line: &[u8]) -> Result<RowRef<'_>, BadLine> {
    let row: RowRef<'_> = read_checked(line, |row: &RowRef<'_>| row.v)?;
    if row.seq.is_none()
        || row.session.is_none()
        || row.r#final.is_none()
        || row.fingerprint.is_none()
    {
        return Err(BadLine::Shape("keys of the coordinator are missing".into()));
    }
    if !row.names_trial(&row.trial) {
        return Err(BadLine::Shape("its names contradict its trial".into()));
    }
    Ok(row)
}

/// Reads the head of a line. Skips the other keys, which takes less than half the time of [`read_line`].
///
/// # Errors
///
/// A line that is damaged, of another version or not a row.
pub fn read_head(line: &[u8]) -> Result<RowHead, BadLine> {
    read_checked(line, |head: &RowHead| head.v)
}

/// The parts of a line that have texts, unparsed.
#[derive(Clone, Copy, Debug)]
pub struct LineTexts<'a> {
    /// The trial's id, as it is in JSON.
    pub trial: &'a [u8],
    /// The keys after `usage`, and of the output only the value.
    pub rest: &'a [u8],
    /// Whether `rest` starts with the output.
    has_output: bool,
}

impl<'a> LineTexts<'a> {
    /// Finds the parts. `None` if the line is not as [`Row`] writes it.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let keys = line.strip_prefix(br#"{"v":4,"trial":""#)?;
        let mut is_escaped = false;
        let end = keys.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        })?;
        let (trial, keys) = keys.split_at(end);
        // The test's id follows once more. Other names have no braces, so the first one after it closes `usage`.
        let test = trial.iter().position(|byte| *byte == b'@')?;
        let keys = keys.get(br#"","test":""#.len() + test..)?;
        let end = keys.iter().position(|byte| *byte == b'}')?;
        let rest = &keys[end + 1..];
        let output = rest.strip_prefix(br#","output":"#);
        Some(Self { trial, rest: output.unwrap_or(rest), has_output: output.is_some() })
    }

    /// Returns the output as JSON.
    pub fn output(&self) -> Option<&'a [u8]> {
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<&RawValue>();
        let output = values.next().filter(|_| self.has_output)?.ok()?;
        Some(output.get().as_bytes())
    }

    /// Returns whether a byte of `rest` is one of a [`Tail`].
    pub fn is_in_tail(&self, at: usize) -> bool {
        const START: &[u8] = br#","fingerprint":""#;
        !self.rest[at..].windows(START.len()).any(|part| part == START)
    }
}

/// Reads a line with the right checksum and version.
fn read_checked<'a, T: Deserialize<'a>>(
    line: &'a [u8],
    version: fn(&T) -> u8,
) -> Result<T, BadLine> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    if !has_right_checksum(line) {
        return Err(BadLine::Checksum);
    }
    match parse::<T>(line) {
        Ok(row) if version(&row) == VERSION => Ok(row),
        Ok(row) => Err(BadLine::Version(version(&row).into())),
        // A row of another version may have other keys.
        Err(error) => match parse(line) {
            Ok(Version { v }) if v != u64::from(VERSION) => Err(BadLine::Version(v)),
            _ => Err(BadLine::Shape(error)),
        },
    }
}

/// Parses JSON. Checking its UTF-8 once as a whole is faster than string by string.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
