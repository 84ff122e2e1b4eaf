//! [`Row::fit`]: a row as bytes that readers accept.

use std::collections::HashSet;

use serde::Serialize;

use super::check::{MAX_ROW, is_deep};
use super::row_check::{Check, MAX_KEPT};
use super::{
    line::Row,
    parts::{Denied, Grade, RowError},
};
use crate::{Text, outcome::Verdict};

/// Bytes of the summary in a row that was too long.
const MAX_SUMMARY: usize = 1000;
/// Graders of a test.
pub const MAX_GRADERS: usize = 16;
/// Bytes of all grades of a row, in addition to [`MAX_ROW`]. Readers accept 64 KiB more.
const MAX_GRADES: usize = 60 << 10;

impl<'a> Row<'a> {
    /// Serializes the row without parts that are too deep. If it or its grades are too long, removes the least important parts
    /// until they fit. Sets `truncated` for parts of the row itself.
    pub fn fit(&mut self) -> Vec<u8> {
        self.truncated |= remove_deep(self);
        let mut grades = std::mem::take(&mut self.grades);
        let of_row = ROW_STEPS.map(|step| move |row: &mut Row<'a>| step(row));
        let of_grades = GRADE_STEPS.map(|step| move |grades: &mut Vec<Grade<'a>>| step(grades));
        self.truncated |= fit(self, MAX_ROW, of_row);
        // Nothing else depends on the texts of grades, so the row counts as whole without them.
        fit(&mut grades, MAX_GRADES, of_grades);
        self.grades = grades;
        json(self)
    }
}

const ROW_STEPS: [fn(&mut Row<'_>); 6] = [
    |row| row.summary.iter_mut().for_each(|text| shorten(text, MAX_SUMMARY)),
    |row| {
        for check in &mut row.checks {
            (check.expected, check.actual) = (None, None);
        }
    },
    |row| {
        for check in &mut row.checks {
            check.diff = None;
            check.differences.truncate(3);
        }
    },
    |row| {
        row.checks.iter_mut().for_each(|check| check.details = None);
        if let Some(error) = &mut row.error {
            error.details = None;
        }
    },
    |row| {
        // Failed checks explain the outcome, so they are kept before others, and before that one of each kind.
        let mut kinds = HashSet::new();
        let mut is_new = |check: &Check<'_>| {
            check.verdict == Verdict::Fail && kinds.insert(check.label().to_owned())
        };
        row.checks.sort_by_cached_key(|check| match check.verdict {
            _ if is_new(check) => 0,
            Verdict::Fail => 1,
            _ => 2,
        });
        row.checks.truncate(MAX_KEPT);
        row.metrics.truncate(MAX_KEPT);
    },
    shorten_texts,
];

/// After the last step, [`MAX_GRADERS`] grades of control characters have 52 KiB.
const GRADE_STEPS: [fn(&mut Vec<Grade<'_>>); 3] = [
    |grades| grades.iter_mut().for_each(|grade| grade.log = None),
    |grades| {
        for grade in grades {
            grade.explanation.iter_mut().for_each(|text| shorten(text, 500));
            grade.error.iter_mut().for_each(|error| shorten_error(error, 500));
            grade.denied.iter_mut().for_each(shorten_denied);
        }
    },
    |grades| {
        for grade in grades {
            grade.explanation = None;
            grade.error.iter_mut().for_each(|error| shorten_error(error, 50));
            grade.denied.clear();
            grade.metrics.truncate(3);
            for metric in &mut grade.metrics {
                shorten(&mut metric.name, 64);
                metric.unit.iter_mut().for_each(|text| shorten(text, 32));
            }
        }
    },
];

/// Applies steps until a value has at most `most` bytes of JSON. Returns whether any was applied.
fn fit<T: Serialize, F: Fn(&mut T), const N: usize>(
    value: &mut T,
    most: usize,
    steps: [F; N],
) -> bool {
    let mut is_cut = false;
    for step in steps {
        if json(value).len() <= most {
            break;
        }
        step(value);
        is_cut = true;
    }
    is_cut
}

/// Removes parts that are nested too deeply for readers of rows. Returns whether there were any.
fn remove_deep(row: &mut Row<'_>) -> bool {
    let of_checks = row
        .checks
        .iter_mut()
        .flat_map(|check| [&mut check.expected, &mut check.actual, &mut check.details]);
    let of_error = row.error.iter_mut().map(|error| &mut error.details);
    of_checks
        .chain(of_error)
        .fold(false, |found, part| found | part.take_if(|part| is_deep(part.get())).is_some())
}

/// Cuts every text of a row. JSON escapes a control character as six bytes, so the longest row now has 64 KiB of output,
/// the artifacts that fit, and 40 checks, 40 metrics and 20 denials of such texts: less than [`MAX_ROW`].
fn shorten_texts(row: &mut Row<'_>) {
    row.summary.iter_mut().for_each(|text| shorten(text, 200));
    for check in &mut row.checks {
        shorten(&mut check.name, 64);
        check.message.iter_mut().for_each(|text| shorten(text, 200));
        check.stderr = None;
        check.differences.clear();
    }
    for metric in &mut row.metrics {
        shorten(&mut metric.name, 64);
        metric.unit.iter_mut().for_each(|text| shorten(text, 32));
    }
    row.denied.iter_mut().for_each(shorten_denied);
    row.error.iter_mut().for_each(|error| shorten_error(error, 1000));
}

fn shorten_error(error: &mut RowError<'_>, most: usize) {
    shorten(&mut error.code, 64);
    shorten(&mut error.message, most);
    error.excerpt = None;
    error.stderr.iter_mut().for_each(|text| shorten(text, most));
}

fn shorten_denied(denied: &mut Denied<'_>) {
    shorten(&mut denied.what, 100);
    denied.grant.iter_mut().for_each(|text| shorten(text, 100));
}

fn shorten(text: &mut Text<'_>, most: usize) {
    if text.len() > most {
        *text = format!("{}…", &text[..text.floor_char_boundary(most)]).into();
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Serializing strings and numbers does not fail.
    serde_json::to_vec(value).unwrap_or_default()
}
