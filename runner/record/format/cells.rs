//! [`RowCells`]: what of a row a table has cells for, borrowed from its line as far as that can be.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    brief::{
        Brief, BriefKind,
        quick::{self, RowHead},
    },
    judgement::JudgementLine,
    line,
    mark::{AttemptKey, Mark},
    row::{Row, VERSION},
    row_line::{one, parts, yes},
    row_parts::{RowError, RowGrade, RowMetric},
    words,
};
use crate::model::Outcome;

/// What of a row a table has cells for: neither what was checked nor what came out.
#[derive(Debug)]
pub struct RowCells<'a> {
    version: u32,
    seq: u64,
    /// The trial's place in the plan, from 0.
    pub ordinal: u64,
    /// The trial's id.
    pub trial: Cow<'a, str>,
    /// Which execution of the trial, from 1.
    pub attempt: u32,
    /// Whether this attempt settles its trial.
    pub is_final: bool,
    /// What the attempt came to.
    pub outcome: Outcome,
    /// Whether the trial passed only after an attempt that did not.
    pub is_flaky: bool,
    /// The score that counts.
    pub score: Option<f64>,
    /// The provider's summary of its reply.
    pub summary: Option<Cow<'a, str>>,
    /// What the provider measured.
    pub metrics: Vec<RowMetric<'static>>,
    /// Why there is no verdict.
    pub error: Option<RowError<'static>>,
    /// What graders said.
    pub grades: Vec<RowGrade<'static>>,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// The largest sum of the sizes of the guest's memories, in bytes.
    pub peak_memory: u64,
}

/// What decides state of a line whose checksum is right, and its trial's id, if the line says nothing that not every table has
/// a column for. `None` says nothing about the line but that there may be more to tell.
pub(in crate::record) fn without_columns(line: &[u8]) -> Option<(Brief, &str)> {
    let RowHead {
        brief,
        trial,
        mut rest,
        ..
    } = quick::head(line)?;
    quick::skip_keys(
        &mut rest,
        &[
            b",\"score\":",
            b",\"verdict\":",
            b",\"summary\":",
            b",\"checks\":",
        ],
    )?;
    // Grades stand apart in a line of version 2, and these are where metrics are not.
    let is_without = rest.starts_with(b",\"output\":") || rest.starts_with(b",\"began\":");
    (brief.version == VERSION && is_without).then_some((brief, trial))
}

/// The same keys as the line of a row has.
#[derive(Deserialize)]
struct CellsLine<'a> {
    v: u32,
    seq: u64,
    ordinal: u64,
    #[serde(borrow)]
    trial: Cow<'a, str>,
    #[serde(default = "one")]
    attempt: u32,
    #[serde(rename = "final", default = "yes")]
    is_final: bool,
    #[serde(with = "words::word")]
    outcome: Outcome,
    #[serde(rename = "flaky", default)]
    is_flaky: bool,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    metrics: Vec<RowMetric<'static>>,
    #[serde(default)]
    error: Option<RowError<'static>>,
    #[serde(rename = "began")]
    started_at: i64,
    #[serde(rename = "ms")]
    duration_ms: f64,
    #[serde(default)]
    usage: CellsUsage,
}

#[derive(Default, Deserialize)]
struct CellsUsage {
    #[serde(default)]
    memory: u64,
}

impl<'a> RowCells<'a> {
    /// Reads them of a line whose checksum is right; the text of the error says what is wrong with it.
    pub(in crate::record) fn decode(line: &'a [u8]) -> Result<Self, String> {
        if !line.starts_with(b"{\"v\":2,") {
            return Row::decode(line).map(Self::of);
        }
        if let Some(cells) = Self::quick(line) {
            return Ok(cells);
        }
        Self::parse(line)
    }

    /// Reads them where they are written, of an attempt of which there is no more to tell than of most.
    fn quick(line: &'a [u8]) -> Option<Self> {
        let RowHead {
            brief, trial, rest, ..
        } = quick::head(line)?;
        let measured = quick::measured(rest)?;
        let Mark {
            key,
            outcome,
            is_final,
            is_flaky,
        } = brief.mark;
        Some(Self {
            version: brief.version,
            seq: brief.seq,
            ordinal: key.ordinal,
            trial: trial.into(),
            attempt: key.number,
            is_final,
            outcome,
            is_flaky,
            score: None,
            summary: None,
            metrics: Vec::new(),
            error: None,
            grades: Vec::new(),
            started_at: Timestamp::from_millisecond(measured.started_at).ok()?,
            duration_ms: measured.duration_ms,
            peak_memory: measured.peak_memory,
        })
    }

    /// Reads them of any row of version 2.
    fn parse(line: &'a [u8]) -> Result<Self, String> {
        let line: CellsLine<'a> = line::parse(line)?;
        Ok(Self {
            version: line.v,
            seq: line.seq,
            ordinal: line.ordinal,
            trial: line.trial,
            attempt: line.attempt,
            is_final: line.is_final,
            outcome: line.outcome,
            is_flaky: line.is_flaky,
            score: line.score,
            summary: line.summary.map(Cow::Owned),
            metrics: line.metrics,
            error: line.error,
            // They stand apart.
            grades: Vec::new(),
            started_at: Timestamp::from_millisecond(line.started_at)
                .map_err(|error| error.to_string())?,
            duration_ms: line.duration_ms,
            peak_memory: line.usage.memory,
        })
    }

    /// Lets a judgement stand for what the attempt was taken for until then.
    pub(in crate::record) fn judge(&mut self, by: JudgementLine<'static>) {
        if !by.stands_for_one(self.is_final) {
            return;
        }
        self.is_final = by.is_final;
        self.outcome = by.outcome;
        self.is_flaky = by.is_flaky;
        self.score = by.score;
        self.grades = by.grades;
        self.error = by.error;
    }

    /// Those of a row.
    fn of(row: Row<'static>) -> Self {
        Self {
            version: row.v,
            seq: row.seq,
            ordinal: row.ordinal,
            trial: row.trial,
            attempt: row.attempt,
            is_final: row.is_final,
            outcome: row.outcome,
            is_flaky: row.is_flaky,
            score: row.score,
            summary: row.summary,
            metrics: row.metrics,
            error: row.error,
            grades: row.grades,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            peak_memory: row.usage.peak_memory,
        }
    }

    /// Test, provider and repeat, as the trial's id has them.
    pub fn parts(&self) -> (&str, &str, u32) {
        parts(&self.trial)
    }

    /// What of it decides state.
    pub(in crate::record) fn brief(&self) -> Brief {
        Brief {
            version: self.version,
            seq: self.seq,
            kind: BriefKind::Attempt,
            mark: Mark {
                key: AttemptKey {
                    ordinal: self.ordinal,
                    number: self.attempt,
                },
                outcome: self.outcome,
                is_final: self.is_final,
                is_flaky: self.is_flaky,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RowCells;
    use crate::{
        model::{CheckVerdict, Metric, Outcome},
        record::{
            format::{
                entry::Entry,
                row::{Row, RowPlace},
            },
            testing::{attempt_error, entry},
        },
    };

    /// What is read where it is written, if anything, and what is parsed.
    fn both(change: impl FnOnce(&mut Entry)) -> (Option<String>, String) {
        let mut entry = entry(3, 2, Outcome::Passed);
        change(&mut entry);
        let mut line = Vec::new();
        Row::new(&entry, RowPlace { seq: 7, session: 2 }).encode(&mut line);
        let line = line.trim_ascii_end();
        let text = |cells: RowCells<'_>| format!("{cells:?}");
        let parsed = RowCells::parse(line).map(text).unwrap();
        (RowCells::quick(line).map(text), parsed)
    }

    #[test]
    fn cells_are_the_same_read_where_they_are_written_and_parsed() {
        let outputs = [
            json!(null),
            json!("\",\"began\":1,\"ms\":2"),
            json!({"began": 1, "ms": 2, "usage": {"memory": 3}}),
            json!([{"a": 1, "began": {"x": 2, "digests": "y"}}, 1.5]),
            json!({"error": {"code": "\\\""}, "}": [["]"], "\\"], "score": 1}),
            json!(-1.5e300),
            json!(""),
        ];
        for output in outputs {
            let (quick, parsed) = both(|entry| {
                entry.attempt.output = Some(output);
                entry.is_flaky = true;
            });
            assert_eq!(quick, Some(parsed));
        }
        let (quick, parsed) = both(|entry| {
            let check = &mut entry.attempt.checks[0];
            check.verdict = CheckVerdict::Fail;
            check.message = Some("\",\"began\":1]}\\".into());
            check.actual = Some(json!({"began": [1, "ms"], "error": {}}));
        });
        assert_eq!(quick, Some(parsed));
        let (quick, parsed) = both(|entry| {
            entry.attempt.output = None;
            entry.attempt.checks.clear();
        });
        assert_eq!(quick, Some(parsed));
    }

    #[test]
    fn what_has_more_to_tell_is_parsed() {
        let changes: [fn(&mut Entry); 5] = [
            |entry| entry.attempt.score = Some(0.5),
            |entry| entry.attempt.summary = Some("all is well".into()),
            |entry| {
                entry.attempt.metrics = vec![Metric {
                    name: "m".into(),
                    value: 1.0,
                    unit: None,
                }];
            },
            |entry| entry.attempt.suspended = std::time::Duration::from_secs(1),
            |entry| entry.attempt.error = Some(attempt_error()),
        ];
        for change in changes {
            let (quick, parsed) = both(change);
            assert_eq!(quick, None, "{parsed}");
        }
    }
}
