//! The contract inside of a component: generated bindings, and conversions between their types and those of the SDK.

use std::marker::PhantomData;
use std::time::Duration;

use bindings::exports::runner::provider::provider::{
    Description, Guest, ProviderError, Reply as WireReply, Test as WireTest,
};
use bindings::runner::provider::types::{
    Check as WireCheck, ErrorKind as WireErrorKind, Metric as WireMetric, Verdict as WireVerdict,
};
use bindings::runner::provider::{
    artifacts as wire_artifacts, control as wire_control, files as wire_files, http as wire_http,
    log as wire_log, records as wire_records, secrets as wire_secrets, tools as wire_tools,
    transcript as wire_transcript,
};

use crate::artifacts::ArtifactError;
use crate::files::{File, FileError};
use crate::http::{HttpError, Request, Response};
use crate::log::Level;
use crate::provider::RawTest;
use crate::records::RecordError;
use crate::secrets::SecretError;
use crate::tools::{Tool, ToolError, ToolErrorKind};
use crate::transcript::TranscriptError;
use crate::{Check, Error, ErrorKind, FromJson, Lifecycle, Metric, Packaged, Reply, Verdict};

#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    reason = "generated: strings and lists cross the boundary as pointers"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        // An import that a plugin does not use is not in its component.
        world: "everything",
        pub_export_macro: true,
        default_bindings_module: "runner_sdk::__private::bindings",
    });
}

/// The optional export of [`export_with_lifecycle!`](crate::export_with_lifecycle).
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    reason = "generated: strings and lists cross the boundary as pointers"
)]
pub mod lifecycle_bindings {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package runner:sdk; world lifecycle { export runner:provider/lifecycle@0.1.2; }",
        world: "runner:sdk/lifecycle",
        with: { "runner:provider/types@0.1.2": crate::guest::bindings::runner::provider::types },
        pub_export_macro: true,
        default_bindings_module: "runner_sdk::__private::lifecycle_bindings",
    });
}

/// A provider with the exports of the contract.
pub struct Exported<P>(PhantomData<P>);

impl<P: Packaged> Guest for Exported<P> {
    fn describe() -> Description {
        Description {
            name: P::PACKAGE.name.to_owned(),
            version: P::PACKAGE.version.to_owned(),
            summary: P::PACKAGE.summary.to_owned(),
            config_schema: P::Config::schema(),
            input_schema: P::Input::schema(),
            requests: P::requests(),
            extra: None,
        }
    }

    fn run(test: WireTest) -> Result<WireReply, ProviderError> {
        let test = RawTest {
            trial_id: test.trial_id,
            test_id: test.test_id,
            provider: test.provider,
            repeat: test.repeat,
            attempt: test.attempt,
            seed: test.seed,
            input: test.input,
            config: test.config,
            tags: test.tags,
        };
        match crate::provider::run::<P>(test) {
            Ok(reply) => Ok(reply.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<P: Lifecycle> lifecycle_bindings::exports::runner::provider::lifecycle::Guest for Exported<P> {
    fn setup(config: String) -> Result<(), ProviderError> {
        crate::lifecycle::setup::<P>(config).map_err(ProviderError::from)
    }

    fn teardown() {
        crate::lifecycle::teardown::<P>();
    }
}

impl From<Reply> for WireReply {
    fn from(reply: Reply) -> Self {
        Self {
            output: reply.output,
            verdict: reply.verdict.map(WireVerdict::from),
            score: reply.score,
            summary: reply.summary,
            checks: reply.checks.into_iter().map(WireCheck::from).collect(),
            metrics: reply.metrics.into_iter().map(WireMetric::from).collect(),
            extra: None,
        }
    }
}

impl From<Metric> for WireMetric {
    fn from(metric: Metric) -> Self {
        Self { name: metric.name, value: metric.value, unit: metric.unit }
    }
}

impl From<Check> for WireCheck {
    fn from(check: Check) -> Self {
        Self {
            name: check.name,
            verdict: check.verdict.into(),
            score: check.score,
            message: check.message,
            details: check.details.map(|details| details.to_string()),
        }
    }
}

impl From<Verdict> for WireVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Skip => Self::Skip,
        }
    }
}

impl From<Error> for ProviderError {
    fn from(error: Error) -> Self {
        Self {
            kind: match error.kind {
                ErrorKind::InvalidConfig => WireErrorKind::InvalidConfig,
                ErrorKind::InvalidInput => WireErrorKind::InvalidInput,
                ErrorKind::Denied => WireErrorKind::Denied,
                ErrorKind::Unavailable => WireErrorKind::Unavailable,
                ErrorKind::RateLimited => WireErrorKind::RateLimited,
                ErrorKind::Stopped => WireErrorKind::Stopped,
                ErrorKind::Internal => WireErrorKind::Internal,
                ErrorKind::Other => WireErrorKind::Other,
            },
            code: error.code,
            message: error.message,
            retry_after: error.retry_after.map(milliseconds),
            details: error.details.map(|details| details.to_string()),
        }
    }
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => wire_log::Level::Trace,
        Level::Debug => wire_log::Level::Debug,
        Level::Info => wire_log::Level::Info,
        Level::Warn => wire_log::Level::Warn,
        Level::Error => wire_log::Level::Error,
    };
    let fields: Vec<_> =
        fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    wire_log::log(level, message, &fields);
}

pub(crate) fn progress(fraction: Option<f64>, message: &str) {
    wire_control::progress(fraction, message);
}

pub(crate) fn stop_requested() -> bool {
    wire_control::stop_requested()
}

pub(crate) fn remaining() -> Duration {
    Duration::from_millis(wire_control::remaining().into())
}

pub(crate) fn report_usage(metrics: Vec<Metric>) -> Option<String> {
    let metrics: Vec<_> = metrics.into_iter().map(WireMetric::from).collect();
    wire_control::report_usage(&metrics)
}

pub(crate) fn files() -> Vec<File> {
    wire_files::names()
        .into_iter()
        .map(|file| File { name: file.name, media_type: file.media_type, size: file.size })
        .collect()
}

pub(crate) fn read_file(name: &str, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
    wire_files::read(name, offset, length).map_err(|error| match error {
        wire_files::FileError::NotFound => FileError::NotFound,
        wire_files::FileError::OutOfRange => FileError::OutOfRange,
        wire_files::FileError::Unavailable => FileError::Unavailable,
    })
}

pub(crate) fn secret(name: &str) -> Result<String, SecretError> {
    wire_secrets::get(name).map_err(|error| match error {
        wire_secrets::SecretError::Denied => SecretError::Denied,
        wire_secrets::SecretError::NotFound => SecretError::NotFound,
    })
}

pub(crate) fn append_artifact(
    name: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), ArtifactError> {
    wire_artifacts::append(name, media_type, bytes).map_err(|error| match error {
        wire_artifacts::ArtifactError::BadName => ArtifactError::BadName,
        wire_artifacts::ArtifactError::TooLarge => ArtifactError::TooLarge,
        wire_artifacts::ArtifactError::TooMany => ArtifactError::TooMany,
        wire_artifacts::ArtifactError::Unavailable => ArtifactError::Unavailable,
    })
}

pub(crate) fn send(request: Request) -> Result<Response, HttpError> {
    let response = wire_http::send(&wire_http::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout: request.timeout.map(milliseconds),
        extra: None,
    })
    .map_err(|error| match error {
        wire_http::HttpError::Denied(why) => HttpError::Denied(why),
        wire_http::HttpError::InvalidRequest(why) => HttpError::InvalidRequest(why),
        wire_http::HttpError::Unreachable(why) => HttpError::Unreachable(why),
        wire_http::HttpError::Timeout => HttpError::Timeout,
        wire_http::HttpError::TooLarge(why) => HttpError::TooLarge(why),
        wire_http::HttpError::Other(why) => HttpError::Other(why),
    })?;

    Ok(Response {
        status: response.status,
        headers: response.headers,
        body: response.body,
        duration: Duration::try_from_secs_f64(response.duration_ms / 1000.0).unwrap_or_default(),
    })
}

pub(crate) fn tools() -> Vec<Tool> {
    wire_tools::list()
        .into_iter()
        .map(|tool| Tool {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema.and_then(|schema| serde_json::from_str(&schema).ok()),
        })
        .collect()
}

pub(crate) fn call_tool(name: &str, input: &str) -> Result<String, ToolError> {
    wire_tools::call(name, input).map_err(|error| ToolError {
        kind: match error.kind {
            wire_tools::ToolErrorKind::Denied => ToolErrorKind::Denied,
            wire_tools::ToolErrorKind::InvalidInput => ToolErrorKind::InvalidInput,
            wire_tools::ToolErrorKind::Timeout => ToolErrorKind::Timeout,
            wire_tools::ToolErrorKind::Trap => ToolErrorKind::Trap,
            wire_tools::ToolErrorKind::Limit => ToolErrorKind::Limit,
            wire_tools::ToolErrorKind::Stopped => ToolErrorKind::Stopped,
            wire_tools::ToolErrorKind::Failed => ToolErrorKind::Failed,
        },
        message: error.message,
        details: error.details.and_then(|details| serde_json::from_str(&details).ok()),
    })
}

pub(crate) fn append_step(step: &str) -> Result<(), TranscriptError> {
    wire_transcript::append(step).map_err(|error| match error {
        wire_transcript::TranscriptError::Invalid => TranscriptError::Invalid,
        wire_transcript::TranscriptError::TooLarge => TranscriptError::TooLarge,
    })
}

pub(crate) fn append_record(record: &str) -> Result<(), RecordError> {
    wire_records::append(record).map_err(|error| match error {
        wire_records::RecordError::Invalid => RecordError::Invalid,
        wire_records::RecordError::TooLarge => RecordError::TooLarge,
        wire_records::RecordError::TooMany => RecordError::TooMany,
        wire_records::RecordError::Unavailable => RecordError::Unavailable,
    })
}

/// Returns milliseconds of 32 bits, as in the contract. Longer times become the maximum, 49 days.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
