//! [`Row`]: one line of `index.jsonl`.

use std::{borrow::Cow, io, path::Path};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{
    numbers::{finite, milliseconds, some_milliseconds},
    words::{self, CodeSchema, DigestSchema, InstantSchema, WordSchema},
};
use crate::{
    model::{self, CheckVerdict, Digest, ErrorClass, Outcome, escape_json},
    record::{
        error::RecordError,
        reading::state::{AttemptKey, Mark},
        writing::recorder::Entry,
    },
};

/// The version of the row format.
pub(in crate::record) const VERSION: u32 = 1;
/// What comes after the bytes that the checksum covers: `,"crc":"xxxxxxxx"}`.
const SUFFIX_BYTES: usize = 18;
/// The longest line, with its newline.
pub(in crate::record) const MAX_LINE_BYTES: usize = 256 * 1024;
/// The deepest value in a row; readers of JSON give up at 128, and the row around it counts.
const MAX_DEPTH: usize = 100;

/// One finished attempt: a line of `index.jsonl`.
///
/// The line ends with a key `crc` that is not part of this type: the CRC-32 (IEEE) of all bytes of the line before
/// `,"crc":`, as 8 hexadecimal digits. The keys `worker` and `origin` are reserved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row<'a> {
    /// The version of the format: 1.
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
    /// What it used.
    #[serde(default)]
    pub usage: RowUsage,
    /// What it tried and was not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<RowDenied<'a>>,
    /// Files of this attempt, below the run directory's `artifacts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<RowArtifact<'a>>,
    /// Digest of everything that decides what the provider does. In rows without `judgement_fingerprint`, which version
    /// 0.1.0 wrote, also of the test's expectations, and by another recipe.
    #[serde(with = "words::digest")]
    #[schemars(with = "DigestSchema")]
    pub fingerprint: Digest,
    /// Digest of everything that decides what that means: the test's expectations.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "words::optional_digest"
    )]
    #[schemars(with = "Option<DigestSchema>")]
    pub judgement_fingerprint: Option<Digest>,
    /// Whether checks or texts were cut, because a line has at most 256 KiB.
    #[serde(rename = "truncated", default, skip_serializing_if = "is_false")]
    pub is_truncated: bool,
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

/// What the thing under test produced: the value itself, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Where a row is in its run.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Place {
    pub(in crate::record) seq: u64,
    pub(in crate::record) session: u32,
}

impl<'a> Row<'a> {
    /// Makes the row of an attempt, whose files are the caller's to add.
    pub(in crate::record) fn new(entry: &'a Entry, place: Place) -> Self {
        let attempt = &entry.attempt;
        Self {
            v: VERSION,
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
            usage: RowUsage::new(attempt.usage),
            denied: attempt.denied.iter().map(RowDenied::new).collect(),
            artifacts: Vec::new(),
            fingerprint: entry.fingerprint.execution,
            judgement_fingerprint: Some(entry.fingerprint.judgement),
            is_truncated: false,
        }
    }

    /// Appends the row's line. What would steer a terminal is escaped in it: people print such files, too.
    pub(in crate::record) fn encode(&self, line: &mut Vec<u8>) {
        let start = line.len();
        serde_json::to_writer(&mut *line, self).expect("a row has no value that JSON cannot hold");
        escape_json(line, start);
        line.pop();
        let crc = crc32fast::hash(&line[start..]);
        io::Write::write_fmt(line, format_args!(",\"crc\":\"{crc:08x}\"}}\n"))
            .expect("memory can be written to");
    }

    /// Reads a line without its newline; the text of the error says what is wrong with it. Rows of a newer runner are
    /// read as far as they have the keys of this one's.
    pub fn decode(line: &[u8]) -> Result<Row<'static>, String> {
        check_crc(line)?;
        serde_json::from_slice(line).map_err(|error| problem(line, &error))
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

/// Refuses to write beside rows of a newer runner.
pub(in crate::record) fn check_version(path: &Path, version: u32) -> Result<(), RecordError> {
    match version {
        ..=VERSION => Ok(()),
        found => Err(RecordError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
    }
}

/// Says why an undamaged line gives no row.
pub(in crate::record) fn problem(line: &[u8], error: &serde_json::Error) -> String {
    match newer_version(line) {
        Some(version) => {
            format!("it is of format {version}, and this runner knows {VERSION}: {error}")
        }
        None => error.to_string(),
    }
}

/// The version of an undamaged line that a newer runner wrote.
pub(in crate::record) fn newer_version(line: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    check_crc(line).ok()?;
    let version: Version = serde_json::from_slice(line).ok()?;
    (version.v > VERSION).then_some(version.v)
}

/// Takes away what an editor or a copy from elsewhere may have put before the newline.
pub(in crate::record) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Compares a line with the checksum at its end.
pub(in crate::record) fn check_crc(line: &[u8]) -> Result<(), String> {
    let line = without_return(line);
    let covered = line.len().checked_sub(SUFFIX_BYTES).ok_or("too short")?;
    let (bytes, suffix) = line.split_at(covered);
    let digits = suffix
        .strip_prefix(b",\"crc\":\"")
        .and_then(|rest| rest.strip_suffix(b"\"}"))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match digits {
        Some(crc) if crc == crc32fast::hash(bytes) => Ok(()),
        Some(_) => Err("the checksum does not match".into()),
        None => Err("no checksum at its end".into()),
    }
}

impl<'a> RowCheck<'a> {
    fn new(check: &'a model::Check) -> Self {
        Self {
            name: check.name.as_str().into(),
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

impl<'a> RowMetric<'a> {
    fn new(metric: &'a model::Metric) -> Option<Self> {
        Some(Self {
            name: metric.name.as_str().into(),
            value: finite(Some(metric.value))?,
            unit: metric.unit.as_deref().map(Cow::Borrowed),
        })
    }
}

impl<'a> RowError<'a> {
    fn new(error: &'a model::AttemptError) -> Self {
        Self {
            class: error.class,
            code: error.code.as_str().into(),
            message: error.message.as_str().into(),
            retry_after_ms: error.retry_after.map(milliseconds),
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

impl RowUsage {
    fn new(usage: model::Usage) -> Self {
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
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{MAX_LINE_BYTES, Place, Row, RowOutput};
    use crate::{
        model::{AttemptError, CheckVerdict, ErrorClass, Metric, Outcome},
        record::{
            format::{brief, cut},
            testing::entry,
            writing::recorder::Entry,
        },
    };

    const PLACE: Place = Place { seq: 7, session: 1 };

    fn encoded(row: &Row<'_>) -> String {
        let mut line = Vec::new();
        row.encode(&mut line);
        String::from_utf8(line).unwrap()
    }

    fn read_back(entry: &Entry) -> Row<'static> {
        Row::decode(encoded(&Row::new(entry, PLACE)).trim_end().as_bytes()).unwrap()
    }

    #[test]
    fn a_simple_row_is_short_and_ends_with_its_checksum() {
        let entry = entry(3, 1, Outcome::Passed);
        insta::assert_snapshot!(encoded(&Row::new(&entry, PLACE)), @r#"{"v":1,"seq":7,"session":1,"ordinal":3,"trial":"test-3@echo#1","test":"test-3","provider":"echo","repeat":1,"attempt":1,"final":true,"outcome":"passed","checks":[{"name":"equals","verdict":"pass"}],"output":"hello","started_at":"2026-11-20T04:39:12.123Z","duration_ms":0.048,"usage":{"peak_memory":1114112,"bytes_in":9,"bytes_out":7},"fingerprint":"44863b03e9909b7100e05b02526909a346fd7455183f6619e0fe6198c89981e0","judgement_fingerprint":"a9c9cca61f97e3d9bf484cdbc870b7ca7e37d77bfe4dfd464bff5d505f2de3d7","crc":"cc76ced4"}"#);
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let mut entry = entry(3, 2, Outcome::Error);
        entry.is_flaky = true;
        let attempt = &mut entry.attempt;
        attempt.score = Some(0.1 + 0.2);
        attempt.summary = Some("ü\n\"".into());
        attempt.output = Some(Value::Null);
        attempt.checks[0].expected = Some(Value::Null);
        attempt.checks[0].actual = Some(json!({ "a": [1, 2.5, "x"] }));
        attempt.checks[0].verdict = CheckVerdict::Fail;
        attempt.metrics = vec![Metric {
            name: "m".into(),
            value: 1e300,
            unit: Some("s".into()),
        }];
        attempt.error = Some(AttemptError {
            class: Some(ErrorClass::OutOfMemory),
            code: "unreachable".into(),
            message: "no memory".into(),
            retry_after: Some(Duration::from_secs(2)),
            fault: None,
        });

        let row = Row::new(&entry, PLACE);
        let read = read_back(&entry);
        assert_eq!(read, row);
        assert_eq!(read.mark(), entry.mark());
        let line = encoded(&row);
        let line = line.trim_end().as_bytes();
        let (brief, trial) = brief::decode_keys(line).unwrap();
        assert_eq!((brief.seq, brief.mark), (row.seq, entry.mark()));
        assert_eq!(trial, row.trial);
        assert_eq!(brief::quick::decode(line).unwrap(), (brief, &*trial));
    }

    #[test]
    fn what_is_no_number_never_gets_into_a_row() {
        let mut entry = entry(3, 1, Outcome::Passed);
        entry.attempt.score = Some(f64::NAN);
        entry.attempt.checks[0].score = Some(f64::INFINITY);
        entry.attempt.metrics = vec![Metric {
            name: "m".into(),
            value: f64::NAN,
            unit: None,
        }];
        let row = read_back(&entry);
        assert_eq!(
            (row.score, row.checks[0].score, row.metrics.len()),
            (None, None, 0)
        );
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let line = encoded(&Row::new(&entry(3, 1, Outcome::Passed), PLACE));
        let line = line.trim_end().as_bytes();
        for index in 0..line.len() {
            let mut damaged = line.to_vec();
            damaged[index] ^= 4;
            assert!(Row::decode(&damaged).is_err(), "{index}");
        }
    }

    #[test]
    fn an_output_that_looks_like_a_stored_one_is_told_apart() {
        let inline = json!({ "artifact": "a", "sha256": 1 });
        let mut entry = entry(3, 1, Outcome::Passed);
        entry.attempt.output = Some(inline.clone());
        let Some(RowOutput::Inline(output)) = read_back(&entry).output else {
            panic!("inline");
        };
        assert_eq!(*output, inline);
    }

    #[test]
    fn a_row_that_is_too_long_is_cut_until_it_fits() {
        let mut entry = entry(3, 1, Outcome::Failed);
        let mut check = entry.attempt.checks[0].clone();
        check.message = Some("\u{1}ö".repeat(1000));
        check.actual = Some(vec!["x"; 1000].into());
        check.expected = Some("ö".repeat(1000).into());
        entry.attempt.checks = vec![check; 500];

        let mut row = Row::new(&entry, PLACE);
        let mut line = b"before\n".to_vec();
        cut::cut(&mut row, &mut line, 7);
        assert!(line.starts_with(b"before\n{"));
        assert!(line.len() <= MAX_LINE_BYTES + 7);
        let read = Row::decode(&line[7..line.len() - 1]).unwrap();
        assert!(read.is_truncated);
        assert!(!read.checks.is_empty());
    }
}
