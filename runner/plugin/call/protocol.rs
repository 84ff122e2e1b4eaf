//! The JSON protocol of commands: one object on standard input, one on standard output, log records on standard error.

use std::time::Duration;

use jiff::Timestamp;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, value::RawValue};

use super::{
    classify::out_of_memory,
    description::{Description, read_schema},
    ended::{Ending, Reply},
    json_cost::{Allowance, Unread},
    reply::{few_parts, provider_error, too_large},
    request::Call,
};
use crate::{
    model::{AttemptError, Check, CheckVerdict, ErrorClass, Limits, LogRecord, Metric},
    plugin::{
        contract::runner::provider::types::ErrorKind,
        failure::{beginning, failure, stderr_tail},
        interrupt::Guard,
        sandbox::store::Sandbox,
    },
};

/// Exit codes that BSD's `sysexits.h` gave a meaning.
const EX_USAGE: i32 = 64;
const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;
const EX_CONFIG: i32 = 78;

#[derive(Serialize)]
struct Question<'a> {
    trial_id: &'a str,
    test_id: &'a str,
    provider: &'a str,
    repeat: u32,
    attempt: u32,
    seed: u32,
    input: &'a RawValue,
    config: &'a RawValue,
    tags: &'a [String],
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum JsonAnswer<T> {
    Ok(T),
    Err(AnswerError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerReply {
    output: Value,
    verdict: Option<AnswerVerdict>,
    score: Option<f64>,
    summary: Option<String>,
    #[serde(default)]
    checks: Vec<AnswerCheck>,
    #[serde(default)]
    metrics: Vec<AnswerMetric>,
    #[serde(rename = "extra")]
    _extra: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnswerVerdict {
    Pass,
    Fail,
    Skip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCheck {
    name: String,
    verdict: AnswerVerdict,
    score: Option<f64>,
    message: Option<String>,
    details: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerMetric {
    name: String,
    value: f64,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerError {
    kind: AnswerKind,
    code: String,
    message: String,
    retry_after: Option<u32>,
    #[serde(rename = "details")]
    _details: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerKind {
    InvalidConfig,
    InvalidInput,
    Denied,
    Unavailable,
    RateLimited,
    Stopped,
    Internal,
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerDescription {
    name: String,
    version: String,
    summary: String,
    config_schema: Option<Box<RawValue>>,
    input_schema: Option<Box<RawValue>>,
    #[serde(default)]
    requests: Vec<String>,
    #[serde(rename = "extra")]
    _extra: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct LogLine {
    level: String,
    message: String,
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
}

/// What a command reads on its standard input.
pub(super) fn question(call: &Call<'_>) -> Vec<u8> {
    let raw = |text| serde_json::from_str(text).expect("input and configuration are JSON");
    let question = Question {
        trial_id: call.trial,
        test_id: call.test,
        provider: call.provider,
        repeat: call.repeat,
        attempt: call.attempt,
        seed: call.seed,
        input: raw(&call.input),
        config: raw(&call.config),
        tags: &call.tags,
    };
    serde_json::to_vec(&question).expect("a question has nothing that JSON cannot say")
}

/// What a command's standard output and exit code mean.
pub(in crate::plugin) fn answer(
    stdout: Vec<u8>,
    exit_code: i32,
    sandbox: &Sandbox,
    (limits, guard): (&Limits, &Guard),
) -> Ending {
    match parse::<AnswerReply>(stdout, exit_code, sandbox, limits) {
        Ok(JsonAnswer::Ok(reply)) => few_parts(reply.checks.len(), reply.metrics.len())
            .map_or_else(Ending::Error, |()| Ending::Reply(reply.into())),
        Ok(JsonAnswer::Err(error)) => error.ending(guard),
        Err(error) => Ending::Error(error),
    }
}

/// What a command says about itself.
pub(in crate::plugin) fn description(
    stdout: Vec<u8>,
    exit_code: i32,
    sandbox: &Sandbox,
    (limits, guard): (&Limits, &Guard),
) -> Result<Description, AttemptError> {
    match parse::<AnswerDescription>(stdout, exit_code, sandbox, limits)? {
        JsonAnswer::Ok(answer) => {
            let description = Description {
                config_schema: read_schema(
                    "config_schema",
                    answer.config_schema.as_deref().map(RawValue::get),
                )?,
                input_schema: read_schema(
                    "input_schema",
                    answer.input_schema.as_deref().map(RawValue::get),
                )?,
                name: answer.name,
                version: answer.version,
                summary: answer.summary,
                requests: answer.requests,
            };
            description.bounded()
        }
        JsonAnswer::Err(error) => Err(error.ending(guard).into_error()),
    }
}

/// A line of standard error as a log record: as the JSON that it is, else as plain text; `None` of an empty one.
pub(in crate::plugin) fn log_record(line: &str, at: Option<Timestamp>) -> Option<LogRecord> {
    if line.trim().is_empty() {
        return None;
    }
    let record = json_record(line).unwrap_or_else(|| plain_record(line));
    Some(LogRecord { at, ..record })
}

/// An answer on standard output counts, except a success of a command that says by its exit code that it failed.
///
/// It takes the text, so that it is gone when its value is there.
#[expect(
    clippy::needless_pass_by_value,
    reason = "two of what may be large are not kept"
)]
fn parse<T: DeserializeOwned>(
    stdout: Vec<u8>,
    exit_code: i32,
    sandbox: &Sandbox,
    limits: &Limits,
) -> Result<JsonAnswer<T>, AttemptError> {
    let tail = || stderr_tail(&sandbox.stderr.text());
    match (Allowance::of(limits).parse(&stdout), exit_code) {
        (Ok(answer @ JsonAnswer::Err(_)), _) | (Ok(answer), 0) => Ok(answer),
        (Err(error @ Unread::TooLarge(_)), _) => Err(too_large("standard output", &error)),
        (Err(Unread::Json(error)), 0) => Err(failure(
            ErrorClass::Protocol,
            "json",
            format!(
                "the standard output is not one JSON object `{{\"ok\": …}}` or `{{\"err\": …}}`: {error}{}{}",
                beginning(&stdout),
                tail()
            ),
        )),
        (_, code) => {
            // Runtimes end so when an allocation fails.
            let error = out_of_memory(sandbox).unwrap_or_else(|| {
                let message = format!("the command exited with {code}");
                failure(exit_class(code), format!("exit-{code}"), message)
            });
            Err(AttemptError {
                message: error.message + &tail(),
                ..error
            })
        }
    }
}

fn exit_class(code: i32) -> ErrorClass {
    match code {
        EX_TEMPFAIL => ErrorClass::Unavailable,
        EX_USAGE | EX_DATAERR => ErrorClass::InvalidInput,
        EX_CONFIG => ErrorClass::InvalidConfig,
        _ => ErrorClass::Internal,
    }
}

fn json_record(line: &str) -> Option<LogRecord> {
    let line: LogLine = serde_json::from_str(line).ok()?;
    let levels = ["trace", "debug", "info", "warn", "error"];
    let level = levels.into_iter().find(|level| *level == line.level)?;
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let fields = line
        .fields
        .into_iter()
        .map(|(name, value)| (name, text(value)));
    Some(LogRecord {
        at: None,
        level,
        message: line.message,
        fields: fields.collect(),
    })
}

fn plain_record(line: &str) -> LogRecord {
    LogRecord {
        at: None,
        level: "info",
        message: line.to_owned(),
        fields: Vec::new(),
    }
}

impl AnswerError {
    fn ending(self, guard: &Guard) -> Ending {
        let kind = match self.kind {
            AnswerKind::InvalidConfig => ErrorKind::InvalidConfig,
            AnswerKind::InvalidInput => ErrorKind::InvalidInput,
            AnswerKind::Denied => ErrorKind::Denied,
            AnswerKind::Unavailable => ErrorKind::Unavailable,
            AnswerKind::RateLimited => ErrorKind::RateLimited,
            AnswerKind::Stopped => ErrorKind::Stopped,
            AnswerKind::Internal => ErrorKind::Internal,
            AnswerKind::Other => ErrorKind::Other,
        };
        let known = AttemptError {
            class: None,
            code: self.code,
            message: self.message,
            retry_after: self.retry_after.map(|ms| Duration::from_millis(ms.into())),
            fault: None,
        };
        provider_error(kind, known, guard)
    }
}

impl From<AnswerReply> for Reply {
    fn from(reply: AnswerReply) -> Self {
        Self {
            output: reply.output,
            verdict: reply.verdict.map(CheckVerdict::from),
            score: reply.score,
            summary: reply.summary,
            checks: reply.checks.into_iter().map(Check::from).collect(),
            metrics: reply.metrics.into_iter().map(Metric::from).collect(),
            exit_code: None,
        }
    }
}

impl From<AnswerVerdict> for CheckVerdict {
    fn from(verdict: AnswerVerdict) -> Self {
        match verdict {
            AnswerVerdict::Pass => Self::Pass,
            AnswerVerdict::Fail => Self::Fail,
            AnswerVerdict::Skip => Self::Skip,
        }
    }
}

impl From<AnswerCheck> for Check {
    fn from(check: AnswerCheck) -> Self {
        Self {
            name: check.name.into(),
            verdict: check.verdict.into(),
            score: check.score,
            message: check.message,
            expected: None,
            actual: None,
            diff: None,
            details: check.details,
        }
    }
}

impl From<AnswerMetric> for Metric {
    fn from(metric: AnswerMetric) -> Self {
        Self {
            name: metric.name,
            value: metric.value,
            unit: metric.unit,
        }
    }
}
