//! [`TranscriptStep`]: a step of a transcript, as it is shown.

use runner_model::json::{each_item, read_part};
use runner_model::row::{Check, CheckKind, duration};
use runner_model::transcript::{BY_GUEST, Step};
use runner_model::units::{plural, show_duration};
use runner_model::{RowRef, Text, visible::cut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::page::Section;
use super::text::StepText;

/// Lines and bytes of a folded message.
const MESSAGE: (usize, usize) = (12, 2000);
/// Lines and bytes of a folded result.
const RESULT: (usize, usize) = (4, 800);
/// Lines and bytes of folded arguments.
const ARGUMENTS: (usize, usize) = (1, 400);
/// Characters of names, times and kinds of errors.
const WORD: usize = 100;
/// Characters of a check's message.
const CHECK: usize = 300;
/// Calls and results of a folded step.
const MOST_CALLS: usize = 20;

/// A step of a transcript. Guests and servers may have written its texts.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct TranscriptStep {
    /// Number of the step, from 1.
    pub step: u64,
    /// `system`, `user` or `agent`.
    pub source: String,
    /// Time of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Duration of the call of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// Tokens of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Kind of the error of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the runner did not see the step's calls, so that they are the agent's own word.
    pub claimed: bool,
    /// Whether the step was given to the agent, and did not happen in the attempt.
    pub copied: bool,
    /// The thoughts of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<StepText>,
    /// The message. Empty if the step only calls tools.
    pub message: StepText,
    /// The calls of tools, up to 20 of a folded step.
    pub calls: Vec<ToolCall>,
    /// Their results, up to 20 of a folded step. Those of commands are the texts that they printed.
    pub results: Vec<StepText>,
    /// Number of other calls and results.
    pub left_out: u64,
    /// Reason why a part of the step cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The checks that its calls made fail, with their messages.
    pub failed: Vec<String>,
}

/// A call of a tool.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ToolCall {
    /// Name of the tool.
    pub tool: String,
    /// The arguments as JSON.
    pub arguments: StepText,
}

/// The step that broke a check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedStep {
    /// Number of the step, from 1.
    pub step: u64,
    /// The check: `transcript.calls`, `transcript.never`, `transcript.max_calls` or `transcript.call`.
    pub kind: CheckKind,
    /// Reason of its failure.
    pub message: String,
}

impl FailedStep {
    /// Returns the steps that the checks of a row name, in their order. Rows of older versions name none.
    pub(super) fn of_row(row: &RowRef<'_>) -> Vec<Self> {
        let of_check = |check: &Check<'_>| {
            let message = cut(check.message.as_deref().unwrap_or_default(), CHECK);
            Some(Self { step: check.step?, kind: check.kind?, message })
        };
        let mut failed: Vec<_> = row.checks.iter().filter_map(of_check).collect();
        failed.sort_by_key(|failed| failed.step);
        failed
    }
}

#[derive(Default, Deserialize)]
struct Metrics {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Observation<'a> {
    #[serde(borrow, default)]
    results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StepResult<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

impl TranscriptStep {
    /// Formats the step. Reads only the start of long texts, unless `is_full`.
    pub(super) fn new(stored: &Step<'_>, failed: &[FailedStep], is_full: bool) -> Self {
        let bounds = |fold| if is_full { (usize::MAX, usize::MAX) } else { fold };
        let text = |json: Option<&RawValue>, fold| StepText::of(json, bounds(fold));
        let word = |json: Option<&RawValue>| {
            Some(cut(&read_part::<Text<'_>>(json)?, WORD)).filter(|word| !word.is_empty())
        };
        let (extra, metrics) =
            (stored.extra(), read_part::<Metrics>(stored.metrics).unwrap_or_default());
        let reasoning = text(stored.reasoning_content, MESSAGE);
        let most = if is_full { usize::MAX } else { MOST_CALLS };
        let (mut calls, mut results, mut left_out) = (Vec::new(), Vec::new(), 0);
        let read_calls = stored.each_call(&mut |call| {
            if calls.len() < most {
                let tool = cut(&call.function_name, if is_full { usize::MAX } else { WORD });
                calls.push(ToolCall { tool, arguments: text(Some(call.arguments), ARGUMENTS) });
            } else {
                left_out += 1;
            }
        });
        let observation = stored.observation.map_or("null", RawValue::get);
        let observed = serde_json::from_str::<Option<Observation<'_>>>(observation);
        let read_results = observed.and_then(|observed| {
            let array = observed.and_then(|observed| observed.results);
            each_item(array, &mut |result: StepResult<'_>| {
                if results.len() < most {
                    results.push(StepText::of_result(result.content, bounds(RESULT)));
                } else {
                    left_out += 1;
                }
            })
        });
        let problem = [("tool_calls", read_calls), ("observation", read_results)];
        let problem = problem.into_iter().find_map(|(key, read)| {
            let error = read.err()?;
            Some(format!("its `{key}` cannot be read: {error}"))
        });
        let mine = failed.iter().filter(|failed| failed.step == stored.step_id);
        Self {
            step: stored.step_id,
            source: cut(&stored.source, WORD),
            at: word(stored.timestamp),
            model: word(stored.model_name),
            took_ms: extra.duration_ms,
            input_tokens: metrics.prompt_tokens,
            output_tokens: metrics.completion_tokens,
            error: extra.error.map(|error| cut(&error, WORD)),
            claimed: extra.by.as_deref() == Some(BY_GUEST) && !calls.is_empty(),
            copied: stored.is_copied_context.is_some_and(|copied| copied.get() == "true"),
            reasoning: Some(reasoning).filter(|text| text.bytes > 0),
            message: text(Some(stored.message), MESSAGE),
            calls,
            results,
            left_out,
            problem,
            failed: mine.map(|failed| format!("{}: {}", failed.kind, failed.message)).collect(),
        }
    }

    /// Formats the facts of the step's head: `agent gpt-5, 1.2 s, 1,200 tokens in, 34 out`.
    #[must_use]
    pub fn facts(&self) -> String {
        let model = self.model.iter().map(|model| format!(" {model}"));
        let mut words = vec![self.source.clone() + &model.collect::<String>()];
        words.extend(self.took_ms.map(|took| show_duration(duration(took))));
        words.extend(self.input_tokens.map(|tokens| plural(tokens, "token in", "tokens in")));
        words.extend(self.output_tokens.map(|tokens| plural(tokens, "token out", "tokens out")));
        words.extend(self.copied.then(|| "given by the test".to_owned()));
        words.extend(self.claimed.then(|| "the agent's own word".to_owned()));
        words.join(", ")
    }

    pub(super) fn sections(self) -> Vec<Section> {
        let mut sections = vec![Section { title: "step", text: self.facts() }];
        let mut add = |title, text: String| {
            if !text.is_empty() {
                sections.push(Section { title, text });
            }
        };
        add("reasoning", self.reasoning.map(|text| text.text).unwrap_or_default());
        add("message", self.message.text);
        for ToolCall { tool, arguments } in self.calls {
            add("call", format!("{tool}({})", arguments.text));
        }
        let title = if self.error.is_some() { "error" } else { "result" };
        let error = self.error.map(|error| format!("{error}: ")).unwrap_or_default();
        self.results.into_iter().for_each(|result| add(title, format!("{error}{}", result.text)));
        add("problem", self.problem.unwrap_or_default());
        sections
    }
}
