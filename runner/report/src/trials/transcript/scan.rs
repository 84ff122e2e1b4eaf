//! [`Scan`]: counts the calls of a transcript, and finds the steps of failed checks.

use std::collections::BTreeMap;

use runner_model::outcome::Verdict;
use runner_model::row::CheckKind;
use runner_model::test::{Expect, ExpectedTranscript};
use runner_model::transcript::{CallStanding, StepCall};
use runner_model::{RowRef, globs::IdGlob, visible::cut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file::StoredStep;
use super::text::each;

/// Tools that are counted by name.
const MOST_TOOLS: usize = 100;
/// Steps of failed checks.
const MOST_FAILED: usize = 100;
/// Characters of a check's message.
const CHECK: usize = 300;

/// A step with a call that made a check fail.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FailedStep {
    /// Number of the step, from 1.
    pub step: u64,
    /// The check: `transcript.calls`, `transcript.never`, `transcript.max_calls` or `transcript.call`.
    pub kind: CheckKind,
    /// Reason of its failure.
    pub message: String,
}

/// Counts of a whole transcript, and the calls that made checks fail.
pub(super) struct Scan {
    /// Whether the agent had tools of the runner.
    has_tools: bool,
    pub(super) calls: u64,
    counted: u64,
    pub(super) tools: BTreeMap<String, u64>,
    pub(super) total: u64,
    rules: Vec<Rule>,
    failed: Vec<FailedStep>,
}

/// A failed check, and the last step that it is about.
struct Rule {
    kind: CheckKind,
    message: String,
    tools: Vec<IdGlob>,
    /// Number of calls, for `max_calls`.
    most: u64,
    /// Number of tools that were found in their order, for `calls`.
    found: usize,
    last: Option<u64>,
}

impl Scan {
    pub(super) fn new(row: &RowRef<'_>, planned: Option<&RawValue>, has_tools: bool) -> Self {
        #[derive(Deserialize)]
        struct Planned {
            #[serde(default)]
            expect: Expect,
        }
        let planned: Option<Planned> =
            planned.and_then(|planned| serde_json::from_str(planned.get()).ok());
        let expected = planned.and_then(|planned| planned.expect.transcript).unwrap_or_default();
        Self {
            has_tools,
            calls: 0,
            counted: 0,
            tools: BTreeMap::new(),
            total: 0,
            rules: rules(row, &expected),
            failed: Vec::new(),
        }
    }

    /// Adds a step. Returns whether `tool` selects it.
    pub(super) fn add(&mut self, step: &StoredStep<'_>, tool: Option<&str>) -> bool {
        let extra = step.extra();
        let standing = CallStanding::of(extra.by.as_deref(), extra.refused, self.has_tools);
        let mut is_selected = tool.is_none();
        // A problem is that of the shown step.
        let _ = each(step.tool_calls, &mut |call: StepCall<'_>| {
            let name = &*call.function_name;
            is_selected |= tool == Some(name);
            self.calls += 1;
            self.counted += u64::from(standing != CallStanding::Claimed);
            if self.tools.len() < MOST_TOOLS && !self.tools.contains_key(name) {
                self.tools.insert(name.to_owned(), 0);
            }
            self.tools.get_mut(name).into_iter().for_each(|count| *count += 1);
            for rule in &mut self.rules {
                if rule.is_broken(name, standing, self.counted, step.step_id) {
                    add_failed(&mut self.failed, rule.at(step.step_id));
                }
            }
        });
        is_selected
    }

    /// Returns the steps of failed checks in their order.
    pub(super) fn failed(&mut self) -> Vec<FailedStep> {
        for rule in &self.rules {
            if let Some(step) = rule.last {
                add_failed(&mut self.failed, rule.at(step));
            }
        }
        self.failed.sort_by_key(|failed| failed.step);
        std::mem::take(&mut self.failed)
    }
}

fn add_failed(all: &mut Vec<FailedStep>, failed: FailedStep) {
    let is_known =
        all.last().is_some_and(|last| (last.step, last.kind) == (failed.step, failed.kind));
    if all.len() < MOST_FAILED && !is_known {
        all.push(failed);
    }
}

/// Returns the failed checks of a transcript. Those of `call` are in the order of their expectations.
fn rules(row: &RowRef<'_>, expected: &ExpectedTranscript) -> Vec<Rule> {
    let mut wanted = expected.call.iter();
    let mut rules = Vec::new();
    for check in &row.checks {
        let Some(kind) = check.kind else { continue };
        let tools = match kind {
            CheckKind::TranscriptCalls => expected.calls.clone(),
            CheckKind::TranscriptNever => expected.never.clone(),
            CheckKind::TranscriptMaxCalls => Vec::new(),
            CheckKind::TranscriptCall => {
                wanted.next().map(|call| call.tool.clone()).into_iter().collect()
            }
            _ => continue,
        };
        // If the transcript could not be read, the check is about all of it.
        let is_read = check.expected.as_ref().is_some_and(|expected| {
            kind != CheckKind::TranscriptCalls || !expected.get().starts_with('{')
        });
        if check.verdict != Verdict::Fail || !is_read {
            continue;
        }
        let message = cut(check.message.as_deref().unwrap_or_default(), CHECK);
        rules.push(Rule {
            kind,
            message,
            tools: tools.iter().filter_map(|tool| IdGlob::new(tool).ok()).collect(),
            most: expected.max_calls.unwrap_or(u64::MAX),
            found: 0,
            last: None,
        });
    }
    rules
}

impl Rule {
    /// Looks at a call of a step. Returns whether it breaks the rule by itself.
    fn is_broken(&mut self, tool: &str, standing: CallStanding, counted: u64, step: u64) -> bool {
        let is_made = standing == CallStanding::Made;
        match self.kind {
            CheckKind::TranscriptNever => self.tools.iter().any(|glob| glob.is_match(tool)),
            CheckKind::TranscriptMaxCalls => {
                standing != CallStanding::Claimed && counted > self.most
            }
            CheckKind::TranscriptCalls => {
                if is_made && self.tools.get(self.found).is_some_and(|glob| glob.is_match(tool)) {
                    self.found += 1;
                    self.last = Some(step);
                }
                false
            }
            _ => {
                if is_made && self.tools.iter().any(|glob| glob.is_match(tool)) {
                    self.last = Some(step);
                }
                false
            }
        }
    }

    fn at(&self, step: u64) -> FailedStep {
        FailedStep { step, kind: self.kind, message: self.message.clone() }
    }
}
