//! [`ComparedMeasure`]: what trials measured on both sides, and how far that is no chance.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{duration, number};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeasureKind {
    /// The share of trials that passed, of those that passed, failed, ended in an error or timed out.
    PassRate,
    /// The provider's score.
    Score,
    /// How long an attempt took that passed or failed, in milliseconds.
    Duration,
    /// Something that the provider measured.
    Metric,
}

/// Where a p-value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeasureTest {
    /// McNemar's exact test; of tests with repeats, the exact sign test of their shares.
    #[serde(rename = "mcnemar")]
    McNemar,
    /// The paired bootstrap of the mean.
    Bootstrap,
}

/// What trials measured on both sides.
///
/// The unit is the test: repeats are averaged first, because those of one test are not independent of each other.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ComparedMeasure {
    /// What is measured.
    pub kind: MeasureKind,
    /// Its name.
    pub name: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// How many tests have it on both sides.
    pub tests: u64,
    /// The mean of the base side, of these tests.
    pub base: f64,
    /// The mean of the new side, of these tests.
    pub new: f64,
    /// The mean of the differences.
    pub change: f64,
    /// The interval of 95 % for that, by a paired bootstrap; `null` for fewer than two tests.
    pub interval: Option<(f64, f64)>,
    /// How many resamples that is by.
    pub resamples: u64,
    /// The chance of such a difference if there were none; `null` for fewer than two tests.
    pub p: Option<f64>,
    /// The same, corrected for all measures of this document by Holm's method.
    pub p_corrected: Option<f64>,
    /// Where it comes from.
    pub test: MeasureTest,
    /// Whether `p_corrected` is below 0.05.
    #[serde(rename = "significant")]
    pub is_significant: bool,
}

/// A measure as people read it.
#[derive(Clone, Debug)]
pub struct MeasureWords {
    /// What is measured, with its unit.
    pub name: String,
    /// The base side.
    pub base: String,
    /// The new side.
    pub new: String,
    /// The change: `+1.2 ms`.
    pub change: String,
    /// Its interval: `+0.4 to +2.0 ms`.
    pub interval: String,
    /// The corrected p-value.
    pub p: String,
}

impl MeasureKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::PassRate => "pass-rate",
            Self::Score => "score",
            Self::Duration => "duration",
            Self::Metric => "metric",
        }
    }
}

impl ComparedMeasure {
    /// Tells whether the change is for the worse; `None` where nobody has said what is better, or nothing has changed.
    pub fn is_worse(&self) -> Option<bool> {
        let is_more = match self.change {
            change if change > 0.0 => true,
            change if change < 0.0 => false,
            _ => return None,
        };
        match self.kind {
            MeasureKind::PassRate | MeasureKind::Score => Some(!is_more),
            MeasureKind::Duration => Some(is_more),
            MeasureKind::Metric => None,
        }
    }

    /// The measure as people read it.
    pub fn words(&self) -> MeasureWords {
        let change = match self.kind {
            MeasureKind::Duration | MeasureKind::Metric if self.base != 0.0 => format!(
                "{} ({} %)",
                self.signed(self.change),
                signed(rounded(self.change / self.base.abs() * 100.0, 1))
            ),
            _ => self.signed(self.change),
        };
        let interval = self.interval.map_or_else(
            || "–".to_owned(),
            |(low, high)| format!("{} to {}", self.signed(low), self.signed(high)),
        );
        MeasureWords {
            name: self.unit.as_ref().map_or_else(
                || self.name.clone(),
                |unit| format!("{} ({unit})", self.name),
            ),
            base: self.value(self.base),
            new: self.value(self.new),
            change,
            interval,
            p: self.p_corrected.map_or_else(|| "–".to_owned(), chance),
        }
    }

    fn value(&self, value: f64) -> String {
        match self.kind {
            MeasureKind::PassRate => format!("{} %", rounded(value * 100.0, 1)),
            MeasureKind::Duration => millis(value),
            MeasureKind::Score | MeasureKind::Metric => number(value),
        }
    }

    fn signed(&self, value: f64) -> String {
        match self.kind {
            MeasureKind::PassRate => signed(rounded(value * 100.0, 1)),
            MeasureKind::Duration if value < 0.0 => format!("−{}", millis(-value)),
            MeasureKind::Duration => format!("+{}", millis(value)),
            MeasureKind::Score | MeasureKind::Metric => signed(number(value)),
        }
    }
}

/// A p-value: `0.013`, or `< 0.001`.
fn chance(p: f64) -> String {
    match p {
        p if p < 0.001 => "< 0.001".to_owned(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

fn rounded(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}")
}

/// A number with its sign, by the sign for minus that is as wide as the one for plus.
fn signed(number: String) -> String {
    let is_nothing = number
        .bytes()
        .all(|byte| matches!(byte, b'0' | b'.' | b'-'));
    match number.strip_prefix('-') {
        Some(size) if is_nothing => size.to_owned(),
        Some(size) => format!("−{size}"),
        None if is_nothing => number,
        None => format!("+{number}"),
    }
}

/// Milliseconds as people read them.
fn millis(millis: f64) -> String {
    // A row may have been changed by hand.
    Duration::try_from_secs_f64(millis / 1e3).map_or_else(|_| number(millis), duration)
}

#[cfg(test)]
mod tests {
    use super::{ComparedMeasure, MeasureKind, MeasureTest, signed};

    fn measure(kind: MeasureKind, base: f64, new: f64) -> ComparedMeasure {
        ComparedMeasure {
            kind,
            name: "it".to_owned(),
            unit: None,
            tests: 10,
            base,
            new,
            change: new - base,
            interval: Some((new - base - 1.0, new - base + 1.0)),
            resamples: 10_000,
            p: Some(0.01),
            p_corrected: Some(0.02),
            test: MeasureTest::Bootstrap,
            is_significant: true,
        }
    }

    #[test]
    fn signs_are_as_wide_as_each_other() {
        let signs = ["1", "-1", "-0.0", "0.0"].map(|text| signed(text.to_owned()));
        assert_eq!(signs, ["+1", "−1", "0.0", "0.0"]);
    }

    #[test]
    fn a_change_is_told_with_its_sign_and_its_interval() {
        let words = measure(MeasureKind::Duration, 10.0, 12.5).words();
        assert_eq!(words.change, "+2.5 ms (+25.0 %)");
        assert_eq!(words.interval, "+1.5 ms to +3.5 ms");
        let words = measure(MeasureKind::PassRate, 0.5, 0.25).words();
        assert_eq!((&*words.base, &*words.new), ("50.0 %", "25.0 %"));
        assert_eq!((&*words.change, &*words.p), ("−25.0", "0.020"));
    }

    #[test]
    fn what_is_worse_is_known_of_passes_scores_and_durations_alone() {
        let worse = |kind, base, new| measure(kind, base, new).is_worse();
        assert_eq!(worse(MeasureKind::PassRate, 1.0, 0.5), Some(true));
        assert_eq!(worse(MeasureKind::Score, 0.5, 1.0), Some(false));
        assert_eq!(worse(MeasureKind::Duration, 0.5, 1.0), Some(true));
        assert_eq!(worse(MeasureKind::Metric, 0.5, 1.0), None);
        assert_eq!(worse(MeasureKind::Duration, 1.0, 1.0), None);
    }
}
