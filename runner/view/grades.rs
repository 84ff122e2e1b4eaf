//! What graders said, beside what was checked: in sums and in words.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::{CheckVerdict, duration, number, plural},
    record::{RowCheck, RowGrade},
};

/// The sum of a metric over trials.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MetricSum {
    /// Its name.
    pub name: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// The sum.
    pub sum: f64,
    /// How many trials measured it.
    pub trials: u64,
}

/// What a grader said of a trial.
pub type TrialGrade = RowGrade<'static>;

/// What one grader said of the trials of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GraderResult {
    /// Its name.
    pub grader: String,
    /// How many outputs it let pass.
    pub passed: u64,
    /// How many it refused.
    pub failed: u64,
    /// To how many it did not apply.
    pub skipped: u64,
    /// Of how many it came to no verdict.
    pub errors: u64,
    /// The mean of its scores; `null` without any.
    pub mean_score: Option<f64>,
    /// How often it was asked.
    pub attempts: u64,
    /// How long it took in all, in milliseconds.
    pub duration_ms: f64,
    /// The sums of what it measured, by name and unit.
    pub metrics: Vec<MetricSum>,
}

/// The checks that are no grade's: what graders said stands beside the checks.
pub fn plain_checks<'r, 'a>(
    checks: &'r [RowCheck<'a>],
    grades: &[RowGrade<'_>],
) -> Vec<&'r RowCheck<'a>> {
    let given = grades.iter().filter(|grade| grade.verdict.is_some());
    let mut given: Vec<_> = given.map(|grade| grade.grader.as_ref()).collect();
    // The checks of graders stand before those of the provider, which may have the same names.
    let is_plain = |check: &&RowCheck<'_>| {
        let grader = check.name.strip_prefix("graders.");
        let place = grader.and_then(|grader| given.iter().position(|given| *given == grader));
        place.map(|place| given.remove(place)).is_none()
    };
    checks.iter().filter(is_plain).collect()
}

/// What a grade is: `fail, score 0.25 of at least 0.5`.
pub fn grade_words(grade: &RowGrade<'_>) -> String {
    let verdict = grade.verdict.map_or("no verdict", CheckVerdict::as_str);
    format!("{verdict}{}", score_words(grade.score, grade.least))
}

/// What follows the verdict of a grade: `, score 0.25 of at least 0.5`.
pub fn score_words(score: Option<f64>, least: Option<f64>) -> String {
    match (score, least) {
        (None, _) => String::new(),
        (Some(score), None) => format!(", score {}", number(score)),
        (Some(score), Some(least)) => {
            format!(", score {} of at least {}", number(score), number(least))
        }
    }
}

/// What a grade took: how often the grader was asked and for how long, what it measured and what it used.
pub fn grade_costs(grade: &RowGrade<'_>) -> String {
    let mut parts = Vec::new();
    if grade.is_kept {
        parts.push("kept from an earlier judgement".to_owned());
    }
    if grade.attempts > 1 {
        parts.push(plural(grade.attempts.into(), "attempt"));
    }
    // A row may have been changed by hand.
    if let Ok(took) = Duration::try_from_secs_f64(grade.duration_ms / 1e3) {
        parts.push(duration(took));
    }
    for metric in &grade.metrics {
        parts.push(measured_words(
            &metric.name,
            metric.value,
            metric.unit.as_deref(),
        ));
    }
    for (used, word) in [
        (grade.usage.http_requests, "HTTP request"),
        (grade.usage.bytes_in, "byte in"),
        (grade.usage.bytes_out, "byte out"),
    ] {
        if used > 0 {
            parts.push(plural_before(used, word));
        }
    }
    parts.join(", ")
}

/// A metric in words: `cost 0.01 usd`. The unit of a plain number is 1, which nobody says.
pub fn measured_words(name: &str, value: f64, unit: Option<&str>) -> String {
    let value = number(value);
    match unit {
        None | Some("" | "1") => format!("{name} {value}"),
        Some(unit) => format!("{name} {value} {unit}"),
    }
}

/// `1 byte in`, `2 bytes in`: the first word of what is counted has the number.
fn plural_before(number: u64, words: &str) -> String {
    match words.split_once(' ') {
        Some((first, rest)) if first == "byte" => format!("{} {rest}", plural(number, first)),
        _ => plural(number, words),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{grade_words, plain_checks};
    use crate::record::{RowCheck, RowGrade};

    #[test]
    fn a_check_of_the_provider_with_a_graders_name_is_still_one() {
        let check = |name: &str| -> RowCheck<'static> {
            serde_json::from_value(json!({"name": name, "verdict": "pass"})).unwrap()
        };
        let grade = |verdict: &str| -> RowGrade<'static> {
            let grade = json!({
                "grader": "judge", "verdict": verdict, "score": 0.25, "least": 0.5, "attempts": 1, "duration_ms": 1.0,
            });
            serde_json::from_value(grade).unwrap()
        };
        let checks = ["equals", "graders.judge", "graders.judge", "graders.other"].map(check);
        let plain = plain_checks(&checks, &[grade("fail")]);
        let names: Vec<_> = plain.iter().map(|check| &*check.name).collect();
        assert_eq!(names, ["equals", "graders.judge", "graders.other"]);
        assert_eq!(plain_checks(&checks, &[]).len(), 4);
        assert_eq!(
            grade_words(&grade("fail")),
            "fail, score 0.25 of at least 0.5"
        );
    }
}
