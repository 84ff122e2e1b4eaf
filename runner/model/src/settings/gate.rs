//! [`Gate`]: when a run passes although not all of its trials did.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::is_default;
use crate::units::{plural, show_bounds};

/// The largest weight of a test or grader.
pub const MAX_WEIGHT: f64 = 1e6;

/// Conditions of a passed run. All rules must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate(pub Vec<GateRule>);

/// Conditions on some trials of a run. Skipped trials do not count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateRule {
    pub scope: GateScope,
    /// Least weighted share of passed trials.
    pub pass_rate: Option<f64>,
    /// Least weighted mean of the trials' scores.
    pub min_score: Option<f64>,
    /// Most trials with an error or a timeout.
    pub max_errors: Option<u64>,
}

/// The trials that a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GateScope {
    /// All trials.
    #[default]
    All,
    /// Trials of tests with this tag.
    Tag(String),
    /// Trials on the providers whose names match a glob.
    Provider(String),
}

/// Results of a gate, stored with a completed run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// Whether all conditions hold.
    pub held: bool,
    /// Results of all conditions, in the scenario's order.
    pub conditions: Vec<GateCondition>,
}

/// The result of a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateCondition {
    /// The trials that the condition is about.
    pub scope: GateScope,
    /// The key: `pass_rate`, `min_score` or `max_errors`.
    pub key: String,
    /// The scenario's value: the most for `max_errors`, the least for the others.
    pub bound: f64,
    /// `None` if no trial has a value. Then the condition holds only if there is no trial.
    pub value: Option<f64>,
    /// Wilson's 95 % interval of a pass rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// Number of trials with a value.
    pub trials: u64,
    /// Number of trials without one, which a mean or a rate leaves out: those without a score, and skipped trials.
    #[serde(default, skip_serializing_if = "is_default")]
    pub left_out: u64,
    /// Whether the condition holds.
    pub held: bool,
}

impl fmt::Display for GateScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Tag(tag) => write!(formatter, "tag {tag}: "),
            Self::Provider(glob) => write!(formatter, "provider {glob}: "),
        }
    }
}

/// Formats the result as `pass rate 95 % of 20 (interval 76 % to 99 %), at least 90 %`.
impl fmt::Display for GateCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 89.96 % must not read as 90 %.
        let percent = |share: f64| {
            let rounded = format!("{:.2}", share * 100.0);
            format!("{} %", rounded.trim_end_matches('0').trim_end_matches('.'))
        };
        write!(formatter, "{}", self.scope)?;
        let trials = self.trials;
        match (self.key.as_str(), self.value) {
            ("max_errors", value) => {
                let errors = plural(value.unwrap_or(0.0) as u64, "error", "errors");
                write!(formatter, "{errors}, at most {}", self.bound)?;
            }
            ("min_score", None) => return write!(formatter, "no trial has a score"),
            (_, None) if trials > 0 => return write!(formatter, "no trial has a weight"),
            (_, None) if !self.held => return write!(formatter, "all trials were skipped"),
            (_, None) => return write!(formatter, "no trials"),
            ("min_score", Some(value)) => {
                let rounded = (value * 1e4).round() / 1e4;
                // 0.69999 must not read as 0.7.
                let value = if self.held || rounded < self.bound { rounded } else { value };
                write!(formatter, "mean score {value} of {trials}, at least {}", self.bound)?;
            }
            (_, Some(value)) => {
                write!(formatter, "pass rate {} of {trials}", percent(value))?;
                if let Some((low, high)) = self.interval {
                    let [low, high] = show_bounds(low, high);
                    write!(formatter, " (95 % interval {low} % to {high} %)")?;
                }
                write!(formatter, ", at least {}", percent(self.bound))?;
            }
        }
        let [one, many] = match self.key.as_str() {
            "min_score" => [
                "trial that has no score or was skipped",
                "trials that have no score or were skipped",
            ],
            _ => ["skipped trial", "skipped trials"],
        };
        match self.left_out {
            0 => Ok(()),
            left_out => write!(formatter, " (without {})", plural(left_out, one, many)),
        }
    }
}
