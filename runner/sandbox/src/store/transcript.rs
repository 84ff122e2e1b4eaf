//! [`Transcript`]: what happens in an attempt, as the host sees it and as the guest reports it.

use runner_model::row::Raw;
use serde_json::{Value, json};

use super::host::Host;
use crate::call::{reply::read_json, tools::ToolCall, tools::kind_word};
use crate::contract::runner::provider::transcript::{self, TranscriptError};

/// The steps of an attempt, each an object of the Agent Trajectory Interchange Format without `step_id`.
#[derive(Default)]
pub(crate) struct Transcript {
    pub(crate) steps: Vec<Raw<'static>>,
    /// Bytes that further steps may have.
    left: u64,
    /// Steps beyond the limit.
    pub(crate) dropped: u64,
    /// Number of the last call of a tool.
    calls: u32,
}

impl Transcript {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: limit, ..Self::default() }
    }

    /// Adds a step. Returns whether it fits.
    fn push(&mut self, step: Raw<'static>) -> bool {
        let left = self.left.checked_sub(step.get().len() as u64);
        match left {
            Some(left) => {
                self.left = left;
                self.steps.push(step);
            }
            None => self.dropped += 1,
        }
        left.is_some()
    }
}

impl Host {
    /// Adds a call of a tool.
    pub(crate) fn add_call(&mut self, call: &ToolCall<'_>) {
        self.transcript.calls += 1;
        let id = format!("tool-{}", self.transcript.calls);
        let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let (content, error) = match call.result {
            Ok(output) => (output.to_owned(), None),
            Err(error) => (error.message.clone(), Some(kind_word(error.kind))),
        };
        let arguments = match parse(call.input) {
            object @ Value::Object(_) => object,
            other => json!({ "input": other }),
        };
        let mut extra = json!({ "by": "runner", "duration_ms": call.took.as_millis() as u64 });
        if let Some(error) = error {
            extra["error"] = error.into();
        }
        let step = json!({
            "source": "agent",
            "message": "",
            "tool_calls": [{ "tool_call_id": id, "function_name": call.name, "arguments": arguments }],
            "observation": { "results": [{ "source_call_id": id, "content": content }] },
            "extra": extra,
        });
        if let Ok(step) = read_json("step", step.to_string(), self.redactor()) {
            self.transcript.push(step);
        }
    }
}

impl transcript::Host for Host {
    fn append(&mut self, step: String) -> Result<(), TranscriptError> {
        self.calls += 1;
        let step =
            read_json("step", step, self.redactor()).map_err(|_| TranscriptError::Invalid)?;
        if !step.get().starts_with('{') {
            return Err(TranscriptError::Invalid);
        }
        self.transcript.push(step).then_some(()).ok_or(TranscriptError::TooLarge)
    }
}
