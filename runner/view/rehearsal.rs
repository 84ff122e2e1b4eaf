//! [`RehearsalReport`]: what came of calling a plugin outside of any run.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{inspection::CompiledPlugin, version::DocumentVersion, written};
use crate::{
    model::{
        Artifact, AttemptError, Check, CheckVerdict, Denied, ErrorClass, Grade, Grant, LogRecord,
        Metric, Outcome, Usage,
    },
    record::words::{self, InstantSchema, WordSchema},
    run::Rehearsed,
};

/// The document of `runner plugin run --json`: the last call, and how long all of them took.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsalReport {
    /// The version of the format: 1.
    pub v: DocumentVersion,
    /// The plugin's file.
    #[serde(rename = "file", serialize_with = "written::path")]
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// What the call came to.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<Outcome>")]
    pub outcome: Outcome,
    /// What the plugin replied.
    pub output: Option<Value>,
    /// Its score.
    pub score: Option<f64>,
    /// Its summary of its reply.
    pub summary: Option<String>,
    /// What a run would read of the reply if the plugin was a grader; absent where that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<RehearsedGrade>,
    /// What it checked.
    pub checks: Vec<RehearsedCheck>,
    /// What it measured.
    pub metrics: Vec<RehearsedMetric>,
    /// Why there is no verdict.
    pub error: Option<RehearsedError>,
    /// The records of its log.
    pub log: Vec<RehearsedRecord>,
    /// Its standard output, where that is not the reply itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// What it tried and was not granted.
    pub denied: Vec<RehearsedDenial>,
    /// The files that it left.
    pub artifacts: Vec<RehearsedArtifact>,
    /// How long the call took.
    pub times: RehearsalTimes,
    /// What the call used.
    pub usage: RehearsalUsage,
    /// How long all calls took.
    pub repeats: RehearsalRepeats,
    /// How the plugin was loaded.
    #[serde(skip)]
    pub loaded: CompiledPlugin,
    /// From the beginning of the call to its end, its instance included.
    #[serde(skip)]
    pub duration: Duration,
    /// Whether a string that it replied is shown as it is.
    #[serde(skip)]
    pub is_text: bool,
}

/// What a run would read of a reply if the plugin was a grader.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedGrade {
    /// Whether it lets the output pass; `null` where it came to no verdict.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<CheckVerdict>>")]
    pub verdict: Option<CheckVerdict>,
    /// Its score.
    pub score: Option<f64>,
    /// The least score that passes.
    pub least: Option<f64>,
    /// Why, in its words.
    pub explanation: Option<String>,
    /// Why there is no verdict.
    pub error: Option<RehearsedError>,
}

/// One thing that was checked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedCheck {
    /// What the plugin calls it.
    pub name: String,
    /// Whether it held.
    #[serde(with = "words::word")]
    #[schemars(with = "WordSchema<CheckVerdict>")]
    pub verdict: CheckVerdict,
    /// A score from the plugin.
    pub score: Option<f64>,
    /// Why it did not hold.
    pub message: Option<String>,
    /// The plugin's own details.
    pub details: Option<Value>,
}

/// A number that the plugin measured.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedMetric {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: Option<String>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedError {
    /// What kind of failure it is; `null` for timeouts and stops.
    #[serde(with = "words::optional_word")]
    #[schemars(with = "Option<WordSchema<ErrorClass>>")]
    pub class: Option<ErrorClass>,
    /// A short stable word.
    pub code: String,
    /// For people.
    pub message: String,
    /// How long the plugin asked to wait before the next attempt, in milliseconds.
    #[serde(
        rename = "retry_after_ms",
        serialize_with = "written::optional_duration"
    )]
    #[schemars(with = "Option<f64>")]
    pub retry_after: Option<Duration>,
}

/// A record of the plugin's log.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedRecord {
    /// When the runner got it from the plugin; absent where it is not known.
    #[serde(
        with = "words::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<InstantSchema>")]
    pub at: Option<Timestamp>,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// Named values, each an array of name and value.
    pub fields: Vec<(String, String)>,
}

/// Something that the plugin tried and was not granted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedDenial {
    /// What it tried.
    pub what: String,
    /// What would allow it, as a line of a provider's `grants`; `null` where nothing could.
    pub grant: Option<String>,
    /// The same as values of `--grant`.
    pub flags: Vec<String>,
}

/// A file that the plugin left.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RehearsedArtifact {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub media_type: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it was written to, if that was asked for.
    #[serde(serialize_with = "written::optional_path")]
    #[schemars(with = "Option<String>")]
    pub path: Option<PathBuf>,
}

/// How long a call took.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct RehearsalTimes {
    /// How long it took to have the plugin compiled, in milliseconds.
    #[serde(rename = "load_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub load: Duration,
    /// Whether it was in the cache of compiled plugins already.
    #[serde(rename = "cached")]
    pub is_cached: bool,
    /// How long it took to make an instance, in milliseconds.
    #[serde(rename = "instantiate_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub instantiate: Duration,
    /// How long the call took after that, in milliseconds.
    #[serde(rename = "call_ms", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub call: Duration,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct RehearsalUsage {
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
    /// Calls of the contract's imports.
    pub host_calls: u64,
    /// HTTP requests that were sent.
    pub http_requests: u64,
    /// Bytes handed to the guest.
    pub bytes_in: u64,
    /// Bytes taken from the guest.
    pub bytes_out: u64,
    /// Fuel burnt, where it is measured.
    pub fuel: Option<u64>,
}

/// How long all calls took.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct RehearsalRepeats {
    /// How many there were.
    pub count: usize,
    /// How long it took to make an instance.
    #[serde(rename = "instantiate_ms")]
    pub instantiate: TimeSpread,
    /// How long the calls took after that.
    #[serde(rename = "call_ms")]
    pub call: TimeSpread,
}

/// How some times are spread, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct TimeSpread {
    /// The shortest.
    #[serde(rename = "min", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub least: Duration,
    /// That of which as many are shorter as longer.
    #[serde(serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub median: Duration,
    /// The longest.
    #[serde(rename = "max", serialize_with = "written::duration")]
    #[schemars(with = "f64")]
    pub most: Duration,
}

impl RehearsalReport {
    /// Tells whether the call ended badly; of one that is read as a grader's, whether it does not let the output pass.
    pub fn is_bad(&self) -> bool {
        match &self.grade {
            Some(grade) => matches!(grade.verdict, None | Some(CheckVerdict::Fail)),
            None => self.outcome.is_bad(),
        }
    }

    /// Reports calls, of which there is at least one; the last one is shown. `folder` is where its artifacts were written
    /// to, and `is_text` tells whether a string that it replied is shown as it is.
    pub fn new(
        path: &Path,
        loaded: CompiledPlugin,
        mut calls: Vec<Rehearsed>,
        is_text: bool,
        folder: Option<&Path>,
    ) -> Self {
        let repeats = RehearsalRepeats {
            count: calls.len(),
            instantiate: TimeSpread::of(&calls, |call| call.instantiate),
            call: TimeSpread::of(&calls, call_time),
        };
        let shown = calls.pop().expect("a report has a call");
        let times = RehearsalTimes {
            load: loaded.took,
            is_cached: loaded.is_cached,
            instantiate: shown.instantiate,
            call: call_time(&shown),
        };
        let attempt = shown.attempt;
        let artifacts = attempt.artifacts.into_iter();
        let artifact = |artifact| RehearsedArtifact::new(artifact, folder);
        Self {
            v: DocumentVersion,
            path: path.to_owned(),
            outcome: attempt.outcome,
            output: attempt.output,
            score: attempt.score,
            summary: attempt.summary,
            grade: None,
            checks: all(attempt.checks),
            metrics: all(attempt.metrics),
            error: attempt.error.map(RehearsedError::from),
            log: all(attempt.log),
            stdout: attempt.stdout,
            stderr: attempt.stderr,
            denied: all(attempt.denied),
            artifacts: artifacts.map(artifact).collect(),
            times,
            usage: attempt.usage.into(),
            repeats,
            loaded,
            duration: attempt.duration,
            is_text,
        }
    }
}

fn all<T, V: From<T>>(values: Vec<T>) -> Vec<V> {
    values.into_iter().map(V::from).collect()
}

impl From<Check> for RehearsedCheck {
    fn from(check: Check) -> Self {
        Self {
            name: check.name.into_owned(),
            verdict: check.verdict,
            score: check.score,
            message: check.message,
            details: check.details,
        }
    }
}

impl From<Grade> for RehearsedGrade {
    fn from(grade: Grade) -> Self {
        Self {
            verdict: grade.verdict,
            score: grade.score,
            least: grade.least,
            explanation: grade.explanation,
            error: grade.error.map(RehearsedError::from),
        }
    }
}

impl From<Metric> for RehearsedMetric {
    fn from(metric: Metric) -> Self {
        Self {
            name: metric.name,
            value: metric.value,
            unit: metric.unit,
        }
    }
}

impl From<AttemptError> for RehearsedError {
    fn from(error: AttemptError) -> Self {
        Self {
            class: error.class,
            code: error.code,
            message: error.message,
            retry_after: error.retry_after,
        }
    }
}

impl From<LogRecord> for RehearsedRecord {
    fn from(record: LogRecord) -> Self {
        Self {
            at: record.at,
            level: record.level,
            message: record.message,
            fields: record.fields,
        }
    }
}

impl From<Denied> for RehearsedDenial {
    fn from(denied: Denied) -> Self {
        let grant = denied.grant.as_ref();
        Self {
            grant: grant.map(Grant::to_string),
            flags: grant.into_iter().map(Grant::flag).collect(),
            what: denied.what,
        }
    }
}

impl RehearsedArtifact {
    fn new(artifact: Artifact, folder: Option<&Path>) -> Self {
        Self {
            path: folder.map(|folder| folder.join(&artifact.name)),
            bytes: artifact.content.size(),
            name: artifact.name,
            media_type: artifact.media_type,
        }
    }
}

impl From<Usage> for RehearsalUsage {
    fn from(usage: Usage) -> Self {
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

impl TimeSpread {
    fn of(calls: &[Rehearsed], time: fn(&Rehearsed) -> Duration) -> Self {
        let mut times: Vec<_> = calls.iter().map(time).collect();
        times.sort();
        Self {
            least: times[0],
            median: times[times.len() / 2],
            most: times[times.len() - 1],
        }
    }
}

/// How long a call took once it had an instance.
fn call_time(rehearsed: &Rehearsed) -> Duration {
    let attempt = &rehearsed.attempt;
    attempt.duration.saturating_sub(rehearsed.instantiate)
}
