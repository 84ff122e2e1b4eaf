//! One line of `logs.jsonl`: what was said in an attempt.

use serde::{Deserialize, Serialize};

use crate::{
    Text, Time, TrialId,
    enum_text::{is_default, text_enum},
    row::{BadReport, close_line},
};

/// The version of lines of logs, their `v`.
pub const VERSION: u8 = 2;
/// Bytes of what a worker may report as said in one attempt. A worker cuts before it reports.
pub const MAX_SAID: usize = 12 << 20;

text_enum! {
    /// How important a log record is.
    pub enum Level {
        /// Finest.
        Trace = "trace",
        /// For those who look for a fault.
        Debug = "debug",
        /// What happens.
        Info = "info",
        /// What may be wrong.
        Warn = "warn",
        /// What is wrong.
        Error = "error",
    }
}

/// What was said in an attempt; the worker's part of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Said<'a> {
    /// Log records in the order in which they came.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogRecord<'a>>,
    /// Log records that were dropped because they were over a limit.
    #[serde(skip_serializing_if = "is_default")]
    pub dropped: u64,
    /// Standard output, its start and its end; absent where it became the reply.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub stdout: Text<'a>,
    /// Standard error, its start and its end.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub stderr: Text<'a>,
}

/// A log record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRecord<'a> {
    /// When the worker got it.
    pub at: Time,
    /// How important it is.
    pub level: Level,
    /// Its text.
    #[serde(borrow)]
    pub message: Text<'a>,
    /// Its fields, in their order.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(Text<'a>, Text<'a>)>,
}

impl Said<'_> {
    /// Tells whether nothing was said, so that there is no line.
    pub fn is_empty(&self) -> bool {
        *self == Said::default()
    }
}

/// A line of `logs.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct LogLine<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// The trial.
    pub trial: TrialId,
    /// Which attempt of the trial.
    pub attempt: u32,
    /// The session.
    pub session: u32,
    /// What was said.
    #[serde(borrow)]
    pub said: Said<'a>,
}

/// Checks what a worker reports as said, and makes the line for `logs.jsonl`, with its line break.
///
/// # Errors
///
/// What is wrong with the report.
pub fn line(
    said: &[u8],
    trial: &TrialId,
    attempt: u32,
    session: u32,
) -> Result<Vec<u8>, BadReport> {
    if said.len() > MAX_SAID {
        return Err(BadReport(format!("a log of {} bytes, more than {MAX_SAID}", said.len())));
    }
    // serde reads an array as a structure, too.
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
