//! [`Said`]: what was said in an attempt, wherever its run keeps that.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use fs_err::File;
use serde_json::Value;
use thiserror::Error;

use super::reader::RunReader;
use crate::record::{
    disk::{layout::RunDir, regular},
    format::{
        log_line::LogsLine,
        row::{Row, RowArtifact, RowLogs},
    },
};

/// What was said in an attempt: its log and its standard streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its log, with a JSON object on each line.
    pub log: String,
    /// Its standard output, where that is not the reply itself.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Why what was said in an attempt cannot be told.
#[derive(Debug, Error)]
#[error("what was said in attempt {attempt} of {trial} cannot be read: {problem}")]
pub struct SaidError {
    trial: String,
    attempt: u32,
    problem: io::Error,
}

impl RunReader {
    /// What was said in an attempt.
    ///
    /// # Errors
    ///
    /// Fails if the row names it, and it cannot be read or is not what was stored.
    pub fn said(&self, row: &Row<'_>) -> Result<Said, SaidError> {
        let said = match row.logs {
            Some(place) => LogReader::new(self.dir().clone()).read(row, place),
            None => Ok(self.said_in_files(row)),
        };
        said.map_err(|problem| SaidError {
            trial: row.trial.clone().into_owned(),
            attempt: row.attempt,
            problem,
        })
    }

    /// What is in files of the attempt's own: version 0.1.0 has written those.
    fn said_in_files(&self, row: &Row<'_>) -> Said {
        let text = |name: &str| {
            // A provider's file may have that name, and then the runner's is another.
            let mut files = row.artifacts.iter().rev();
            let is_it = |file: &&RowArtifact<'_>| file.name.trim_start_matches("runner-") == name;
            let Some(file) = files.find(is_it) else {
                return String::new();
            };
            let path = self.attempt_folder(row).join(file.name.as_ref());
            let bytes = regular::read(&path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Said {
            log: text("log.jsonl"),
            stdout: text("stdout.txt"),
            stderr: text("stderr.txt"),
        }
    }
}

/// Reads lines of a run's log files, of which it keeps the last one open.
pub(in crate::record) struct LogReader {
    dir: RunDir,
    open: Option<((u32, u32), File)>,
}

impl LogReader {
    pub(in crate::record) fn new(dir: RunDir) -> Self {
        Self { dir, open: None }
    }

    /// Reads what a row names.
    pub(in crate::record) fn read(&mut self, row: &Row<'_>, place: RowLogs) -> io::Result<Said> {
        let line = self.line(row.session, place)?;
        let line = LogsLine::decode(&line).map_err(io::Error::other)?;
        if (line.ordinal, line.attempt) != (row.ordinal, row.attempt) {
            let problem = format!("attempt {} of {} is there", line.attempt, line.trial);
            return Err(io::Error::other(problem));
        }
        let mut log = String::new();
        for record in &line.log {
            // As a value, whose keys are in one order.
            let record: Value = serde_json::to_value(record)?;
            log += &format!("{record}\n");
        }
        Ok(Said {
            log,
            stdout: line.stdout.into_owned(),
            stderr: line.stderr.into_owned(),
        })
    }

    fn line(&mut self, session: u32, place: RowLogs) -> io::Result<Vec<u8>> {
        let name = (session, place.file);
        let (_, file) = match &mut self.open {
            Some(open) if open.0 == name => open,
            open => open.insert((name, regular::open(&self.dir.logs(session, place.file))?)),
        };
        // The file may be shorter than a row says, which may say anything.
        file.seek(SeekFrom::Start(place.at))?;
        let mut line = Vec::new();
        let read = file.by_ref().take(place.bytes).read_to_end(&mut line)?;
        if read as u64 != place.bytes {
            return Err(io::Error::other("the file ends before"));
        }
        Ok(line)
    }
}
