//! [`Measure`]: the change of a rate or a mean between two runs, with its interval and p-value.

use std::iter;
use std::time::Duration;

use runner_model::Outcome;
use runner_model::statistics::{holm, paired_bootstrap, sign_test, wilson_of_rate};
use runner_model::units::{grouped, show_bounds, show_duration};
use schemars::JsonSchema;
use serde::Serialize;

use super::class::is_judged;
use super::side::{Sample, Side, pairs};
use crate::phrases;

/// The p-value below which a change is significant.
const SIGNIFICANT: f64 = 0.05;

/// A rate or a mean over the tests of a provider that have it in both runs. Repeats of a test are averaged first, because they
/// depend on each other.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measure {
    /// The provider's name. `null` if two providers are compared.
    pub provider: Option<String>,
    /// `pass rate`, `score`, `duration` or the name of a metric.
    pub name: String,
    /// Unit of both values: `%`, `ms` or that of the metric.
    pub unit: Option<String>,
    /// The value in the base.
    pub base: Estimate,
    /// The value in the new run.
    pub new: Estimate,
    /// Difference of the values.
    pub change: f64,
    /// `pp` for percentage points, else as `unit`.
    pub change_unit: Option<String>,
    /// The interval of 95 % for the change, by a paired bootstrap. `null` if all tests changed by the same amount.
    pub interval: Option<(f64, f64)>,
    /// Of a pass rate by McNemar's exact test, else by the bootstrap; corrected by Holm's method over all pass rates and scores,
    /// over all durations, or over all metrics. `null` if no test changed.
    pub p: Option<f64>,
    /// Number of tests with values in both runs.
    pub tests: u64,
    /// Significantly worse: a lower pass rate or score, or on the same machine a longer duration. Never of a metric.
    pub worse: bool,
}

/// A value of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Estimate {
    /// The rate or the mean, in `unit` of the measure.
    pub value: f64,
    /// Wilson's interval of 95 % for a pass rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

/// A rate or a mean that has no [`Measure`], although one is needed to see that the new run is not worse.
#[derive(Clone, Debug, PartialEq)]
pub struct LostMeasure {
    /// The provider's name. `None` if two providers are compared, or if no provider has the measure.
    pub provider: Option<String>,
    /// `pass rate`, `score` or `duration`.
    pub name: String,
}

/// The quantity of a measure.
#[derive(Clone, Copy)]
enum Quantity {
    Passes,
    Score,
    Duration,
    /// Places of a metric in both runs.
    Metric([usize; 2]),
}

/// Measures whose p-values are corrected together: those that answer one question. Otherwise the number of metrics that a plugin
/// reports decides whether its failures are significant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Pass rates and scores, for `--fail-on significant`.
    Quality,
    /// For `--fail-on slower`.
    Durations,
    /// Metrics are never worse.
    Metrics,
}

/// Compares all measures that both runs have, by provider in the order of `providers`. Those are the providers of `new`. Also
/// returns those that only the base has, of tests that are in both runs, and pass rates and durations that nothing has.
pub(crate) fn measures(
    sides: [&Side; 2],
    providers: &[Option<String>],
    is_same_machine: bool,
    seed: u64,
) -> (Vec<Measure>, Vec<LostMeasure>) {
    let [base, new] = sides;
    let metrics = new.metrics().enumerate().filter_map(|(place, metric)| {
        let (name, unit) = (metric.0.to_owned(), metric.1.map(str::to_owned));
        let base = base.metrics().position(|one| one == metric)?;
        Some((Quantity::Metric([base, place]), name, unit))
    });
    let quantities = [
        (Quantity::Passes, "pass rate".to_owned(), Some("%".to_owned())),
        (Quantity::Score, "score".to_owned(), None),
        (Quantity::Duration, "duration".to_owned(), Some("ms".to_owned())),
    ];
    let (mut measures, mut lost) = (Vec::new(), Vec::new());
    for (quantity, name, unit) in quantities.into_iter().chain(metrics) {
        let mut values = vec![Vec::new(); providers.len()];
        let mut had_base = vec![false; providers.len()];
        for pair in pairs(base, new) {
            let [base, new] =
                [0, 1].map(|at| mean(pair[at], |one| quantity.of(at, sides[at], one)));
            let Some(provider) = pair[1].first().map(|sample| usize::from(sample.provider)) else {
                continue;
            };
            had_base[provider] |= base.is_some();
            if let (Some(base), Some(new)) = (base, new) {
                values[provider].push([base as f32, new as f32]);
            }
        }
        let lose = |provider| LostMeasure { provider, name: name.clone() };
        match quantity {
            Quantity::Metric(_) => {}
            Quantity::Passes | Quantity::Duration if values.iter().all(Vec::is_empty) => {
                lost.push(lose(None));
            }
            _ => {
                let losses = iter::zip(providers, iter::zip(&values, had_base));
                let losses =
                    losses.filter(|(_, (values, had_base))| values.is_empty() && *had_base);
                lost.extend(losses.map(|(provider, _)| lose(provider.clone())));
            }
        }
        for ((place, provider), values) in iter::zip(0.., providers).zip(&values) {
            let of = (provider.clone(), name.clone(), unit.clone());
            let measure = measure(quantity, of, values, seed);
            measures.extend(measure.map(|measure| {
                let worse = match quantity {
                    Quantity::Passes | Quantity::Score => measure.change < 0.0,
                    Quantity::Duration => measure.change > 0.0 && is_same_machine,
                    Quantity::Metric(_) => false,
                };
                (place, quantity.family(), Measure { worse, ..measure })
            }));
        }
    }
    measures.sort_by_key(|(place, ..): &(usize, _, _)| *place);
    for family in [Family::Quality, Family::Durations, Family::Metrics] {
        let members = measures.iter_mut().filter(|(_, of, _)| *of == family);
        let p_values: Vec<_> = members.filter_map(|(.., measure)| measure.p.as_mut()).collect();
        let corrected = holm(&p_values.iter().map(|p| **p).collect::<Vec<_>>());
        iter::zip(p_values, corrected).for_each(|(p, corrected)| *p = corrected);
    }
    let mut measures: Vec<_> = measures.into_iter().map(|(.., measure)| measure).collect();
    measures.iter_mut().for_each(|measure| measure.worse &= measure.is_significant());
    (measures, lost)
}

/// Returns the mean of a test's repeats that have a value, which an `f32` can hold.
fn mean(repeats: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in repeats.iter().filter_map(value).filter(|value| value.is_finite()) {
        (sum, count) = (sum + value, count + 1.0);
    }
    (count > 0.0).then(|| sum / count)
}

impl Quantity {
    fn family(self) -> Family {
        match self {
            Self::Passes | Self::Score => Family::Quality,
            Self::Duration => Family::Durations,
            Self::Metric(_) => Family::Metrics,
        }
    }

    /// Returns a trial's value. `at` is 0 for a trial of the base and 1 for one of the new run.
    fn of(self, at: usize, side: &Side, sample: &Sample) -> Option<f64> {
        match self {
            Self::Passes => is_judged(sample.outcome)
                .then(|| if sample.outcome == Outcome::Passed { 100.0 } else { 0.0 }),
            Self::Score => Some(sample.score.into()),
            Self::Duration => matches!(sample.outcome, Outcome::Passed | Outcome::Failed)
                .then(|| sample.duration_ms.into()),
            Self::Metric(places) => side.metric(places[at], sample),
        }
    }
}

/// Compares the values of tests in both runs. `None` without any.
fn measure(
    quantity: Quantity,
    (provider, name, unit): (Option<String>, String, Option<String>),
    values: &[[f32; 2]],
    seed: u64,
) -> Option<Measure> {
    let tests = values.len() as f64;
    let [base, new] =
        [0, 1].map(|at| values.iter().map(|pair| f64::from(pair[at])).sum::<f64>() / tests);
    if values.is_empty() {
        return None;
    }
    let differences: Vec<_> =
        values.iter().map(|[base, new]| f64::from(*new) - f64::from(*base)).collect();
    let bootstrap = paired_bootstrap(&differences, seed);
    let is_rate = matches!(quantity, Quantity::Passes);
    let estimate = |value: f64| {
        let interval = is_rate.then(|| wilson_of_rate(value / 100.0, tests));
        Estimate { value, interval: interval.map(|(low, high)| (100.0 * low, 100.0 * high)) }
    };
    let count =
        |is_it: fn(&f64) -> bool| differences.iter().filter(|one| is_it(one)).count() as u64;
    let sign = || sign_test(count(|change| *change < 0.0), count(|change| *change > 0.0));
    let p = if is_rate { Some(sign()) } else { bootstrap.map(|bootstrap| bootstrap.p) };
    // Resamples of equal differences are equal, which proves nothing about other tests.
    let is_varied = differences.windows(2).any(|pair| pair[0] != pair[1]);
    let change_unit = if is_rate { Some("pp".to_owned()) } else { unit.clone() };
    Some(Measure {
        provider,
        name,
        unit,
        base: estimate(base),
        new: estimate(new),
        change: new - base,
        change_unit,
        interval: bootstrap.filter(|_| is_varied).map(|bootstrap| bootstrap.interval),
        p: p.filter(|_| differences.iter().any(|change| *change != 0.0)),
        tests: values.len() as u64,
        worse: false,
    })
}

impl Measure {
    /// Returns whether chance alone makes a change like this one improbable.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.p.is_some_and(|p| p < SIGNIFICANT)
    }

    /// Formats base, new, change, its interval, p and the number of tests. A significant change is marked with `*`.
    #[must_use]
    pub fn cells(&self) -> [String; 6] {
        let value = |value: Estimate| {
            let interval = value.interval.map(|(low, high)| {
                let [low, high] = show_bounds(low / 100.0, high / 100.0);
                format!(" ({low}–{high})")
            });
            amount(value.value, self.unit.as_deref()) + &interval.unwrap_or_default()
        };
        let change = |change: f64| {
            let text = amount(rounded(change.abs()), self.change_unit.as_deref());
            // The unit may have digits, too.
            let number = text.split(' ').next().unwrap_or_default();
            match number.contains(|digit: char| digit.is_ascii_digit() && digit != '0') {
                true if change < 0.0 => format!("−{text}"),
                true => format!("+{text}"),
                false => text,
            }
        };
        let interval =
            self.interval.map(|(low, high)| format!("{} to {}", change(low), change(high)));
        let p = self.p.map(|p| if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") });
        let mark = if self.is_significant() { " *" } else { "" };
        [
            value(self.base),
            value(self.new),
            change(self.change) + mark,
            interval.unwrap_or_default(),
            p.unwrap_or_default(),
            grouped(self.tests),
        ]
    }
}

/// Rounds a positive change to three digits, but not to more than a whole number.
fn rounded(value: f64) -> f64 {
    if value > 1e3 { value.round() } else { format!("{value:.2e}").parse().unwrap_or(value) }
}

/// Formats a positive value with its unit.
fn amount(value: f64, unit: Option<&str>) -> String {
    match unit {
        Some("ms") => show_duration(Duration::try_from_secs_f64(value / 1e3).unwrap_or_default()),
        Some("%") => phrases::percent(value / 100.0),
        Some("pp") => format!("{value:.1} pp"),
        Some("1") | None => phrases::number(value),
        Some(unit) => format!("{} {unit}", phrases::number(value)),
    }
}

#[cfg(test)]
#[path = "../tests/measures.rs"]
mod tests;
