//! [`LiveHead`], [`LiveLine`]: what an attempt has said that has not ended, as lines of a file of its own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::log_record::LogLineRecord;
use crate::model::{LogRecord, escape_json};

/// How much memory is kept for the next lines.
const KEPT_BYTES: usize = 4096;

/// The first line of the file: whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::record) struct LiveHead<'a> {
    /// The trial's place in the plan, from 0.
    pub(in crate::record) ordinal: u64,
    /// The trial's id: `test@provider#repeat`.
    pub(in crate::record) trial: Cow<'a, str>,
    /// Which execution of the trial, from 1.
    pub(in crate::record) attempt: u32,
}

/// Each line behind it: something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::record) enum LiveLine<'a> {
    /// A record of its log.
    Log(LogLineRecord<'a>),
    /// A line of its standard output.
    Stdout(Cow<'a, str>),
    /// A line of its standard error.
    Stderr(Cow<'a, str>),
}

/// Lines of what is said in an attempt, to be written together.
#[derive(Debug, Default)]
pub struct LiveText(Vec<u8>);

impl LiveText {
    /// Adds a record of the attempt's log.
    pub fn log(&mut self, record: &LogRecord) {
        self.line(&LiveLine::Log(LogLineRecord::of(record)));
    }

    /// Adds a line of its standard output.
    pub fn stdout(&mut self, line: &str) {
        self.line(&LiveLine::Stdout(line.into()));
    }

    /// Adds a line of its standard error.
    pub fn stderr(&mut self, line: &str) {
        self.line(&LiveLine::Stderr(line.into()));
    }

    /// Tells whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all lines, and gives back the memory of many.
    pub fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT_BYTES);
    }

    pub(in crate::record) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What would steer a terminal is escaped: people print such files, too.
    pub(in crate::record) fn line(&mut self, line: &impl Serialize) {
        let start = self.0.len();
        serde_json::to_writer(&mut self.0, line).expect("texts can be written as JSON");
        escape_json(&mut self.0, start);
        self.0.push(b'\n');
    }
}
