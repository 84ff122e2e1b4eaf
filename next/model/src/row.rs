//! One line of `index.jsonl`: what a worker says of an attempt ([`Row`]), what the coordinator adds ([`Tail`]), and the one
//! way to read either ([`RowRef`]).
//!
//! A line is a closed JSON object. Its last key is `crc`, the CRC-32 of all bytes before `,"crc":`. Keys that have nothing
//! to say are absent.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    Digest, ErrorClass, Fingerprint, Limits, Outcome, ProviderName, TestId, Text, Time, TrialId,
    enum_text::{is_default, present},
    outcome::Verdict,
    protocol::{Task, TaskKind},
};

/// The version of rows, their `v`.
pub const VERSION: u8 = 4;
/// Bytes of a worker's row. A larger output is an artifact.
pub const MAX_ROW: usize = 256 << 10;
/// How deeply the values of an output may be nested; deeper ones are artifacts, because readers of JSON stop at 128.
pub const MAX_DEPTH: usize = 100;
/// The artifact that a too large output becomes.
pub const OUTPUT_ARTIFACT: &str = "output.json";

/// What a worker says of an attempt, or the coordinator for a worker that did not answer.
#[derive(Clone, Debug, Serialize)]
pub struct Row<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// The trial, as `test@provider#repeat`.
    pub trial: TrialId,
    /// The trial's test.
    pub test: TestId,
    /// The trial's provider.
    pub provider: ProviderName,
    /// The trial's repeat, from 1.
    pub repeat: u32,
    /// Which attempt of the trial, from 1.
    pub attempt: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// When it began, by the wall clock.
    pub started_at: Time,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// What it used.
    pub usage: Usage,
    /// What the thing under test produced; `null` is an output. `{"$artifact": NAME}` stands for an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Raw<'a>>,
    /// The provider's own verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The provider's own score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The provider's summary of its reply, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Text<'a>>,
    /// The scenario's expectations, then the provider's own checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check<'a>>,
    /// What graders said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<Grade<'a>>,
    /// What the provider measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric<'a>>,
    /// Why there is no verdict; always there if the outcome is `error`, `timeout` or `stopped`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RowError<'a>>,
    /// What the guest tried and was not granted, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied<'a>>,
    /// Files of the attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact<'a>>,
    /// Whether something was cut to keep the row within [`MAX_ROW`].
    #[serde(skip_serializing_if = "is_default")]
    pub truncated: bool,
    /// For how long the attempt was paused or suspended, in milliseconds; not part of `duration_ms`.
    #[serde(skip_serializing_if = "is_default")]
    pub suspended_ms: f64,
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Peak of the guest's memories together, in bytes.
    pub peak_memory: u64,
    /// Bytes handed to the guest.
    pub bytes_in: u64,
    /// Bytes taken from the guest.
    pub bytes_out: u64,
    /// Calls of the guest to the host.
    #[serde(skip_serializing_if = "is_default")]
    pub host_calls: u64,
    /// HTTP requests sent.
    #[serde(skip_serializing_if = "is_default")]
    pub http_requests: u64,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Check<'a> {
    /// The expectation's key, such as `equals`, or the provider's own name for it.
    pub name: Text<'a>,
    /// Whether it held.
    pub verdict: Verdict,
    /// Whether the provider itself sent the check. All others are made from the test's `expect`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub own: bool,
    /// A score of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Raw<'a>>,
    /// Why it did not hold, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Text<'a>>,
    /// What was expected, for checks of the scenario that did not hold.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expected: Option<Raw<'a>>,
    /// What came, for checks of the scenario that did not hold.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub actual: Option<Raw<'a>>,
    /// A line diff from expected to actual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Text<'a>>,
    /// The provider's own details.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub details: Option<Raw<'a>>,
}

/// What a grader said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Grade<'a> {
    /// The grader's name.
    pub grader: Text<'a>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Its explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Text<'a>>,
}

/// Something that a provider measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Metric<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Its value; finite.
    pub value: f64,
    /// Its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Text<'a>>,
}

/// Why an attempt has no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct RowError<'a> {
    /// The class, if the outcome is `error`, or was before a test expected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ErrorClass>,
    /// A stable word, such as `unreachable`, `trial_timeout` or `lost`.
    pub code: Text<'a>,
    /// For people.
    pub message: Text<'a>,
    /// When the provider asked to be called again, in milliseconds after this attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// The provider's own details.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub details: Option<Raw<'a>>,
}

/// Something that the guest tried and was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Denied<'a> {
    /// What it tried, in words.
    pub what: Text<'a>,
    /// The line of a scenario that would grant it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Text<'a>>,
}

/// A file of an attempt. Its content is `artifacts/<aa>/<sha256>` in the run's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Artifact<'a> {
    /// The name that the provider gave it: one path segment.
    pub name: Text<'a>,
    /// Its media type.
    pub media_type: Text<'a>,
    /// The SHA-256 of its content.
    pub sha256: Digest,
    /// Bytes of its content.
    pub bytes: u64,
}

/// What the coordinator adds to a worker's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tail {
    /// Of all that decides what the provider does.
    pub fingerprint: Fingerprint,
    /// Of all that decides what that means.
    pub judgement_fingerprint: Fingerprint,
    /// The `seq` of the row that this one judges again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<u64>,
    /// The worker on another machine that made the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Who asked for the stop that cut the attempt short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// Where `logs.jsonl` has what was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogPlace>,
    /// Passed after an attempt that did not.
    #[serde(skip_serializing_if = "is_default")]
    pub flaky: bool,
    /// Whether the attempt settles its trial.
    pub r#final: bool,
    /// The session, from 1.
    pub session: u32,
    /// The row's number in the run, from 1.
    pub seq: u64,
}

/// Who asked for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Their user name.
    pub user: String,
    /// Their machine.
    pub host: String,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where `logs.jsonl` has a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// Its first byte.
    pub at: u64,
    /// Its length in bytes, without the line break.
    pub bytes: u32,
}

/// A line of `index.jsonl`, or a worker's part of one, read without copies. The keys of [`Tail`] are optional here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
#[allow(missing_docs, reason = "Row and Tail document the keys")]
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

/// JSON as it is written, borrowed from what it was read from where it can be.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Raw<'a>(pub Cow<'a, RawValue>);

/// Why a worker's report is not believed. The worker is then killed: it is broken or hostile.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadReport(pub(crate) String);

/// Why a line of `index.jsonl` is not a row.
#[derive(Debug, Error)]
pub enum BadLine {
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right, and the line is no row of this version.
    #[error("not a row: {0}")]
    Shape(String),
    /// A row of another version.
    #[error("a row of version {0}, and this runner reads {VERSION}")]
    Version(u64),
}

impl Tail {
    /// Turns a worker's row into a line: cuts the closing brace and appends the tail, the checksum and a line break.
    pub fn finish(&self, row: &mut Vec<u8>) {
        debug_assert_eq!(row.last(), Some(&b'}'), "a row is a closed object");
        row.reserve(TAIL_BYTES);
        row.pop();
        let start = row.len();
        // A Vec takes every write, and the tail has no maps with other keys than strings.
        let _ = serde_json::to_writer(&mut *row, self);
        // `{"fingerprint"` becomes `,"fingerprint"`.
        row[start] = b',';
        row.pop();
        close_line(row);
    }
}

/// Bytes that are mostly enough for a tail.
const TAIL_BYTES: usize = 256;
/// Length of `,"crc":"7345d4b3"}`.
const CRC_BYTES: usize = 18;

/// Checks the checksum that a line ends with (`line` without its line break; a `\r` at its end does not count).
pub fn has_right_checksum(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((content, end)) = line.len().checked_sub(CRC_BYTES).map(|at| line.split_at(at)) else {
        return false;
    };
    end == crc_end(content)
}

/// Appends the checksum and a line break to an object that lacks its closing brace.
pub fn close_line(object: &mut Vec<u8>) {
    let end = crc_end(object);
    object.extend_from_slice(&end);
    object.push(b'\n');
}

/// What a line ends with that has this before.
fn crc_end(content: &[u8]) -> [u8; CRC_BYTES] {
    let mut end = *br#","crc":"00000000"}"#;
    let mut crc = crc32fast::hash(content);
    for digit in end[8..16].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(crc & 15) as usize];
        crc >>= 4;
    }
    end
}

/// Reads JSON. Its text is checked once as a whole, which is faster than string by string.
fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Reads a line of `index.jsonl` (without its line break) and checks its checksum.
///
/// # Errors
///
/// A line that is damaged, of another version or no row.
pub fn read_line(line: &[u8]) -> Result<RowRef<'_>, BadLine> {
    let row: RowRef<'_> = read_checked(line, |row: &RowRef<'_>| row.v)?;
    if row.seq.is_none()
        || row.session.is_none()
        || row.r#final.is_none()
        || row.fingerprint.is_none()
    {
        return Err(BadLine::Shape("keys of the coordinator are missing".into()));
    }
    if !row.speaks_of(&row.trial) {
        return Err(BadLine::Shape("its names contradict its trial".into()));
    }
    Ok(row)
}

/// What of a line says which attempt it is of and what that came to.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "Row and Tail document the keys")]
pub struct RowHead {
    pub v: u8,
    pub trial: TrialId,
    pub attempt: u32,
    pub outcome: Outcome,
    pub started_at: Time,
    pub duration_ms: f64,
    pub judged: Option<u64>,
    #[serde(default, rename = "denied", deserialize_with = "is_there")]
    pub has_denied: bool,
    #[serde(default)]
    pub flaky: bool,
    pub r#final: bool,
    pub session: u32,
    pub seq: u64,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Reads the head of a line as [`read_line`] reads all of it, and skips the other keys, which takes less than half the time.
///
/// # Errors
///
/// A line that is damaged, of another version or no row.
pub fn read_head(line: &[u8]) -> Result<RowHead, BadLine> {
    read_checked(line, |head: &RowHead| head.v)
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

/// Checks what a worker reports of `task`: one closed object, only a worker's keys, the task's ids, no line break, and
/// values that can be.
///
/// # Errors
///
/// What is wrong with it; then nothing of it is used.
pub fn check_row<'a>(
    bytes: &'a [u8],
    task: &Task,
    limits: &Limits,
) -> Result<RowRef<'a>, BadReport> {
    if bytes.len() > MAX_ROW {
        let length = bytes.len();
        return Err(BadReport(format!("a row of {length} bytes, more than {MAX_ROW}")));
    }
    if bytes.first() != Some(&b'{')
        || bytes.last() != Some(&b'}')
        || bytes.contains(&b'\n')
        || bytes.contains(&b'\r')
    {
        return Err(BadReport("not a row: not one closed object on one line".into()));
    }
    let row: RowRef<'_> = parse(bytes).map_err(|error| BadReport(format!("not a row: {error}")))?;
    if row.trial != task.trial || !row.speaks_of(&task.trial) || row.attempt != task.attempt {
        return Err(BadReport("a row of another attempt than its task's".into()));
    }
    let tail = row.fingerprint.is_some()
        || row.judgement_fingerprint.is_some()
        || row.judged.is_some()
        || row.worker.is_some()
        || row.stopped_by.is_some()
        || row.logs.is_some()
        || row.flaky
        || row.r#final.is_some()
        || row.session.is_some()
        || row.seq.is_some()
        || row.crc.is_some();
    if tail {
        return Err(impossible("key of the coordinator"));
    }
    let is_time = |ms: f64| (0.0..1e12).contains(&ms);
    let error_class = row.error.as_ref().and_then(|error| error.class);
    let is_error_right = match row.outcome {
        Outcome::Error => error_class.is_some(),
        Outcome::Timeout | Outcome::Stopped => row.error.is_some(),
        Outcome::Passed | Outcome::Failed | Outcome::Skipped | Outcome::Ungraded => true,
    };
    let is_class_right = match error_class {
        // Only the coordinator sees workers die.
        Some(ErrorClass::Crash) => false,
        Some(ErrorClass::Grader) => matches!(task.kind, TaskKind::Grade { .. } | TaskKind::Judge),
        _ => true,
    };
    let is_name = |name: &str| is_file_name(name);
    for (is_right, key) in [
        (row.v == VERSION, "v"),
        (is_time(row.duration_ms), "duration_ms"),
        (is_time(row.suspended_ms), "suspended_ms"),
        (is_error_right && is_class_right, "error"),
        (row.output.as_ref().is_none_or(|output| !is_deep(output.get())), "output"),
        // One more for an output that is too large for the row.
        (row.artifacts.len() as u64 <= limits.artifact_files.saturating_add(1), "artifacts"),
        (row.artifacts.iter().all(|artifact| is_name(&artifact.name)), "artifacts"),
    ] {
        if !is_right {
            return Err(impossible(key));
        }
    }
    Ok(row)
}

fn impossible(key: &str) -> BadReport {
    BadReport(format!("a row with an impossible `{key}`"))
}

impl RowHead {
    /// When the attempt ended.
    pub fn ended_at(&self) -> Time {
        self.started_at + duration(self.duration_ms)
    }
}

/// A number of milliseconds; one that cannot be is 0.
fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

impl Row<'_> {
    /// A row with the outcome `stopped`, to be filled in. `started_at` is wall-clock time.
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
            outcome: Outcome::Stopped,
            started_at,
            duration_ms: ms(took),
            usage: Usage::default(),
            output: None,
            verdict: None,
            score: None,
            summary: None,
            checks: Vec::new(),
            grades: Vec::new(),
            metrics: Vec::new(),
            error: None,
            denied: Vec::new(),
            artifacts: Vec::new(),
            truncated: false,
            suspended_ms: ms(suspended),
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
        }
    }
}

impl<'a> Check<'a> {
    /// A check of the scenario without further keys.
    pub fn new(name: impl Into<Text<'a>>, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            verdict,
            own: false,
            score: None,
            message: None,
            expected: None,
            actual: None,
            diff: None,
            details: None,
        }
    }
}

impl RowRef<'_> {
    fn speaks_of(&self, trial: &TrialId) -> bool {
        *self.test == *trial.test
            && *self.provider == *trial.provider
            && self.repeat == trial.repeat
    }

    /// How long the attempt took.
    pub fn duration(&self) -> Duration {
        duration(self.duration_ms)
    }

    /// When the attempt ended.
    pub fn ended_at(&self) -> Time {
        self.started_at + self.duration() + duration(self.suspended_ms)
    }
}

/// Tells whether a text can be the name of a file in a folder: one segment, at most 200 bytes, nothing that steers.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name != "."
        && name != ".."
        && !name.contains(['/', '\n', '\t'])
        && !name.contains(crate::visible::steers)
}

/// Tells whether JSON is nested more deeply than [`MAX_DEPTH`].
pub fn is_deep(json: &str) -> bool {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

impl<'a> Raw<'a> {
    /// The JSON's text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Serializes a value.
    ///
    /// # Errors
    ///
    /// A value that has no JSON.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(|raw| Self(Cow::Owned(raw)))
    }

    /// Takes a text that is JSON already.
    ///
    /// # Errors
    ///
    /// A text that is not JSON.
    pub fn from_string(json: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(json).map(|raw| Self(Cow::Owned(raw)))
    }

    /// Borrows a value.
    pub fn borrowed(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Raw<'_> {}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(Self::borrowed)
    }
}

#[cfg(test)]
#[path = "tests/row.rs"]
mod tests;
