//! [`GraderSums`]: what graders said of the trials of a report, added up.

use std::collections::BTreeMap;

use crate::{
    model::CheckVerdict,
    record::RowGrade,
    view::{GraderResult, MetricSum},
};

/// What graders said of trials so far.
#[derive(Default)]
pub(super) struct GraderSums(BTreeMap<String, GraderSum>);

#[derive(Default)]
struct GraderSum {
    passed: u64,
    failed: u64,
    skipped: u64,
    errors: u64,
    scores: (f64, u64),
    attempts: u64,
    duration_ms: f64,
    metrics: BTreeMap<(String, Option<String>), (f64, u64)>,
}

impl GraderSums {
    /// Adds what was said of a trial.
    pub(super) fn add(&mut self, grades: &[RowGrade<'_>]) {
        for grade in grades {
            let sum = self.0.entry(grade.grader.to_string()).or_default();
            *match grade.verdict {
                Some(CheckVerdict::Pass) => &mut sum.passed,
                Some(CheckVerdict::Fail) => &mut sum.failed,
                Some(CheckVerdict::Skip) => &mut sum.skipped,
                None => &mut sum.errors,
            } += 1;
            if let Some(score) = grade.score {
                sum.scores.0 += score;
                sum.scores.1 += 1;
            }
            sum.attempts += u64::from(grade.attempts);
            sum.duration_ms += grade.duration_ms;
            for metric in &grade.metrics {
                let unit = metric.unit.as_ref().map(ToString::to_string);
                let (total, trials) = sum
                    .metrics
                    .entry((metric.name.to_string(), unit))
                    .or_default();
                *total += metric.value;
                *trials += 1;
            }
        }
    }

    /// What they said, by the names of the graders.
    pub(super) fn finish(self) -> Vec<GraderResult> {
        let each = self.0.into_iter();
        each.map(|(grader, sum)| GraderResult {
            grader,
            passed: sum.passed,
            failed: sum.failed,
            skipped: sum.skipped,
            errors: sum.errors,
            #[expect(
                clippy::cast_precision_loss,
                reason = "counts of trials are far below 2^52"
            )]
            mean_score: (sum.scores.1 > 0).then(|| sum.scores.0 / sum.scores.1 as f64),
            attempts: sum.attempts,
            duration_ms: sum.duration_ms,
            metrics: sum
                .metrics
                .into_iter()
                .map(|((name, unit), (sum, trials))| MetricSum {
                    name,
                    unit,
                    sum,
                    trials,
                })
                .collect(),
        })
        .collect()
    }
}
