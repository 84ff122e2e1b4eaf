//! [`Transcript`]: the steps of an attempt, in the Agent Trajectory Interchange Format (ATIF) of Harbor, version 1.7.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::enum_text::{is_default, text_enum};
use crate::json::{each_item, read_part};
use crate::{Digest, Text};

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

text_enum! {
    /// How an agent ended, by its own word: `extra.ended` of its last step.
    pub enum AgentEnd {
        /// By an answer.
        Done = "done",
        /// The conversation did not fit the model's context.
        Context = "context",
        /// After its last turn.
        Turns = "turns",
        /// The model refused to answer.
        Refused = "refused",
        /// A limit of the attempt was used up.
        Limit = "limit",
        /// Any other word.
        Other = "other",
    }
}

impl AgentEnd {
    /// Returns the end in the `extra` of a step, whatever its other keys are. `None` without a word.
    pub fn of_extra(extra: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Extra<'a> {
            #[serde(borrow, default)]
            ended: Option<&'a RawValue>,
        }
        let Extra { ended } = serde_json::from_str(extra.get()).ok()?;
        let word = serde_json::from_str::<Text<'_>>(ended?.get()).ok();
        Some(word.and_then(|word| Self::parse(&word)).unwrap_or(Self::Other))
    }
}

/// Digest, numbers of steps and end of an attempt's transcript.
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
    /// How the agent ended, by its own word. Absent without a word in its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<AgentEnd>,
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

/// A step of a transcript. Guests may have written all values but the number, so parts are parsed when they are used.
#[derive(Debug, Deserialize)]
pub struct Step<'a> {
    /// From 1.
    pub step_id: u64,
    #[serde(borrow)]
    pub source: Text<'a>,
    #[serde(borrow)]
    pub message: &'a RawValue,
    #[serde(borrow, default)]
    pub timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub model_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub is_copied_context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub observation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub metrics: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub extra: Option<&'a RawValue>,
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
    /// Kind of the error of a tool.
    #[serde(borrow, default)]
    pub error: Option<Text<'a>>,
    /// Duration of the call of a tool.
    #[serde(default)]
    pub duration_ms: Option<f64>,
    /// Whether the calls of the step were refused, and no tool ran.
    #[serde(default)]
    pub refused: bool,
}

/// A call of a tool with its place.
#[derive(Debug)]
pub struct PlacedCall<'a> {
    /// Number of the step, from 1.
    pub step: u64,
    pub standing: CallStanding,
    pub call: StepCall<'a>,
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

impl<'a> Step<'a> {
    /// Parses the `extra`. That of a guest may have another form, and then says nothing.
    pub fn extra(&self) -> StepExtra<'a> {
        read_part(self.extra).unwrap_or_default()
    }

    /// Calls `each` with the calls of tools.
    ///
    /// # Errors
    ///
    /// `tool_calls` has another form. `each` has got the calls before that place.
    pub fn each_call(&self, each: &mut dyn FnMut(StepCall<'a>)) -> serde_json::Result<()> {
        each_item(self.tool_calls, each)
    }

    /// Returns what is known about the calls of the step. `has_tools` tells whether the agent had tools of the runner.
    fn standing(&self, has_tools: bool) -> CallStanding {
        let extra = self.extra();
        match extra.by.as_deref() {
            _ if extra.refused => CallStanding::Refused,
            Some(BY_RUNNER) => CallStanding::Made,
            _ if has_tools => CallStanding::Claimed,
            _ => CallStanding::Made,
        }
    }
}

impl<'a> Transcript<'a> {
    /// Returns the calls of tools in their order.
    ///
    /// # Errors
    ///
    /// As [`Step::each_call`].
    pub fn calls(&self) -> serde_json::Result<Vec<PlacedCall<'a>>> {
        let has_tools = !self.agent.tool_definitions.is_empty();
        let mut calls = Vec::new();
        for step in &self.steps {
            let (number, standing) = (step.step_id, step.standing(has_tools));
            step.each_call(&mut |call| calls.push(PlacedCall { step: number, standing, call }))?;
        }
        Ok(calls)
    }
}
