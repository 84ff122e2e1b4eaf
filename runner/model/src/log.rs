//! A line of `logs.jsonl`: log records and output of an attempt.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::{is_default, text_enum};
use crate::row::{BadReport, close_line};
use crate::{Text, Time, TrialId};

/// The version of lines of logs, their `v`.
pub const VERSION: u8 = 2;
/// Bytes of one attempt's log in a report. A worker cuts a longer log.
pub const MAX_SAID: usize = 12 << 20;

text_enum! {
    /// The severity of a log record.
    pub enum Level {
        Trace = "trace",
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
    }
}

/// Log records and output of an attempt: the worker's part of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Said<'a> {
    /// Log records in order of arrival.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogRecord<'a>>,
    /// Number of log records that were dropped because of a limit.
    #[serde(skip_serializing_if = "is_default")]
    pub dropped: u64,
    /// Start and end of standard output. Empty if it is the reply.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub stdout: Text<'a>,
    /// Start and end of standard error.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub stderr: Text<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogRecord<'a> {
    /// Arrival at the worker.
    pub at: Time,
    /// Number of requests that the attempt had made before. Only with a journal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub calls: u32,
    /// The guest's level of the record.
    pub level: Level,
    /// The guest's text.
    #[serde(borrow)]
    pub message: Text<'a>,
    /// Names and values of the guest, in its order.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(Text<'a>, Text<'a>)>,
}

impl fmt::Display for LogRecord<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.level, &*self.message)?;
        self.fields
            .iter()
            .try_for_each(|(name, value)| write!(formatter, " {}={}", &**name, &**value))
    }
}

impl Said<'_> {
    /// Returns whether the attempt needs no line.
    pub fn is_empty(&self) -> bool {
        *self == Said::default()
    }
}

/// A line of `logs.jsonl`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct LogLine<'a> {
    /// Always [`VERSION`].
    #[schemars(extend("const" = VERSION))]
    pub v: u8,
    pub trial: TrialId,
    /// The attempt of the trial, from 1.
    pub attempt: u32,
    /// The session, from 1.
    pub session: u32,
    /// Log records and output.
    #[serde(borrow)]
    pub said: Said<'a>,
}

/// Checks the log of a worker's report. Returns the line for `logs.jsonl` with its line break.
///
/// # Errors
///
/// The fault of the log.
pub fn line(
    said: &[u8],
    trial: &TrialId,
    attempt: u32,
    session: u32,
) -> Result<Vec<u8>, BadReport> {
    if said.len() > MAX_SAID {
        return Err(BadReport(format!("a log of {} bytes, more than {MAX_SAID}", said.len())));
    }
    // A line break would start another line of `logs.jsonl`. serde also accepts an array for a structure.
    if said.first() != Some(&b'{') || said.contains(&b'\n') || said.contains(&b'\r') {
        return Err(BadReport("a log that is not one object on one line".into()));
    }
    serde_json::from_slice::<Said<'_>>(said)
        .map_err(|error| BadReport(format!("not a log: {error}")))?;
    let head = format!(
        "{{\"v\":{VERSION},\"trial\":\"{trial}\",\"attempt\":{attempt},\"session\":{session},\"said\":"
    );
    let mut line = Vec::with_capacity(head.len() + said.len() + 20);
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(said);
    close_line(&mut line);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::{LogLine, Said, line};
    use crate::{TrialId, row::has_right_checksum};

    #[test]
    fn a_log_line_is_read_as_it_was_said() {
        let said = r#"{"log":[{"at":"2026-11-20T09:18:04.015Z","level":"warn","message":"careful","fields":[["unit","ell"]]}],"stderr":"a\nb"}"#;
        let trial = TrialId::parse("a@p#1").unwrap();
        let mut bytes = line(said.as_bytes(), &trial, 2, 1).unwrap();
        assert_eq!(bytes.pop(), Some(b'\n'));
        assert!(has_right_checksum(&bytes));
        let read: LogLine<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_string(&read.said).unwrap(), said);
        assert_eq!((read.trial, read.attempt, read.session), (trial, 2, 1));
    }

    #[test]
    fn a_worker_cannot_write_a_line_of_its_own() {
        let trial = TrialId::parse("a@p#1").unwrap();
        for bad in ["", "{", "[]", "{\"x\":1}", "{}\n{}", "{},\"trial\":\"b@p#1\""] {
            assert!(line(bad.as_bytes(), &trial, 1, 1).is_err(), "{bad}");
        }
        assert!(Said::default().is_empty());
    }
}
