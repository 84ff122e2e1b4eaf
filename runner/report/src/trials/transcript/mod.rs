//! [`TranscriptDocument`]: what happened in an attempt, step by step. The file is read line by line, and never as a whole.

mod file;
mod step;
mod text;

use std::collections::BTreeMap;

use runner_model::{TrialId, transcript::TranscriptResult};
use runner_record::{RecordError, RunDir};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use self::file::TranscriptFile;
pub use self::{step::*, text::StepText};
use super::calls::sections_text;
use crate::{TrialDocument, VERSION, json::Items};

/// Steps of a page before the one that it was asked for.
const BEFORE: u64 = 5;
/// Tools that are counted by name.
const MOST_TOOLS: usize = 100;

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
    /// The steps that broke checks. Empty for rows of older versions.
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
        let mut tools = BTreeMap::<_, u64>::new();
        let (mut calls, mut total, mut before) = (0, 0, 0);
        file.each_step(0, &mut |step| {
            let mut is_selected = query.tool.is_none();
            // A problem is that of the shown step.
            let _ = step.each_call(&mut |call| {
                let name = &*call.function_name;
                is_selected |= query.tool.as_deref() == Some(name);
                calls += 1;
                if tools.len() < MOST_TOOLS && !tools.contains_key(name) {
                    tools.insert(name.to_owned(), 0);
                }
                tools.get_mut(name).into_iter().for_each(|count| *count += 1);
            });
            total += u64::from(is_selected);
            let is_before = matches!(query.from, StepPlace::Near(near) if step.step_id < near);
            before += u64::from(is_selected && is_before);
            true
        })?;
        let offset = match query.from {
            StepPlace::Near(_) => u64::saturating_sub(before, BEFORE),
            StepPlace::Offset(offset) => offset,
        };
        let failed = FailedStep::of_row(&row);
        Ok(Some(TranscriptDocument {
            v: VERSION,
            run: self.run.clone(),
            trial: self.trial.clone(),
            attempt: row.attempt,
            transcript,
            calls,
            tools: tools.into_iter().map(|(tool, calls)| CalledTool { tool, calls }).collect(),
            failed: failed.clone(),
            total,
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
            let mut is_selected = query.tool.is_none();
            let _ = query.tool.as_ref().map(|tool| {
                step.each_call(&mut |call| is_selected |= *call.function_name == **tool)
            });
            if is_selected {
                if (*offset..end).contains(&place) {
                    each(TranscriptStep::new(step, failed, query.is_full));
                }
                place += 1;
            }
            place < end
        })
    }
}

impl Serialize for TranscriptSteps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut steps = Items::new(serializer)?;
        let read = self.each(&mut |step| steps.add(&step));
        steps.end(read)
    }
}
