//! [`LogsLine`]: what was said in one attempt, as a line of a run's log files.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{line, log_record::LogLineRecord};
use crate::model::{Attempt, escape_json};

/// The version of the format.
const LOG_VERSION: u32 = 1;

/// What was said in one attempt: a line of `logs-<session>-<file>.jsonl`.
///
/// The line ends with a key `crc` that is not part of this type: the CRC-32 (IEEE) of all bytes of the line before
/// `,"crc":`, as 8 hexadecimal digits. A line counts if a row names it; another one, or half of one, is what a process has
/// written that died before its row was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsLine<'a> {
    /// The version of the format: 1.
    pub v: u32,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id: `test@provider#repeat`.
    pub trial: Cow<'a, str>,
    /// Which execution of the trial, from 1.
    pub attempt: u32,
    /// The records of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLineRecord<'a>>,
    /// Its standard output, where that is not the reply itself.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub stdout: Cow<'a, str>,
    /// Its standard error.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub stderr: Cow<'a, str>,
}

impl<'a> LogsLine<'a> {
    /// What was said in an attempt; `None` if that is nothing.
    pub(in crate::record) fn of(attempt: &'a Attempt) -> Option<Self> {
        if attempt.log.is_empty() && attempt.stdout.is_empty() && attempt.stderr.is_empty() {
            return None;
        }
        Some(Self {
            v: LOG_VERSION,
            ordinal: attempt.ordinal,
            trial: attempt.trial.to_string().into(),
            attempt: attempt.number,
            log: attempt.log.iter().map(LogLineRecord::of).collect(),
            stdout: attempt.stdout.as_str().into(),
            stderr: attempt.stderr.as_str().into(),
        })
    }

    /// Appends its line. What would steer a terminal is escaped in it.
    pub(in crate::record) fn encode(&self, lines: &mut Vec<u8>) {
        let start = lines.len();
        serde_json::to_writer(&mut *lines, self).expect("texts can be written as JSON");
        escape_json(lines, start);
        line::seal(lines, start);
    }

    /// Reads a line with its newline; the text of the error says what is wrong with it.
    pub fn decode(line: &[u8]) -> Result<LogsLine<'static>, String> {
        let line = line.strip_suffix(b"\n").ok_or("no newline at its end")?;
        line::check_crc(line)?;
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::LogsLine;
    use crate::{
        model::{LogRecord, Outcome},
        record::testing::entry,
    };

    fn record() -> impl Strategy<Value = LogRecord> {
        let fields = prop::collection::vec((any::<String>(), any::<String>()), 0..3);
        let level = prop::sample::select(vec!["debug", "warn"]);
        // As it is written, to the millisecond.
        let at = prop::option::of(
            (0..1_i64 << 42).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap()),
        );
        (at, level, any::<String>(), fields).prop_map(|(at, level, message, fields)| LogRecord {
            at,
            level,
            message,
            fields,
        })
    }

    proptest! {
        #[test]
        fn what_was_said_is_one_line_and_reads_back(
            log in prop::collection::vec(record(), 0..4),
            stdout in any::<String>(),
            stderr in "[\\x00-\\x9f\u{202e}✓\"\\\\\n\r]{0,40}",
            flipped in any::<prop::sample::Index>(),
        ) {
            let mut attempt = entry(7, 2, Outcome::Failed).attempt;
            (attempt.log, attempt.stdout, attempt.stderr) = (log, stdout, stderr);
            let Some(said) = LogsLine::of(&attempt) else {
                prop_assert!(attempt.log.is_empty() && attempt.stdout.is_empty() && attempt.stderr.is_empty());
                return Ok(());
            };
            let mut line = Vec::new();
            said.encode(&mut line);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(LogsLine::decode(&line).unwrap(), said);
            prop_assert!(LogsLine::decode(&line[..line.len() - 1]).is_err());

            let flipped = flipped.index(line.len());
            line[flipped] ^= 4;
            prop_assert!(LogsLine::decode(&line).is_err(), "{}", flipped);
        }
    }
}
