//! How a row is a line: its keys in a fixed order, and a checksum at the end.

use std::path::Path;

use serde::Deserialize;

use super::{
    row::{APART, Row},
    row_line::RowLine,
};
use crate::{
    model::{escape_json, shown_problem},
    record::error::RecordError,
};

/// What comes after the bytes that the checksum covers: `,"crc":"xxxxxxxx"}`.
const SUFFIX_BYTES: usize = 18;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// The longest line, with its newline.
pub(in crate::record) const MAX_LINE_BYTES: usize = 256 * 1024;

impl Row<'_> {
    /// Appends the row's line. What would steer a terminal is escaped in it: people print such files, too.
    pub(in crate::record) fn encode(&self, line: &mut Vec<u8>) {
        let start = line.len();
        let written = RowLine::of(self);
        serde_json::to_writer(&mut *line, &written)
            .expect("a row has no value that JSON cannot hold");
        escape_json(line, start);
        seal(line, start);
    }

    /// Reads a line without its newline; the text of the error says what is wrong with it. Rows of a newer runner are
    /// read as far as they have the keys of this one's.
    pub fn decode(line: &[u8]) -> Result<Row<'static>, String> {
        check_crc(line)?;
        if is_of_version_1(line) {
            return parse(line);
        }
        let written: RowLine<'static> = parse(line)?;
        written.into_row()
    }
}

/// Puts the checksum into the object that begins at `start`, as its last key, and ends the line.
pub(in crate::record) fn seal(line: &mut Vec<u8>, start: usize) {
    line.pop();
    let crc = crc32fast::hash(&line[start..]);
    line.extend(b",\"crc\":\"");
    let digits = (0..8)
        .rev()
        .map(|place| HEX[(crc >> (4 * place) & 15) as usize]);
    line.extend(digits);
    line.extend(b"\"}\n");
}

/// Tells a line of version 1, which has each key of its row.
fn is_of_version_1(line: &[u8]) -> bool {
    // As its keys are always written, and by whatever else puts them into another order.
    line.starts_with(b"{\"v\":1,") || !line.starts_with(b"{\"v\":2,") && version(line) == Some(1)
}

/// Reads the JSON of a line; the text of the error says what is wrong with it.
pub(in crate::record) fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    // All at once it is found out much sooner that it is text than string by string.
    let parsed = match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(line),
    };
    parsed.map_err(|error| problem(line, &error))
}

/// The version of a line, whatever else is in it.
fn version(line: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let version: Version = serde_json::from_slice(line).ok()?;
    Some(version.v)
}

/// Refuses to write beside rows of a newer runner.
pub(in crate::record) fn check_version(path: &Path, version: u32) -> Result<(), RecordError> {
    match version {
        ..=APART => Ok(()),
        found => Err(RecordError::Newer {
            path: path.to_owned(),
            found,
            known: APART,
        }),
    }
}

/// Says why an undamaged line gives no row.
pub(in crate::record) fn problem(line: &[u8], error: &serde_json::Error) -> String {
    let problem = shown_problem(&error.to_string());
    match newer_version(line) {
        Some(version) => {
            format!("it is of format {version}, and this runner knows {APART}: {problem}")
        }
        None => problem,
    }
}

/// The version of an undamaged line that a newer runner wrote.
pub(in crate::record) fn newer_version(line: &[u8]) -> Option<u32> {
    check_crc(line).ok()?;
    version(line).filter(|version| *version > APART)
}

/// Takes away what an editor or a copy from elsewhere may have put before the newline.
pub(in crate::record) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Compares a line with the checksum at its end.
pub(in crate::record) fn check_crc(line: &[u8]) -> Result<(), String> {
    let line = without_return(line);
    let covered = line.len().checked_sub(SUFFIX_BYTES).ok_or("too short")?;
    let (bytes, suffix) = line.split_at(covered);
    let digits = suffix
        .strip_prefix(b",\"crc\":\"")
        .and_then(|rest| rest.strip_suffix(b"\"}"))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match digits {
        Some(crc) if crc == crc32fast::hash(bytes) => Ok(()),
        Some(_) => Err("the checksum does not match".into()),
        None => Err("no checksum at its end".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::Row;
    use crate::{
        model::{AttemptError, CheckVerdict, ErrorClass, Metric, Outcome},
        record::{
            format::{
                brief,
                entry::Entry,
                row::{RowOutput, RowPlace},
            },
            testing::entry,
        },
    };

    const PLACE: RowPlace = RowPlace { seq: 7, session: 1 };

    fn encoded(row: &Row<'_>) -> String {
        let mut line = Vec::new();
        row.encode(&mut line);
        String::from_utf8(line).unwrap()
    }

    fn read_back(entry: &Entry) -> Row<'static> {
        Row::decode(encoded(&Row::new(entry, PLACE)).trim_end().as_bytes()).unwrap()
    }

    #[test]
    fn a_simple_row_is_short_and_ends_with_its_checksum() {
        let entry = entry(3, 1, Outcome::Passed);
        insta::assert_snapshot!(encoded(&Row::new(&entry, PLACE)), @r#"{"v":2,"seq":7,"ordinal":3,"trial":"test-3@echo#1","outcome":"passed","checks":["equals"],"output":"hello","began":1795149552123,"ms":0.048,"usage":{"memory":1114112,"in":9,"out":7},"digests":"44863b03e9909b71a9c9cca61f97e3d9","crc":"17b346d5"}"#);
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let mut entry = entry(3, 2, Outcome::Error);
        entry.is_flaky = true;
        let attempt = &mut entry.attempt;
        attempt.score = Some(0.1 + 0.2);
        attempt.summary = Some("ü\n\"".into());
        attempt.output = Some(Value::Null);
        attempt.checks[0].expected = Some(Value::Null);
        attempt.checks[0].actual = Some(json!({ "a": [1, 2.5, "x"] }));
        attempt.checks[0].verdict = CheckVerdict::Fail;
        attempt.metrics = vec![Metric {
            name: "m".into(),
            value: 1e300,
            unit: Some("s".into()),
        }];
        attempt.error = Some(AttemptError {
            class: Some(ErrorClass::OutOfMemory),
            code: "unreachable".into(),
            message: "no memory".into(),
            retry_after: Some(Duration::from_secs(2)),
            fault: None,
        });

        let row = Row::new(&entry, PLACE);
        let read = read_back(&entry);
        assert_eq!(read, row);
        assert_eq!(read.mark(), entry.mark());
        let line = encoded(&row);
        let line = line.trim_end().as_bytes();
        let (brief, trial) = brief::decode_keys(line).unwrap();
        assert_eq!((brief.seq, brief.mark), (row.seq, entry.mark()));
        assert_eq!(trial, row.trial);
        assert_eq!(brief::quick::decode(line).unwrap(), (brief, &*trial));
    }

    #[test]
    fn what_is_no_number_never_gets_into_a_row() {
        let mut entry = entry(3, 1, Outcome::Passed);
        entry.attempt.score = Some(f64::NAN);
        entry.attempt.checks[0].score = Some(f64::INFINITY);
        entry.attempt.metrics = vec![Metric {
            name: "m".into(),
            value: f64::NAN,
            unit: None,
        }];
        let row = read_back(&entry);
        assert_eq!(
            (row.score, row.checks[0].score, row.metrics.len()),
            (None, None, 0)
        );
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let line = encoded(&Row::new(&entry(3, 1, Outcome::Passed), PLACE));
        let line = line.trim_end().as_bytes();
        for index in 0..line.len() {
            let mut damaged = line.to_vec();
            damaged[index] ^= 4;
            assert!(Row::decode(&damaged).is_err(), "{index}");
        }
    }

    #[test]
    fn an_output_that_looks_like_a_stored_one_is_told_apart() {
        let inline = json!({ "artifact": "a", "sha256": 1 });
        let mut entry = entry(3, 1, Outcome::Passed);
        entry.attempt.output = Some(inline.clone());
        let Some(RowOutput::Inline(output)) = read_back(&entry).output else {
            panic!("inline");
        };
        assert_eq!(*output, inline);
    }
}
