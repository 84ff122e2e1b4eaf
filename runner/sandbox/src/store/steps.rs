//! Steps of a transcript: calls that the host has made, and steps that the guest reports.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use runner_model::Time;
use runner_model::row::Raw;
use runner_model::transcript::{self as model, AgentEnd, BY_GUEST, BY_RUNNER};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue, value::to_raw_value};

use super::{host::Host, stdio::Capture};
use crate::call::json::read_json;
use crate::contract::runner::provider::tools::{ToolError, ToolErrorKind};
use crate::contract::runner::provider::transcript::{self, TranscriptError};

/// Bytes that a result keeps at its start and at its end. Bundled plugins bound the texts of their steps to the same sum, and a flood
/// of 4 MiB in each call would leave no room for the next ones.
const RESULT_END: u64 = 128 << 10;

/// A call of a tool that has ended, or was refused.
pub(crate) struct ToolCall<'a> {
    pub(crate) name: &'a str,
    /// JSON.
    pub(crate) input: &'a str,
    /// JSON, or the error.
    pub(crate) result: Result<&'a str, &'a ToolError>,
    /// `None` if the call was refused, and no tool ran.
    pub(crate) took: Option<Duration>,
}

/// A call of a tool as a step.
#[derive(Serialize)]
struct CallStep<'a> {
    timestamp: Time,
    source: &'static str,
    message: &'static str,
    tool_calls: [StepCall<'a>; 1],
    observation: Value,
    /// Always 0, because the runner's step is not a call of a model.
    llm_call_count: u32,
    extra: Value,
}

#[derive(Serialize)]
struct StepCall<'a> {
    tool_call_id: &'a str,
    function_name: &'a str,
    arguments: &'a RawValue,
}

impl Host {
    /// Adds a call of a tool.
    pub(crate) fn add_call(&mut self, call: &ToolCall<'_>) {
        self.transcript.calls += 1;
        let id = format!("tool-{}", self.transcript.calls);
        let (content, error) = match call.result {
            Ok(output) => (output, None),
            Err(error) => (&*error.message, Some(kind_word(error.kind))),
        };
        let mut extra = json!({ "by": BY_RUNNER });
        if let Some(error) = error {
            extra["error"] = error.into();
        }
        match call.took {
            None => extra["refused"] = true.into(),
            Some(took) if self.guard.determinism.is_none() => {
                extra["duration_ms"] = json!(took.as_micros() as f64 / 1000.0);
            }
            Some(_) => {}
        }
        let input = call.input.trim();
        // Arguments are an object.
        let arguments = match input.starts_with('{') {
            true => RawValue::from_string(input.to_owned()),
            false => RawValue::from_string(format!("{{\"input\":{input}}}")),
        };
        let Ok(arguments) = arguments else { return };
        let results =
            |content: &str| json!({ "results": [{ "source_call_id": id, "content": content }] });
        let mut step = CallStep {
            timestamp: self.step_time(),
            source: "agent",
            message: "",
            tool_calls: [StepCall {
                tool_call_id: &id,
                function_name: call.name,
                arguments: &arguments,
            }],
            observation: results(&Capture::cut(content, RESULT_END, self.redactor())),
            llm_call_count: 0,
            extra,
        };
        // No call may be without a step, so nothing in it is checked again: the input is checked JSON.
        let raw = |step: &CallStep<'_>| {
            let text = String::from(Box::<str>::from(to_raw_value(step).ok()?));
            Raw::from_string(text).ok()
        };
        let Some(mut added) = raw(&step) else { return };
        if !self.transcript.has_room_for(&added) {
            // A call without its result can still be judged.
            step.observation = results(&Capture::cut(content, 0, None));
            added = raw(&step).unwrap_or(added);
        }
        self.transcript.push(added, None);
    }

    /// Returns the time of a step by the clock of the guest.
    fn step_time(&self) -> Time {
        match &self.guard.determinism {
            Some(determinism) => determinism.clock.wall(),
            None => SystemTime::now().into(),
        }
    }

    /// Reads a step of the guest. `None` if it is invalid.
    fn read_step(&self, step: &str) -> Option<(Raw<'static>, Option<AgentEnd>)> {
        let mut step: BTreeMap<String, Box<RawValue>> = serde_json::from_str(step).ok()?;
        let word = |key: &str| step.get(key).map(|value| value.get());
        let is_agent = word("source")? == "\"agent\"";
        if !is_agent && !matches!(word("source")?, "\"user\"" | "\"system\"") {
            return None;
        }
        if !word("message")?.starts_with(['"', '[']) {
            return None;
        }
        // A list that cannot be read would spoil the whole transcript.
        let calls =
            step.get("tool_calls").map(|calls| calls.get()).filter(|calls| *calls != "null");
        let are_right = |calls: &str| {
            is_agent && serde_json::from_str::<Vec<model::StepCall<'_>>>(calls).is_ok()
        };
        if !calls.is_none_or(are_right) {
            return None;
        }
        let extra = step.remove("extra");
        let ended = extra.as_deref().and_then(AgentEnd::of_extra);
        let extra = extra.map(|extra| serde_json::from_str(extra.get()));
        let mut extra = extra.transpose().ok()?.unwrap_or_else(|| json!({}));
        // A guest cannot report a step as the runner's.
        extra.as_object_mut()?.insert("by".to_owned(), BY_GUEST.into());
        step.insert("extra".to_owned(), to_raw_value(&extra).ok()?);
        if !step.contains_key("timestamp") {
            step.insert("timestamp".to_owned(), to_raw_value(&self.step_time()).ok()?);
        }
        step.remove("step_id");
        let step = read_json("step", serde_json::to_string(&step).ok()?, self.redactor()).ok()?;
        Some((step, ended))
    }
}

impl transcript::Host for Host {
    fn append(&mut self, step: String) -> Result<(), TranscriptError> {
        self.calls += 1;
        let (step, ended) = self.read_step(&step).ok_or(TranscriptError::Invalid)?;
        self.transcript.push(step, ended).then_some(()).ok_or(TranscriptError::TooLarge)
    }
}

/// Returns a kind of errors as the contract writes it.
fn kind_word(kind: ToolErrorKind) -> &'static str {
    match kind {
        ToolErrorKind::Denied => "denied",
        ToolErrorKind::InvalidInput => "invalid-input",
        ToolErrorKind::Timeout => "timeout",
        ToolErrorKind::Trap => "trap",
        ToolErrorKind::Limit => "limit",
        ToolErrorKind::Stopped => "stopped",
        ToolErrorKind::Failed => "failed",
    }
}
