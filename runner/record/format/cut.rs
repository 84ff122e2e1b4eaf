//! Cutting a row to the longest line.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    line::MAX_LINE_BYTES,
    row::{Row, RowCheck},
    row_parts::{RowError, RowMetric},
};

/// What is left of each text and of each list, tried in this order.
pub(in crate::record) const STEPS: [(usize, usize); 5] = [
    (16 * 1024, 4096),
    (4 * 1024, 1024),
    (1024, 256),
    (256, 64),
    (64, 16),
];

/// Cuts checks, metrics and messages until the row's line fits, and replaces the line at `start` by the shorter one.
pub(in crate::record) fn cut(row: &mut Row<'_>, line: &mut Vec<u8>, start: usize) {
    row.is_truncated = true;
    for (bytes, items) in STEPS {
        row.checks.truncate(items);
        row.metrics.truncate(items);
        cut_texts(row, bytes);
        line.truncate(start);
        row.encode(line);
        if line.len() - start <= MAX_LINE_BYTES {
            return;
        }
    }
}

fn cut_texts(row: &mut Row<'_>, bytes: usize) {
    for check in &mut row.checks {
        cut_check(check, bytes);
    }
    cut_metrics(&mut row.metrics, bytes);
    for artifact in &mut row.artifacts {
        cut_text(&mut artifact.media_type, bytes);
    }
    for denied in &mut row.denied {
        cut_text(&mut denied.what, bytes);
        cut_optional(&mut denied.grant, bytes);
    }
    cut_optional(&mut row.summary, bytes);
    cut_error(&mut row.error, bytes);
}

pub(in crate::record) fn cut_check(check: &mut RowCheck<'_>, bytes: usize) {
    cut_text(&mut check.name, bytes);
    cut_optional(&mut check.message, bytes);
    cut_optional(&mut check.diff, bytes);
    cut_value(&mut check.expected, bytes);
    cut_value(&mut check.actual, bytes);
    cut_value(&mut check.details, bytes);
}

pub(in crate::record) fn cut_metrics(metrics: &mut [RowMetric<'_>], bytes: usize) {
    for metric in metrics {
        cut_text(&mut metric.name, bytes);
        cut_optional(&mut metric.unit, bytes);
    }
}

pub(in crate::record) fn cut_error(error: &mut Option<RowError<'_>>, bytes: usize) {
    if let Some(error) = error {
        cut_text(&mut error.code, bytes);
        cut_text(&mut error.message, bytes);
    }
}

pub(in crate::record) fn cut_optional(text: &mut Option<Cow<'_, str>>, bytes: usize) {
    if let Some(text) = text {
        cut_text(text, bytes);
    }
}

pub(in crate::record) fn cut_text(text: &mut Cow<'_, str>, bytes: usize) {
    if text.len() > bytes {
        *text = shortened(text, bytes).into();
    }
}

/// A text keeps its beginning; of anything else that is too long, half would be worth nothing.
fn cut_value(value: &mut Option<Cow<'_, Value>>, bytes: usize) {
    let Some(present) = value else {
        return;
    };
    match &**present {
        Value::String(text) if text.len() > bytes => {
            *present = Cow::Owned(shortened(text, bytes).into());
        }
        Value::Array(_) | Value::Object(_) if present.to_string().len() > bytes => *value = None,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {}
    }
}

fn shortened(text: &str, bytes: usize) -> String {
    format!("{}…", &text[..text.floor_char_boundary(bytes)])
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINE_BYTES, Row};
    use crate::{
        model::Outcome,
        record::{
            format::{cut, row::RowPlace},
            testing::entry,
        },
    };

    const PLACE: RowPlace = RowPlace { seq: 7, session: 1 };

    #[test]
    fn a_row_that_is_too_long_is_cut_until_it_fits() {
        let mut entry = entry(3, 1, Outcome::Failed);
        let mut check = entry.attempt.checks[0].clone();
        check.message = Some("\u{1}ö".repeat(1000));
        check.actual = Some(vec!["x"; 1000].into());
        check.expected = Some("ö".repeat(1000).into());
        entry.attempt.checks = vec![check; 500];

        let mut row = Row::new(&entry, PLACE);
        let mut line = b"before\n".to_vec();
        cut::cut(&mut row, &mut line, 7);
        assert!(line.starts_with(b"before\n{"));
        assert!(line.len() <= MAX_LINE_BYTES + 7);
        let read = Row::decode(&line[7..line.len() - 1]).unwrap();
        assert!(read.is_truncated);
        assert!(!read.checks.is_empty());
    }
}
