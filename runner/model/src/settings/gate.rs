//! [`Gate`]: when a run passes although not all of its trials did.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::is_default;
use crate::units::{few_hits, grouped, plural, show_apart, show_interval, show_percent};

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
    /// The key: `pass_rate`, `min_score` or `max_errors`, or `known.strict` for entries of known failures that do not apply.
    pub key: String,
    /// The scenario's value: the least for rates and scores, the most for the others.
    pub bound: f64,
    /// `None` if no trial has a value. Then the condition holds only if there is no trial.
    pub value: Option<f64>,
    /// Wilson's 95 % interval of a pass rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// Number of trials with a value that counts.
    pub trials: u64,
    /// Number of the other trials, which a mean or a rate leaves out: those without a score, skipped ones, and those of weight 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub left_out: u64,
    /// Number of trials that are left out only because their test has `weight = 0`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weightless: u64,
    /// Places, globs and states of the first entries that do not apply, of `known.strict`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// Whether the condition holds.
    pub held: bool,
}

impl GateResult {
    /// Returns the key that a report names: `gate`, or `known.strict` if no gate is set.
    pub fn title(&self) -> &'static str {
        let is_strict = |condition: &GateCondition| condition.key == "known.strict";
        let has_gate = self.conditions.is_empty() || !self.conditions.iter().all(is_strict);
        if has_gate { "gate" } else { "known.strict" }
    }

    /// Formats the first condition that does not hold, for a list of runs. `None` if the gate holds.
    pub fn failure(&self) -> Option<String> {
        let failed = self.conditions.iter().find(|condition| !condition.held);
        let text = || failed.map(|condition| format!("{condition:#}"));
        (!self.held).then(|| text().unwrap_or_else(|| "not evaluated".to_owned()))
    }
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

/// Formats the result as `pass rate 95 % (76.3–99.2) of 20, at least 90 %`, or `pass rate 2 of 7, at least 90 %`. `{:#}` leaves out
/// the interval and the trials that do not count.
impl fmt::Display for GateCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.scope)?;
        let Self { trials, bound, left_out, weightless, .. } = *self;
        let Some(value) = self.value else {
            let reason = match self.key.as_str() {
                _ if left_out == 0 => return write!(formatter, "no trials"),
                _ if weightless > 0 => "no trial has a weight",
                "min_score" => "no trial has a score",
                _ => "all trials were skipped",
            };
            let trials = plural(left_out, "trial is", "trials are");
            return write!(formatter, "{reason}; {trials} left out");
        };
        // Digits after the point that the scenario's value needs.
        let digits = bound.to_string().split_once('.').map_or(0, |(_, digits)| digits.len());
        match self.key.as_str() {
            "known.strict" => {
                let text = plural(value as u64, "entry", "entries");
                let verb = if value == 1.0 { "is" } else { "are" };
                write!(formatter, "{text} of known failures {verb} stale")?;
                if !self.entries.is_empty() {
                    write!(formatter, ": {}", self.entries.join("; "))?;
                }
                if let Some(more @ 1..) = (value as usize).checked_sub(self.entries.len()) {
                    write!(formatter, "; and {} more", grouped(more as u64))?;
                }
            }
            "max_errors" => {
                let errors = plural(value as u64, "error", "errors");
                write!(formatter, "{errors}, at most {bound}")?;
            }
            "min_score" => {
                let [value, bound] = show_apart(value, bound, |one, more| {
                    trimmed(&format!("{one:.*}", digits.max(4) + more)).to_owned()
                });
                write!(formatter, "mean score {value} of {}, at least {bound}", grouped(trials))?;
            }
            _ => {
                let [share, bound] = show_apart(value, bound, |share, more| {
                    let percent = match digits.max(3) - 2 + more {
                        1 => show_percent(share).trim_end_matches(" %").to_owned(),
                        digits => format!("{:.digits$}", share * 100.0),
                    };
                    format!("{} %", trimmed(&percent))
                });
                let hits = self.interval.and_then(|interval| few_hits(value, trials, interval));
                let interval = self.interval.filter(|_| !formatter.alternate());
                let interval = interval.map(|interval| " ".to_owned() + &show_interval(interval));
                let rate = match hits {
                    Some(hits) => hits.to_string(),
                    None => share + &interval.unwrap_or_default(),
                };
                write!(formatter, "pass rate {rate} of {}, at least {bound}", grouped(trials))?;
            }
        }
        let [one, many] = match self.key.as_str() {
            "min_score" => [
                "trial that has no score or was skipped",
                "trials that have no score or were skipped",
            ],
            _ => ["skipped trial", "skipped trials"],
        };
        let parts = [
            (left_out.saturating_sub(weightless), one, many),
            (weightless, "trial of weight 0", "trials of weight 0"),
        ];
        let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, one, many)| plural(count, one, many)).collect();
        if parts.is_empty() || formatter.alternate() {
            Ok(())
        } else {
            write!(formatter, " (without {})", parts.join(" and "))
        }
    }
}

/// Removes zeros after the point, and the sign of 0.
fn trimmed(number: &str) -> &str {
    let trimmed = number.trim_end_matches('0').trim_end_matches('.');
    match trimmed {
        "-0" => "0",
        _ if number.contains('.') => trimmed,
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::{GateCondition, GateResult, GateScope};

    fn condition(key: &str, value: f64, bound: f64) -> GateCondition {
        GateCondition {
            scope: GateScope::All,
            key: key.to_owned(),
            bound,
            value: Some(value),
            interval: None,
            trials: 3,
            left_out: 0,
            weightless: 0,
            entries: Vec::new(),
            held: value >= bound,
        }
    }

    #[test]
    fn failure_in_a_list_is_short() {
        let held = condition("min_score", 0.8, 0.7);
        let mut failed = condition("pass_rate", 0.7, 0.9);
        (failed.interval, failed.trials, failed.left_out) = (Some((0.371, 0.902)), 20, 2);
        let long = "pass rate 70 % (37.1–90.2) of 20, at least 90 % (without 2 skipped trials)";
        assert_eq!(failed.to_string(), long);
        let mut gate = GateResult { held: false, conditions: vec![held, failed] };
        assert_eq!(gate.failure().unwrap(), "pass rate 70 % of 20, at least 90 %");
        assert_eq!(GateResult::default().failure().unwrap(), "not evaluated");
        gate.held = true;
        assert_eq!(gate.failure(), None);
    }

    #[test]
    fn missed_bound_never_reads_as_reached() {
        for (key, value, bound, expected) in [
            ("min_score", 0.69999, 0.7, "mean score 0.69999 of 3, at least 0.7"),
            ("min_score", 0.899_999_6, 0.9, "mean score 0.8999996 of 3, at least 0.9"),
            ("min_score", 5.0 / 6.0, 0.8, "mean score 0.8333 of 3, at least 0.8"),
            ("min_score", 0.700_04, 0.700_03, "mean score 0.70004 of 3, at least 0.70003"),
            ("min_score", 0.7, 0.7, "mean score 0.7 of 3, at least 0.7"),
            ("min_score", -1e-5, 0.0, "mean score -0.00001 of 3, at least 0"),
            ("min_score", 20.0, 10.0, "mean score 20 of 3, at least 10"),
            ("pass_rate", 0.899_99, 0.9, "pass rate 89.999 % of 3, at least 90 %"),
            ("pass_rate", 0.999_996, 1.0, "pass rate 99.9 % of 3, at least 100 %"),
            ("pass_rate", 0.9999, 0.999_99, "pass rate 99.99 % of 3, at least 99.999 %"),
            ("pass_rate", 2.0 / 3.0, 0.6, "pass rate 66.7 % of 3, at least 60 %"),
        ] {
            assert_eq!(condition(key, value, bound).to_string(), expected);
        }
    }
}
