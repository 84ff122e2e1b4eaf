//! [`TranscriptDocument`]: what happened in an attempt, step by step. The file is read line by line, and never as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::marker::PhantomData;
use std::path::PathBuf;

use runner_model::outcome::Verdict;
use runner_model::row::{CheckKind, duration};
use runner_model::test::{Expect, ExpectedTranscript};
use runner_model::transcript::{BY_GUEST, BY_RUNNER, StepCall, Transcript, TranscriptResult};
use runner_model::units::{plural, show_duration, show_size};
use runner_model::{RowRef, Text, TrialId, globs::IdGlob, visible::cut};
use runner_record::{RecordError, RunDir};
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{calls::sections_text, page::Section};
use crate::{TrialDocument, VERSION, json::Items};

/// Longest line of a transcript, in bytes.
const MAX_LINE: u64 = 32 << 20;
/// Lines and bytes of a folded message.
const MESSAGE: (usize, usize) = (12, 2000);
/// Lines and bytes of a folded result.
const RESULT: (usize, usize) = (4, 800);
/// Lines and bytes of folded arguments.
const ARGUMENTS: (usize, usize) = (1, 400);
/// Characters of names, times and kinds of errors.
const WORD: usize = 100;
/// Calls and results of a folded step.
const MOST_CALLS: usize = 20;
/// Tools that are counted by name.
const MOST_TOOLS: usize = 100;
/// Steps of failed checks.
const MOST_FAILED: usize = 100;
/// Characters of a check's message.
const CHECK: usize = 300;
/// Steps of a page before the one that it was asked for.
const BEFORE: u64 = 5;

/// `runner show RUN TRIAL --transcript`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TranscriptDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    pub trial: TrialId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The numbers of steps, as in the row.
    pub transcript: TranscriptResult,
    /// Number of calls of tools, with those that only the guest reports.
    pub calls: u64,
    /// The first 100 tools by name.
    pub tools: Vec<CalledTool>,
    /// The first 100 steps with calls that made a check fail.
    pub failed: Vec<FailedStep>,
    /// Number of steps that the tool selects.
    pub total: u64,
    /// Number of selected steps before the first of `steps`.
    pub offset: u64,
    /// The steps of the page, in their order.
    #[schemars(with = "Vec<TranscriptStep>")]
    pub steps: TranscriptSteps,
}

/// A tool with the number of its calls.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CalledTool {
    /// The tool's name. A guest may have written it.
    pub tool: String,
    /// Number of its calls.
    pub calls: u64,
}

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

/// The start of a text, or all of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct StepText {
    /// The start of the text. Long ones are folded.
    pub text: String,
    /// Bytes of the whole text.
    pub bytes: u64,
    /// Whether `text` is not the whole one.
    pub folded: bool,
}

/// Selects steps of a transcript.
#[derive(Clone, Debug)]
pub struct StepQuery {
    /// Only steps that call this tool.
    pub tool: Option<String>,
    pub from: StepPlace,
    /// Most steps.
    pub limit: u64,
    /// Whether the texts are whole.
    pub is_full: bool,
}

/// The first step of a page.
#[derive(Clone, Copy, Debug)]
pub enum StepPlace {
    /// After this number of selected steps.
    Offset(u64),
    /// Just before the step with this number.
    Near(u64),
}

/// Steps that are read from the file when they are used.
#[derive(Debug)]
pub struct TranscriptSteps {
    file: TranscriptFile,
    query: StepQuery,
    offset: u64,
    failed: Vec<FailedStep>,
}

/// The file of a transcript, as the runner writes it: a line with the agent, and a line for each step.
#[derive(Debug)]
struct TranscriptFile {
    file: File,
    path: PathBuf,
    steps: u64,
}

/// A step in the file. Guests may have written all values but the number.
#[derive(Deserialize)]
struct StoredStep<'a> {
    step_id: u64,
    #[serde(borrow)]
    source: Text<'a>,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    is_copied_context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    observation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metrics: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extra: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Metrics {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Extra<'a> {
    #[serde(borrow, default)]
    by: Option<Text<'a>>,
    #[serde(borrow, default)]
    error: Option<Text<'a>>,
    #[serde(default)]
    duration_ms: Option<f64>,
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

/// The result of a command.
#[derive(Deserialize)]
struct CommandOutput {
    exit_code: i32,
    stdout: String,
    stderr: String,
}

/// A part of a message that is not only a text.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

impl TrialDocument {
    /// Reads the transcript of the shown attempt. `None` without one.
    ///
    /// # Errors
    ///
    /// The file is missing or damaged.
    pub fn transcript(
        &self,
        run: &RunDir,
        query: StepQuery,
    ) -> Result<Option<TranscriptDocument>, RecordError> {
        let Some(row) = self.row() else { return Ok(None) };
        let (Some(transcript), Some(artifact)) = (row.transcript, row.transcript_artifact()) else {
            return Ok(None);
        };
        let file = TranscriptFile {
            file: run.artifact(&artifact.sha256)?,
            path: run.path().join("artifacts").join(artifact.sha256.path()),
            steps: transcript.steps,
        };
        let mut scan = Scan::new(&row, self.planned.as_deref(), file.has_tools()?);
        let mut before = 0;
        file.each_step(0, &mut |step| {
            let is_selected = scan.add(step, query.tool.as_deref());
            scan.total += u64::from(is_selected);
            let is_before = matches!(query.from, StepPlace::Near(near) if step.step_id < near);
            before += u64::from(is_selected && is_before);
            true
        })?;
        let offset = match query.from {
            StepPlace::Near(_) => u64::saturating_sub(before, BEFORE),
            StepPlace::Offset(offset) => offset,
        };
        let failed = scan.failed();
        Ok(Some(TranscriptDocument {
            v: VERSION,
            run: self.run.clone(),
            trial: self.trial.clone(),
            attempt: row.attempt,
            transcript,
            calls: scan.calls,
            tools: scan.tools.into_iter().map(|(tool, calls)| CalledTool { tool, calls }).collect(),
            failed: failed.clone(),
            total: scan.total,
            offset,
            steps: TranscriptSteps { file, query, offset, failed },
        }))
    }

    /// Reads a step of the shown attempt as a text. `None` without it.
    ///
    /// # Errors
    ///
    /// As [`Self::transcript`].
    pub fn step_text(&self, run: &RunDir, number: u64) -> Result<Option<String>, RecordError> {
        let Some(before) = number.checked_sub(1) else { return Ok(None) };
        let from = StepPlace::Offset(before);
        let query = StepQuery { tool: None, from, limit: 1, is_full: true };
        let mut text = None;
        if let Some(document) = self.transcript(run, query)? {
            document.steps.each(&mut |step| text = Some(sections_text(&step.sections())))?;
        }
        Ok(text)
    }
}

/// Counts of a whole transcript, and the calls that made checks fail.
struct Scan {
    /// Whether calls that only the guest reports count.
    counts_claims: bool,
    calls: u64,
    counted: u64,
    tools: BTreeMap<String, u64>,
    total: u64,
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
    fn new(row: &RowRef<'_>, planned: Option<&RawValue>, has_tools: bool) -> Self {
        #[derive(Deserialize)]
        struct Planned {
            #[serde(default)]
            expect: Expect,
        }
        let planned: Option<Planned> =
            planned.and_then(|planned| serde_json::from_str(planned.get()).ok());
        let expected = planned.and_then(|planned| planned.expect.transcript).unwrap_or_default();
        Self {
            counts_claims: !has_tools,
            calls: 0,
            counted: 0,
            tools: BTreeMap::new(),
            total: 0,
            rules: rules(row, &expected),
            failed: Vec::new(),
        }
    }

    /// Adds a step. Returns whether `tool` selects it.
    fn add(&mut self, step: &StoredStep<'_>, tool: Option<&str>) -> bool {
        let is_seen = step.extra().by.as_deref() == Some(BY_RUNNER);
        let counts = self.counts_claims || is_seen;
        let mut is_selected = tool.is_none();
        // A problem is that of the shown step.
        let _ = each(step.tool_calls, &mut |call: StepCall<'_>| {
            let name = &*call.function_name;
            is_selected |= tool == Some(name);
            self.calls += 1;
            self.counted += u64::from(counts);
            if self.tools.len() < MOST_TOOLS && !self.tools.contains_key(name) {
                self.tools.insert(name.to_owned(), 0);
            }
            self.tools.get_mut(name).into_iter().for_each(|count| *count += 1);
            for rule in &mut self.rules {
                if rule.is_broken(name, counts, self.counted, step.step_id) {
                    add_failed(&mut self.failed, rule.at(step.step_id));
                }
            }
        });
        is_selected
    }

    /// Returns the steps of failed checks in their order.
    fn failed(&mut self) -> Vec<FailedStep> {
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
    fn is_broken(&mut self, tool: &str, counts: bool, counted: u64, step: u64) -> bool {
        match self.kind {
            CheckKind::TranscriptNever => self.tools.iter().any(|glob| glob.is_match(tool)),
            CheckKind::TranscriptMaxCalls => counts && counted > self.most,
            CheckKind::TranscriptCalls => {
                if counts && self.tools.get(self.found).is_some_and(|glob| glob.is_match(tool)) {
                    self.found += 1;
                    self.last = Some(step);
                }
                false
            }
            _ => {
                if counts && self.tools.iter().any(|glob| glob.is_match(tool)) {
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

impl TranscriptFile {
    /// Returns whether the agent had tools of the runner.
    fn has_tools(&self) -> Result<bool, RecordError> {
        let mut head = Vec::new();
        self.line(&mut self.start()?, &mut head, 1)?;
        let whole = head.strip_suffix(b"[").map(|head| [head, b"[]}"].concat());
        let whole = whole.ok_or_else(|| self.damaged(1, "does not start a transcript"))?;
        let transcript: Transcript<'_> =
            serde_json::from_slice(&whole).map_err(|error| self.damaged(1, &error.to_string()))?;
        Ok(!transcript.agent.tool_definitions.is_empty())
    }

    /// Calls `each` with the steps after the first `skipped` until it returns false.
    fn each_step(
        &self,
        skipped: u64,
        each: &mut dyn FnMut(&StoredStep<'_>) -> bool,
    ) -> Result<(), RecordError> {
        let mut reader = self.start()?;
        let mut line = Vec::new();
        self.line(&mut reader, &mut line, 1)?;
        let mut steps = 0;
        loop {
            let number = steps + 2;
            self.line(&mut reader, &mut line, number)?;
            if line == b"]}" {
                break;
            }
            if steps < skipped {
                steps += 1;
                continue;
            }
            let step = line.strip_suffix(b",").unwrap_or(&line);
            let step: StoredStep<'_> = serde_json::from_slice(step)
                .map_err(|error| self.damaged(number, &format!("is not a step: {error}")))?;
            steps += 1;
            if step.step_id != steps {
                let problem = format!("has step {} in place of step {steps}", step.step_id);
                return Err(self.damaged(number, &problem));
            }
            if !each(&step) {
                return Ok(());
            }
        }
        let mut after = [0];
        if reader.read(&mut after).map_err(|source| self.unreadable(source))? > 0 {
            return Err(self.damaged(steps + 3, "comes after its end"));
        }
        if steps != self.steps {
            let [found, of_row] = [steps, self.steps].map(|steps| plural(steps, "step", "steps"));
            let problem = format!("ends a transcript of {found}, and its row is of {of_row}");
            return Err(self.damaged(steps + 2, &problem));
        }
        Ok(())
    }

    fn start(&self) -> Result<BufReader<&File>, RecordError> {
        let mut file = &self.file;
        file.rewind().map_err(|source| self.unreadable(source))?;
        Ok(BufReader::new(file))
    }

    /// Reads a line, without its line break.
    fn line(
        &self,
        reader: &mut BufReader<&File>,
        line: &mut Vec<u8>,
        number: u64,
    ) -> Result<(), RecordError> {
        line.clear();
        let read = reader.take(MAX_LINE).read_until(b'\n', line);
        read.map_err(|source| self.unreadable(source))?;
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            return Ok(());
        }
        let is_long = line.len() as u64 == MAX_LINE;
        let long = format!("is longer than {}", show_size(MAX_LINE));
        Err(self.damaged(number, if is_long { &long } else { "is not whole" }))
    }

    fn unreadable(&self, source: std::io::Error) -> RecordError {
        RecordError::Io { what: "read", path: self.path.clone(), source }
    }

    fn damaged(&self, line: u64, problem: &str) -> RecordError {
        let problem = format!(
            "it is not a transcript as the runner writes it: line {line} {problem}; to read it as it is, use `--open transcript.json`"
        );
        RecordError::Foreign { path: self.path.clone(), problem }
    }
}

impl<'a> StoredStep<'a> {
    fn extra(&self) -> Extra<'a> {
        read(self.extra).unwrap_or_default()
    }

    /// Formats the step. Reads only the start of long texts, unless `is_full`.
    fn show(&self, failed: &[FailedStep], is_full: bool) -> TranscriptStep {
        let bounds = |fold| if is_full { (usize::MAX, usize::MAX) } else { fold };
        let text = |json: Option<&RawValue>, fold| StepText::of(json, bounds(fold));
        let word = |json: Option<&'a RawValue>| {
            Some(cut(&read::<Text<'_>>(json)?, WORD)).filter(|word| !word.is_empty())
        };
        let (extra, metrics) = (self.extra(), read::<Metrics>(self.metrics).unwrap_or_default());
        let reasoning = text(self.reasoning_content, MESSAGE);
        let most = if is_full { usize::MAX } else { MOST_CALLS };
        let (mut calls, mut results, mut left_out) = (Vec::new(), Vec::new(), 0);
        let read_calls = each(self.tool_calls, &mut |call: StepCall<'_>| {
            if calls.len() < most {
                let tool = cut(&call.function_name, if is_full { usize::MAX } else { WORD });
                calls.push(ToolCall { tool, arguments: text(Some(call.arguments), ARGUMENTS) });
            } else {
                left_out += 1;
            }
        });
        let observation = self.observation.map_or("null", RawValue::get);
        let observed = serde_json::from_str::<Option<Observation<'_>>>(observation);
        let read_results = observed.and_then(|observed| {
            let array = observed.and_then(|observed| observed.results);
            each(array, &mut |result: StepResult<'_>| {
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
        let mine = failed.iter().filter(|failed| failed.step == self.step_id);
        TranscriptStep {
            step: self.step_id,
            source: cut(&self.source, WORD),
            at: word(self.timestamp),
            model: word(self.model_name),
            took_ms: extra.duration_ms,
            input_tokens: metrics.prompt_tokens,
            output_tokens: metrics.completion_tokens,
            error: extra.error.map(|error| cut(&error, WORD)),
            claimed: extra.by.as_deref() == Some(BY_GUEST) && !calls.is_empty(),
            copied: self.is_copied_context.is_some_and(|copied| copied.get() == "true"),
            reasoning: Some(reasoning).filter(|text| text.bytes > 0),
            message: text(Some(self.message), MESSAGE),
            calls,
            results,
            left_out,
            problem,
            failed: mine.map(|failed| format!("{}: {}", failed.kind, failed.message)).collect(),
        }
    }
}

impl TranscriptStep {
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

    fn sections(self) -> Vec<Section> {
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

impl TranscriptSteps {
    /// Returns whether the texts of steps are whole.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.query.is_full
    }

    /// Calls `each` with the selected steps, one at a time.
    ///
    /// # Errors
    ///
    /// The file is damaged.
    pub fn each(&self, each: &mut dyn FnMut(TranscriptStep)) -> Result<(), RecordError> {
        let Self { file, query, offset, failed } = self;
        let end = offset.saturating_add(query.limit);
        // The first reading has parsed all steps.
        let skipped = if query.tool.is_none() { *offset } else { 0 };
        let mut place = skipped;
        file.each_step(skipped, &mut |step| {
            if query.tool.as_ref().is_none_or(|tool| step.calls(tool)) {
                if (*offset..end).contains(&place) {
                    each(step.show(failed, query.is_full));
                }
                place += 1;
            }
            place < end
        })
    }
}

impl StoredStep<'_> {
    fn calls(&self, tool: &str) -> bool {
        let mut is_called = false;
        let _ = each(self.tool_calls, &mut |call: StepCall<'_>| {
            is_called |= *call.function_name == *tool;
        });
        is_called
    }
}

impl Serialize for TranscriptSteps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut steps = Items::new(serializer)?;
        let read = self.each(&mut |step| steps.add(&step));
        steps.end(read)
    }
}

impl StepText {
    /// Reads a result. That of a command is the text that it printed.
    fn of_result(json: Option<&RawValue>, (lines, most): (usize, usize)) -> Self {
        let of_command = json.filter(|json| json.get().starts_with("\"{\\\"exit_code\\\":"));
        let text = read::<String>(of_command);
        let output = text.and_then(|text| serde_json::from_str(&text).ok());
        let Some(CommandOutput { exit_code, stdout, stderr }) = output else {
            return Self::of(json, (lines, most));
        };
        let exit_code = if exit_code == 0 { "" } else { &format!("exit code {exit_code}") };
        let parts = [exit_code, stdout.trim_end(), stderr.trim_end()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let text = if parts.is_empty() { "no output".to_owned() } else { parts.join("\n") };
        Self::start_of(&text, most).fold(lines)
    }

    /// Reads up to `lines` and `most` bytes of a text, and other JSON as it is written.
    fn of(json: Option<&RawValue>, (lines, most): (usize, usize)) -> Self {
        let json = json.map_or("null", RawValue::get);
        let found = match json.as_bytes() {
            [b'"', ..] => Self::of_string(json, most),
            [b'[', ..] => Self::of_parts(json, most).unwrap_or_else(|| Self::start_of(json, most)),
            b"null" => Self::default(),
            _ => Self::start_of(json, most),
        };
        found.fold(lines)
    }

    fn fold(mut self, lines: usize) -> Self {
        let end = self.text.match_indices('\n').nth(lines - 1).map(|(at, _)| at);
        // A line break at the end is not a line.
        if let Some(end) = end.filter(|end| end + 1 < self.text.len()) {
            self.text.truncate(end);
        }
        self.folded = (self.text.len() as u64) < self.bytes;
        self
    }

    fn start_of(json: &str, most: usize) -> Self {
        let end = json.floor_char_boundary(most);
        Self { text: json[..end].to_owned(), bytes: json.len() as u64, folded: false }
    }

    /// Reads the parts of a message: texts as they are, and the kinds of others.
    fn of_parts(json: &str, most: usize) -> Option<Self> {
        let parts = serde_json::from_str(json).ok();
        let mut found = Self::default();
        each(parts, &mut |part: Part<'_>| {
            // Once a part is cut, no later one follows.
            let is_whole = found.text.len() as u64 == found.bytes;
            let separator = if found.bytes > 0 { "\n" } else { "" };
            let left = most.saturating_sub(found.text.len() + separator.len());
            let Self { text, bytes, .. } = match part.text.map(RawValue::get) {
                Some(text) if text.starts_with('"') => Self::of_string(text, left),
                _ => Self::start_of(&format!("[{}]", &*part.r#type), left),
            };
            if is_whole {
                found.text += separator;
                found.text += &text;
            }
            found.bytes += bytes + separator.len() as u64;
        })
        .ok()?;
        Some(found)
    }

    /// Reads up to `most` bytes of the text of a string in JSON, and counts all of them.
    fn of_string(json: &str, most: usize) -> Self {
        let escaped = json.get(1..json.len() - 1).unwrap_or_default();
        let raw = escaped.as_bytes();
        let (mut at, mut end, mut bytes) = (0, 0, 0);
        while at < raw.len() {
            let (length, size) = match (raw[at], raw.get(at + 1)) {
                (b'\\', Some(b'u')) => match escaped.get(at + 2..at + 6) {
                    Some(code) => match u16::from_str_radix(code, 16) {
                        Ok(0..0x80) => (6, 1),
                        Ok(0x80..0x800) => (6, 2),
                        // The first half of a pair.
                        Ok(0xd800..0xdc00) => (12, 4),
                        _ => (6, 3),
                    },
                    None => (6, 3),
                },
                (b'\\', _) => (2, 1),
                _ => (1, 1),
            };
            (at, bytes) = (at + length, bytes + size);
            if bytes <= most {
                end = at;
            }
        }
        let start = &escaped[..escaped.floor_char_boundary(end)];
        // A half of a pair is not a character, and is shown as it is written.
        let text =
            serde_json::from_str(&format!("\"{start}\"")).unwrap_or_else(|_| start.to_owned());
        Self { text, bytes: bytes as u64, folded: false }
    }
}

/// Parses a value. `None` if it has another form.
fn read<'a, T: Deserialize<'a>>(json: Option<&'a RawValue>) -> Option<T> {
    json.and_then(|json| serde_json::from_str(json.get()).ok())
}

/// Calls `each` with the items of an array: a step can have millions of them.
fn each<'a, T: Deserialize<'a>>(
    array: Option<&'a RawValue>,
    each: &mut dyn FnMut(T),
) -> Result<(), serde_json::Error> {
    let array = array.map(RawValue::get).filter(|array| *array != "null");
    let Some(array) = array else { return Ok(()) };
    let items = ItemSeed { each, item: PhantomData };
    items.deserialize(&mut serde_json::Deserializer::from_str(array))
}

struct ItemSeed<'f, T> {
    each: &'f mut dyn FnMut(T),
    item: PhantomData<T>,
}

impl<'a, T: Deserialize<'a>> DeserializeSeed<'a> for ItemSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, T: Deserialize<'a>> Visitor<'a> for ItemSeed<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.each)(item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::StepText;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn texts_are_cut_between_characters_and_lines() {
        for (json, lines, most, text, bytes) in [
            (r#""abc""#, 9, 9, "abc", 3),
            (r#""abc""#, 9, 2, "ab", 3),
            (r#""a\nb\n""#, 2, 9, "a\nb\n", 4),
            (r#""a\nb\nc""#, 2, 9, "a\nb", 5),
            (r#""é\u00e9\ud83d\ude00x""#, 9, 8, "éé😀", 9),
            (r#""é\u00e9\ud83d\ude00x""#, 9, 7, "éé", 9),
            (r#""é\u00e9""#, 9, 1, "", 4),
            (r#""\"\\\/""#, 9, 2, "\"\\", 3),
            (r#""\ud83dx""#, 9, 9, r"\ud83dx", 4),
            ("null", 9, 9, "", 0),
            (r#"{"a": "é"}"#, 9, 8, r#"{"a": ""#, 11),
            (r#"[{"type":"text","text":"one"},{"type":"image"}]"#, 9, 99, "one\n[image]", 11),
            (r#"[{"type":"text","text":"one"},{"type":"image"}]"#, 9, 2, "on", 11),
            ("[1]", 9, 9, "[1]", 3),
        ] {
            let StepText { text: found, bytes: all, folded } =
                StepText::of(Some(&raw(json)), (lines, most));
            assert_eq!((&*found, all), (text, bytes), "{json}");
            assert_eq!(folded, (text.len() as u64) < bytes, "{json}");
        }
    }

    #[test]
    fn result_of_a_command_is_its_output() {
        for (output, text) in [
            (r#"{"exit_code":0,"stdout":"a\nb\n","stderr":""}"#, "a\nb"),
            (r#"{"exit_code":3,"stdout":"a","stderr":"e\n"}"#, "exit code 3\na\ne"),
            (r#"{"exit_code":0,"stdout":"","stderr":""}"#, "no output"),
            (r#"{"exit_code":0,"stdout":1}"#, r#"{"exit_code":0,"stdout":1}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            let json = raw(&serde_json::json!(output).to_string());
            assert_eq!(StepText::of_result(Some(&json), (9, 99)).text, text);
        }
    }
}
