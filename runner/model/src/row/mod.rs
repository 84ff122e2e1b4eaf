//! A line of `index.jsonl`: the worker's [`Row`], the coordinator's [`Tail`] and a checksum.
//!
//! A worker writes a [`Row`]. The coordinator appends the [`Tail`], and [`read_line`] parses the whole line as a [`RowRef`]. A fold
//! over all rows parses only a [`RowHead`], and a grader's worker sends a [`Judgement`] of a stored row.
//!
//! A line is a closed JSON object. Its last key is `crc`, the CRC-32 of all bytes before `,"crc":`. Keys without a value are
//! absent.

mod check;
mod cut;
mod failure_kinds;
mod fit;
mod grade;
mod line;
mod metric_sums;
mod parts;
mod row_check;
mod score;

pub use self::check::{BadReport, MAX_DEPTH, MAX_ROW, check_row, is_deep, is_file_name};
pub use self::cut::limit_of;
pub use self::failure_kinds::FailureKinds;
pub use self::fit::MAX_GRADERS;
pub use self::grade::{Judgement, StandingGrade, check_grade, check_judgement};
pub(crate) use self::line::TAIL_BYTES;
pub use self::line::{
    BadLine, LineTexts, Row, RowHead, RowRef, Tail, VERSION, close_line, duration,
    has_right_checksum, read_head, read_line, reclose_line,
};
pub use self::metric_sums::MetricSums;
pub use self::parts::{
    Actor, Artifact, BACKTRACE, Calls, Denied, Grade, LogPlace, Metric, OUTPUT_ARTIFACT,
    OUTPUT_REFERENCE, Raw, RowError, STDERR_FOLLOWS, Usage, is_host_artifact, panic,
    python_exception,
};
pub use self::row_check::{Check, CheckKind, Difference, Hint, MAX_DIFFERENCES};

#[cfg(test)]
#[path = "../tests/row.rs"]
mod tests;
