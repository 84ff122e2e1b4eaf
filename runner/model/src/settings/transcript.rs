//! [`Transcript`]: the steps of an attempt, in the Agent Trajectory Interchange Format (ATIF) of Harbor, version 1.7.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Digest, Text, enum_text::is_default};

/// Name of the artifact with the transcript.
pub const TRANSCRIPT: &str = "transcript.json";
/// `schema_version` of a transcript.
pub const ATIF: &str = "ATIF-v1.7";
/// `extra.by` of a step that the runner saw itself.
pub const BY_RUNNER: &str = "runner";
/// `extra.by` of a step that the guest reported.
pub const BY_GUEST: &str = "guest";

/// Maximum bytes of a transcript without its steps.
pub const MAX_HEAD: u64 = 2 << 20;

/// Digest and numbers of steps of an attempt's transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TranscriptResult {
    /// Digest of the artifact `transcript.json`.
    pub sha256: Option<Digest>,
    /// Number of steps.
    pub steps: u64,
    /// Number of steps that are missing, because they did not fit `limits.transcript`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropped: u64,
}

/// A transcript, as far as the runner reads it. Other keys are kept in the file.
#[derive(Debug, Deserialize)]
pub struct Transcript<'a> {
    #[serde(borrow)]
    pub agent: Agent<'a>,
    #[serde(borrow)]
    pub steps: Vec<Step<'a>>,
}

/// The agent of a transcript.
#[derive(Debug, Default, Deserialize)]
pub struct Agent<'a> {
    /// Definitions of the tools that the agent may call.
    #[serde(borrow, default)]
    pub tool_definitions: Vec<&'a RawValue>,
}

/// A step of a transcript.
#[derive(Debug, Deserialize)]
pub struct Step<'a> {
    #[serde(borrow, default)]
    pub tool_calls: Option<Vec<StepCall<'a>>>,
    #[serde(borrow, default)]
    pub extra: Option<StepExtra<'a>>,
}

/// A call of a tool in a step.
#[derive(Debug, Deserialize)]
pub struct StepCall<'a> {
    #[serde(borrow)]
    pub function_name: Text<'a>,
    #[serde(borrow)]
    pub arguments: &'a RawValue,
}

/// The `extra` of a step.
#[derive(Debug, Default, Deserialize)]
pub struct StepExtra<'a> {
    /// [`BY_RUNNER`] or [`BY_GUEST`].
    #[serde(borrow, default)]
    pub by: Option<Text<'a>>,
    /// Whether the calls of the step were refused, and no tool ran.
    #[serde(default)]
    pub refused: bool,
}

/// What is known about a call of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStanding {
    /// A guest reports it, although the runner makes the calls of tools. It counts for `never` alone.
    Claimed,
    /// It reached no tool. It counts for `never` and `max_calls`.
    Refused,
    /// It counts for each check.
    Made,
}

impl CallStanding {
    /// Returns what is known about the calls of a step by its `extra`. `has_tools` tells whether the agent had tools of the runner.
    pub fn of(by: Option<&str>, is_refused: bool, has_tools: bool) -> Self {
        match by {
            _ if is_refused => Self::Refused,
            Some(BY_RUNNER) => Self::Made,
            _ if has_tools => Self::Claimed,
            _ => Self::Made,
        }
    }
}

impl<'a> Transcript<'a> {
    /// Returns the calls of tools in their order.
    pub fn calls(&self) -> impl Iterator<Item = (CallStanding, &StepCall<'a>)> {
        let has_tools = !self.agent.tool_definitions.is_empty();
        self.steps.iter().flat_map(move |step| {
            let extra = step.extra.as_ref();
            let by = extra.and_then(|extra| extra.by.as_deref());
            let is_refused = extra.is_some_and(|extra| extra.refused);
            let standing = CallStanding::of(by, is_refused, has_tools);
            step.tool_calls.iter().flatten().map(move |call| (standing, call))
        })
    }
}
