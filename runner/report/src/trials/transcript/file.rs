//! [`TranscriptFile`]: reads the file of a transcript line by line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::path::PathBuf;

use runner_model::Text;
use runner_model::transcript::{StepCall, Transcript};
use runner_model::units::{plural, show_size};
use runner_record::RecordError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{each, read};

/// Longest line of a transcript, in bytes.
const MAX_LINE: u64 = 32 << 20;
/// Bytes of a read. Transcripts of 100,000 steps have 30 MB, which are thousands of reads of the default 8 KiB.
const BUFFER: usize = 256 << 10;

/// The file of a transcript, as the runner writes it: a line with the agent, and a line for each step.
#[derive(Debug)]
pub(super) struct TranscriptFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) steps: u64,
}

/// A step in the file. Guests may have written all values but the number.
#[derive(Deserialize)]
pub(super) struct StoredStep<'a> {
    pub(super) step_id: u64,
    #[serde(borrow)]
    pub(super) source: Text<'a>,
    #[serde(borrow)]
    pub(super) message: &'a RawValue,
    #[serde(borrow, default)]
    pub(super) timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) model_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) is_copied_context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) observation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) metrics: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) extra: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct Extra<'a> {
    #[serde(borrow, default)]
    pub(super) by: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) error: Option<Text<'a>>,
    #[serde(default)]
    pub(super) duration_ms: Option<f64>,
    #[serde(default)]
    pub(super) refused: bool,
}

impl TranscriptFile {
    /// Returns whether the agent had tools of the runner.
    pub(super) fn has_tools(&self) -> Result<bool, RecordError> {
        let mut head = Vec::new();
        self.line(&mut self.start()?, &mut head, 1)?;
        let whole = head.strip_suffix(b"[").map(|head| [head, b"[]}"].concat());
        let whole = whole.ok_or_else(|| self.damaged(1, "does not start a transcript"))?;
        let transcript: Transcript<'_> =
            serde_json::from_slice(&whole).map_err(|error| self.damaged(1, &error.to_string()))?;
        Ok(!transcript.agent.tool_definitions.is_empty())
    }

    /// Calls `each` with the steps after the first `skipped` until it returns false.
    pub(super) fn each_step(
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
        Ok(BufReader::with_capacity(BUFFER, file))
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

    fn unreadable(&self, source: io::Error) -> RecordError {
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
    pub(super) fn extra(&self) -> Extra<'a> {
        read(self.extra).unwrap_or_default()
    }
}

impl StoredStep<'_> {
    pub(super) fn calls(&self, tool: &str) -> bool {
        let mut is_called = false;
        let _ = each(self.tool_calls, &mut |call: StepCall<'_>| {
            is_called |= *call.function_name == *tool;
        });
        is_called
    }
}
