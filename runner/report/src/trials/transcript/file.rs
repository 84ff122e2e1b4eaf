//! [`TranscriptFile`]: reads the file of a transcript line by line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::path::PathBuf;

use runner_model::transcript::{Step, Transcript};
use runner_model::units::{plural, show_size};
use runner_record::RecordError;

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

impl TranscriptFile {
    /// Calls `each` with the steps after the first `skipped` until it returns false.
    pub(super) fn each_step(
        &self,
        skipped: u64,
        each: &mut dyn FnMut(&Step<'_>) -> bool,
    ) -> Result<(), RecordError> {
        let mut reader = self.start()?;
        let mut line = Vec::new();
        self.line(&mut reader, &mut line, 1)?;
        self.check_head(&line)?;
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
            let step: Step<'_> = serde_json::from_slice(step)
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

    /// Checks the first line, which has the agent.
    fn check_head(&self, line: &[u8]) -> Result<(), RecordError> {
        let whole = line.strip_suffix(b"[").map(|head| [head, b"[]}"].concat());
        let whole = whole.ok_or_else(|| self.damaged(1, "does not start a transcript"))?;
        match serde_json::from_slice::<Transcript<'_>>(&whole) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.damaged(1, &error.to_string())),
        }
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
