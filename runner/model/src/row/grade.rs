//! [`Judgement`]: the new judgement of a stored row, by expectations and graders.

use std::mem;

use serde::{Deserialize, Serialize};

use super::check::{BadReport, check_object, check_parts, is_time};
use super::line::{Row, RowRef, parse};
use super::parts::{Grade, RowError};
use super::row_check::Check;
use crate::enum_text::{default_weight, is_default, is_default_weight};
use crate::{ErrorClass, MAX_WEIGHT, Outcome, Text, outcome::Verdict};

/// The judgement of a stored row: a worker's report of a task `Judge`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
pub struct Judgement<'a> {
    /// The outcome by the checks and the provider's verdict, without the graders.
    pub outcome: Outcome,
    /// The checks of the test's `expect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check<'a>>,
    /// Whether parts of the checks were removed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub truncated: bool,
    /// The same as [`Row::cut_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_by: Option<Text<'a>>,
    /// The grades that are kept, in the order of the test's graders. The other graders are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grades: Vec<StandingGrade<'a>>,
}

/// A stored grade for the same settings and input. `min_score` and `weight` may be others than when the grader answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'a"))]
pub struct StandingGrade<'a> {
    pub grader: Text<'a>,
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_score: Option<f64>,
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
}

impl<'a> Row<'a> {
    /// Returns a stored row with another judgement. `graders` are the names of the test's graders, which decide if the outcome
    /// is `passed` without them. `decides` is whether the workspace of an attempt that was cut off decides about it.
    pub fn judged(
        stored: RowRef<'a>,
        judgement: Judgement<'a>,
        graders: &[&str],
        decides: bool,
    ) -> Self {
        let mut row = Self::from(stored);
        let own = row.checks.extract_if(.., |check| check.kind.is_none()).collect::<Vec<_>>();
        row.checks = judgement.checks.into_iter().chain(own).collect();
        row.error.take_if(|error| error.class == Some(ErrorClass::Grader));
        row.outcome = judgement.outcome;
        row.truncated |= judgement.truncated;
        row.cut_by = judgement.cut_by;
        row.restore_error();
        let old = mem::take(&mut row.grades);
        if decides && row.keeps_outcome() {
            row.decide();
        }
        let partial = row.keeps_outcome();
        if (row.outcome == Outcome::Passed || partial) && !graders.is_empty() {
            let grades = judgement.grades.iter().filter_map(|standing| standing.grade(&old));
            row.grades = grades.map(|grade| Grade { partial, ..grade }).collect();
            if !partial {
                row.apply_grades(graders);
            }
        }
        row
    }

    /// Returns a stored row with a new grade, which replaces one of the same grader. With `asks_again`, the row stays ungraded
    /// after the last grade, too. That of an attempt that was cut off keeps its outcome.
    pub fn graded(
        stored: RowRef<'a>,
        grade: Grade<'a>,
        graders: &[&str],
        asks_again: bool,
    ) -> Self {
        let mut row = Self::from(stored);
        let partial = row.keeps_outcome();
        row.grades.retain(|old| old.grader != grade.grader);
        row.grades.push(Grade { partial, ..grade });
        row.grades.sort_by_key(|grade| graders.iter().position(|name| **name == *grade.grader));
        if partial {
            return row;
        }
        row.outcome = Outcome::Ungraded;
        if !asks_again {
            row.apply_grades(graders);
        }
        row
    }

    /// Sets the outcome once each grader has a grade. An error of any grader is then the result.
    fn apply_grades(&mut self, graders: &[&str]) {
        if graders.iter().any(|name| self.grades.iter().all(|grade| *grade.grader != **name)) {
            self.outcome = Outcome::Ungraded;
            return;
        }
        let failed = self.grades.iter().find_map(|grade| Some((grade, grade.error.as_ref()?)));
        let error = failed.map(|(grade, error)| RowError {
            class: Some(ErrorClass::Grader),
            message: format!("grader `{}`: {}", grade.grader, error.message).into(),
            retry_after_ms: None,
            ..error.clone()
        });
        let mut verdicts = self.grades.iter().filter_map(|grade| grade.verdict);
        self.outcome = if error.is_some() {
            Outcome::Error
        } else if verdicts.clone().any(|verdict| verdict == Verdict::Fail) {
            Outcome::Failed
        } else if verdicts.all(|verdict| verdict == Verdict::Skip) {
            Outcome::Skipped
        } else {
            Outcome::Passed
        };
        self.error = error.or(self.error.take());
    }
}

impl<'a> StandingGrade<'a> {
    /// Returns the stored grade, if it has an answer.
    fn grade(&self, stored: &[Grade<'a>]) -> Option<Grade<'a>> {
        let mut stored = stored.iter().filter(|grade| grade.grader == self.grader);
        let old = stored.find(|grade| grade.own_verdict.is_some() || grade.score.is_some())?;
        let Self { min_score, weight, .. } = *self;
        Some(Grade { verdict: Some(self.verdict), min_score, weight, error: None, ..old.clone() })
    }
}

/// Checks a worker's report of a task `Grade` of `grader`: a grade, or `null` if the attempt was interrupted.
///
/// # Errors
///
/// The first fault. No part of the grade may then be used.
pub fn check_grade<'a>(
    bytes: &'a [u8],
    grader: &str,
    attempt: u32,
) -> Result<Option<Grade<'a>>, BadReport> {
    if bytes == b"null" {
        return Ok(None);
    }
    check_object(bytes)?;
    let grade: Grade<'_> =
        parse(bytes).map_err(|error| BadReport(format!("not a grade: {error}")))?;
    let is_error_right = grade.error.as_ref().is_none_or(|error| {
        // Only the coordinator observes the death of a worker.
        let is_own = matches!(error.class, Some(ErrorClass::Crash | ErrorClass::Grader));
        !is_own && error.details.is_none()
    });
    let parts = [
        (*grade.grader == *grader, "grader"),
        (is_error_right, "error"),
        (grade.attempt == attempt, "attempt"),
        (grade.verdict.is_some() != grade.error.is_some(), "verdict"),
        (is_time(grade.duration_ms), "duration_ms"),
        (is_weight(grade.weight), "weight"),
    ];
    check_parts("grade", &parts)?;
    Ok(Some(grade))
}

fn is_weight(weight: f64) -> bool {
    (0.0..=MAX_WEIGHT).contains(&weight)
}

/// Checks a worker's report of a task `Judge` of the row `stored`. `graders` are the names of the test's graders.
///
/// # Errors
///
/// The first fault. No part of the judgement may then be used.
pub fn check_judgement<'a>(
    bytes: &'a [u8],
    stored: &RowRef<'_>,
    graders: &[&str],
) -> Result<Judgement<'a>, BadReport> {
    check_object(bytes)?;
    let judgement: Judgement<'_> =
        parse(bytes).map_err(|error| BadReport(format!("not a judgement: {error}")))?;
    let mut later = graders.iter();
    let are_grades_right = judgement.grades.iter().all(|standing| {
        later.any(|grader| *standing.grader == **grader)
            && is_weight(standing.weight)
            && standing.grade(&stored.grades).is_some()
    });
    let parts = [
        (judgement.outcome.can_be_final(), "outcome"),
        (
            judgement.checks.iter().all(|check| check.kind.is_some() && check.is_possible()),
            "checks",
        ),
        (are_grades_right, "grades"),
        (judgement.cut_by.is_none() || judgement.cut_by == stored.limit_that_cut(), "cut_by"),
    ];
    check_parts("judgement", &parts)?;
    Ok(judgement)
}

#[cfg(test)]
#[path = "../tests/grade.rs"]
mod tests;
