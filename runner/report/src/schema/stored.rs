//! Lines of files as types, for their schemas. Programs read and write them in parts.

use runner_model::log::LogLine;
use runner_model::row::{Row, Tail};
use schemars::JsonSchema;

/// A row: a line of `index.jsonl`, the result of an attempt.
#[derive(JsonSchema)]
#[schemars(rename = "Row")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct StoredRow {
    #[serde(flatten)]
    row: Row<'static>,
    #[serde(flatten)]
    tail: Tail,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}

/// A line of `logs.jsonl`: log records and output of an attempt.
#[derive(JsonSchema)]
#[schemars(rename = "LogLine")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct StoredLog {
    #[serde(flatten)]
    line: LogLine<'static>,
    /// CRC-32 of all bytes of the line before `,"crc":`, as 8 hexadecimal digits.
    crc: String,
}
