//! The JSON protocol of commands: one object on standard input, one on standard output, and log
//! records on standard error.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use runner_model::log::{Level, LogRecord};
use runner_model::row::{Check, Metric, Raw, RowError};
use runner_model::{ErrorClass, Text, Time, outcome::Verdict, provider::Description};
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::classify::{into_error, out_of_memory};
use super::description::{bounded as bounded_description, read_schema};
use super::ended::{Ending, Reply};
use super::json::read_json;
use super::reply::{bounded, provider_error};
use super::{field::wrong_field, inputs::Call};
use crate::message::{failure, stderr_tail, with_excerpt};
use crate::{interrupt::Interrupt, redact::Redactor, store::Sandbox};

/// Exit codes of BSD's `sysexits.h`.
const EX_USAGE: i32 = 64;
const EX_DATAERR: i32 = 65;
const EX_TEMPFAIL: i32 = 75;
const EX_CONFIG: i32 = 78;

#[derive(Serialize)]
struct JsonInput<'a> {
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
    Err(JsonError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonReply {
    output: Box<RawValue>,
    verdict: Option<Verdict>,
    score: Option<f64>,
    summary: Option<String>,
    #[serde(default)]
    checks: Vec<JsonCheck>,
    #[serde(default)]
    metrics: Vec<JsonMetric>,
    #[serde(rename = "extra")]
    _extra: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCheck {
    name: String,
    verdict: Verdict,
    score: Option<f64>,
    message: Option<String>,
    details: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMetric {
    name: String,
    value: f64,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonError {
    #[serde(deserialize_with = "error_kind")]
    kind: Option<ErrorClass>,
    code: String,
    message: String,
    retry_after: Option<u32>,
    details: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonDescription {
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
    level: Level,
    message: String,
    #[serde(default)]
    fields: BTreeMap<String, Box<RawValue>>,
}

/// Parses the kind of an error: a class that providers may use, or `stopped`, which has no class.
fn error_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ErrorClass>, D::Error> {
    use ErrorClass::{
        Denied, Internal, InvalidConfig, InvalidInput, Other, RateLimited, Unavailable,
    };
    let word = Text::deserialize(deserializer)?;
    match ErrorClass::parse(&word) {
        Some(
            class @ (InvalidConfig | InvalidInput | Denied | Unavailable | RateLimited | Internal
            | Other),
        ) => Ok(Some(class)),
        _ if &*word == "stopped" => Ok(None),
        // Not cut, because redaction later does not find a secret that was cut.
        _ => Err(de::Error::custom(format_args!("`{}` is not an error kind", &*word))),
    }
}

/// Encodes the object for standard input.
pub(crate) fn encode_input(call: &Call<'_>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&JsonInput {
        trial_id: call.trial,
        test_id: call.test,
        provider: call.provider,
        repeat: call.repeat,
        attempt: call.attempt,
        seed: call.seed,
        input: serde_json::from_str(call.input)?,
        config: serde_json::from_str(call.config)?,
        tags: call.tags,
    })
}

/// Converts standard output and exit code to an ending.
pub(crate) fn read_reply(
    stdout: &[u8],
    exit_code: i32,
    sandbox: &Sandbox,
    interrupt: &Interrupt,
) -> Ending {
    let redactor = sandbox.host.redactor();
    match parse::<JsonReply>(stdout, exit_code, sandbox) {
        Ok(JsonAnswer::Ok(reply)) => reply
            .read(redactor)
            .and_then(bounded)
            .map_or_else(Ending::Error, |reply| Ending::Reply(Box::new(reply))),
        Ok(JsonAnswer::Err(error)) => error.ending(interrupt, redactor),
        Err(error) => Ending::Error(error),
    }
}

/// Converts standard output and exit code to a description.
pub(crate) fn read_description(
    stdout: &[u8],
    exit_code: i32,
    sandbox: &Sandbox,
    interrupt: &Interrupt,
) -> Result<Description, RowError<'static>> {
    let answer = match parse::<JsonDescription>(stdout, exit_code, sandbox)? {
        JsonAnswer::Ok(answer) => answer,
        JsonAnswer::Err(error) => return Err(into_error(error.ending(interrupt, None))),
    };
    let schema = |what, schema: &Option<Box<RawValue>>| {
        read_schema(what, schema.as_deref().map(RawValue::get))
    };
    bounded_description(Description {
        config_schema: schema("config_schema", &answer.config_schema)?,
        input_schema: schema("input_schema", &answer.input_schema)?,
        name: answer.name,
        version: answer.version,
        summary: answer.summary,
        requests: answer.requests,
    })
}

/// Converts the lines of standard error to log records.
pub(crate) fn read_log(sandbox: &mut Sandbox) {
    let mut times = sandbox.stderr.take_times().into_iter();
    let end = (Time::from(SystemTime::now()), sandbox.host.calls_made());
    for line in sandbox.stderr.text().lines() {
        let place = times.next().unwrap_or(end);
        if !line.trim().is_empty() {
            sandbox.host.note(log_record(line, place));
        }
    }
}

/// Parses a line of standard error as JSON. Any other text becomes the record's message.
fn log_record(line: &str, (at, calls): (Time, u32)) -> LogRecord<'static> {
    let Ok(read) = serde_json::from_str::<LogLine>(line) else {
        return LogRecord {
            at,
            calls,
            level: Level::Info,
            message: line.to_owned().into(),
            fields: Vec::new(),
        };
    };
    let text = |value: Box<RawValue>| {
        serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
    };
    LogRecord {
        at,
        calls,
        level: read.level,
        message: read.message.into(),
        fields: read
            .fields
            .into_iter()
            .map(|(name, value)| (name.into(), text(value).into()))
            .collect(),
    }
}

/// Parses standard output. With an exit code other than 0, only an `err` object counts.
fn parse<'a, T: Deserialize<'a>>(
    stdout: &'a [u8],
    exit_code: i32,
    sandbox: &Sandbox,
) -> Result<JsonAnswer<T>, RowError<'static>> {
    let error = match (serde_json::from_slice(stdout), exit_code) {
        (Ok(answer @ JsonAnswer::Err(_)), _) | (Ok(answer), 0) => return Ok(answer),
        (Err(error), 0) => match wrong_field(stdout, &error) {
            Some(message) => failure(ErrorClass::Protocol, "json", message),
            None => {
                let advice = match stdout.trim_ascii_start().first() {
                    None | Some(b'{') if !error.to_string().starts_with("trailing") => "",
                    _ => {
                        " (write everything else to standard error, or leave out `protocol = \"json\"` for a plain program)"
                    }
                };
                let message = format!(
                    "the standard output is not one JSON object `{{\"ok\": …}}` or `{{\"err\": …}}`: {error}{advice}"
                );
                let error = failure(ErrorClass::Protocol, "json", message);
                with_excerpt(error, stdout, sandbox.host.redactor())
            }
        },
        // Runtimes exit like this after a failed allocation.
        (_, code) => out_of_memory(sandbox).unwrap_or_else(|| {
            let message = format!("the command exited with {code}");
            failure(exit_class(code), format!("exit-{code}"), message)
        }),
    };
    Err(RowError { stderr: stderr_tail(&sandbox.stderr.text()), ..error })
}

fn exit_class(code: i32) -> ErrorClass {
    match code {
        EX_TEMPFAIL => ErrorClass::Unavailable,
        EX_USAGE | EX_DATAERR => ErrorClass::InvalidInput,
        EX_CONFIG => ErrorClass::InvalidConfig,
        _ => ErrorClass::Internal,
    }
}

impl JsonError {
    fn ending(self, interrupt: &Interrupt, redactor: Option<&Arc<Redactor>>) -> Ending {
        let read = RowError {
            class: self.kind,
            code: self.code.into(),
            message: self.message.into(),
            retry_after_ms: self.retry_after,
            details: self.details.and_then(|details| read_raw("details", details, redactor).ok()),
            ..RowError::default()
        };
        provider_error(read, interrupt)
    }
}

impl JsonReply {
    fn read(self, redactor: Option<&Arc<Redactor>>) -> Result<Reply, RowError<'static>> {
        let checks = self.checks.into_iter().map(|check| check.read(redactor));
        let metrics = self.metrics.into_iter().map(|metric| Metric {
            name: metric.name.into(),
            value: metric.value,
            unit: metric.unit.map(Into::into),
        });
        Ok(Reply {
            output: read_raw("output", self.output, redactor)?,
            verdict: self.verdict,
            score: self.score,
            summary: self.summary.map(Into::into),
            checks: checks.collect::<Result<_, _>>()?,
            metrics: metrics.collect(),
            exit_code: None,
        })
    }
}

impl JsonCheck {
    fn read(self, redactor: Option<&Arc<Redactor>>) -> Result<Check<'static>, RowError<'static>> {
        Ok(Check {
            score: self.score.and_then(|score| Raw::of(&score).ok()),
            message: self.message.map(Into::into),
            details: self
                .details
                .map(|details| read_raw("details of a check", details, redactor))
                .transpose()?,
            ..Check::own(self.name, self.verdict)
        })
    }
}

fn read_raw(
    what: &str,
    value: Box<RawValue>,
    redactor: Option<&Arc<Redactor>>,
) -> Result<Raw<'static>, RowError<'static>> {
    read_json(what, String::from(Box::<str>::from(value)), redactor)
}

#[cfg(test)]
mod tests {
    use runner_model::{Time, log::Level};

    use super::log_record;

    #[test]
    fn line_of_standard_error_becomes_a_record() {
        let place = (Time::from_millis(1), 7);
        let line = r#"{"level":"warn","message":"careful","fields":{"n":1,"s":"x"},"more":0}"#;
        let record = log_record(line, place);
        assert_eq!((record.level, &*record.message), (Level::Warn, "careful"));
        assert_eq!((record.at, record.calls), place);
        let fields: Vec<_> = record.fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(fields, [("n", "1"), ("s", "x")]);
        for line in ["just text", r#"{"level":"loud","message":"x"}"#, "{}"] {
            let record = log_record(line, place);
            assert_eq!((record.level, &*record.message), (Level::Info, line));
        }
    }
}
