//! [`Measure`]: the change of a rate or a mean between two runs, with its interval and p-value.

use std::{iter, time::Duration};

use runner_model::Outcome;
use runner_model::statistics::{holm, paired_bootstrap, sign_test, wilson_of_rate};
use runner_model::units::{few_hits, grouped, show_duration, show_interval, show_percent};
use runner_results::{Side, TableRow, pairs};
use schemars::JsonSchema;
use serde::Serialize;

use super::class::{is_judged, mean};
use crate::phrases;

/// Names of measures.
pub(crate) const PASS_RATE: &str = "pass rate";
pub(crate) const DURATION: &str = "duration";
const FAMILIES: u8 = 3;
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
    pub(crate) base: Estimate,
    /// The value in the new run.
    pub(crate) new: Estimate,
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
pub(crate) struct Estimate {
    /// The rate or the mean, in `unit` of the measure.
    pub value: f64,
    /// Wilson's interval of 95 % for a pass rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// Returns a pass rate and its interval, from 0 to 1.
    fn share(&self) -> Option<(f64, (f64, f64))> {
        let (low, high) = self.interval?;
        Some((self.value / 100.0, (low / 100.0, high / 100.0)))
    }

    /// Adds the interval to the text of a percentage.
    fn with_interval(&self, text: String) -> String {
        match self.share() {
            Some((_, interval)) if text.ends_with('%') => {
                format!("{text} {}", show_interval(interval))
            }
            _ => text,
        }
    }
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
        let name = metric.0.to_owned();
        let unit = metric.1.map(str::to_owned);
        let base = base.metrics().position(|one| one == metric)?;
        Some((Quantity::Metric([base, place]), name, unit))
    });
    let quantities = [
        (Quantity::Passes, PASS_RATE.to_owned(), Some("%".to_owned())),
        (Quantity::Score, "score".to_owned(), None),
        (Quantity::Duration, DURATION.to_owned(), Some("ms".to_owned())),
    ];
    let mut measures = Vec::new();
    let mut lost = Vec::new();
    for (quantity, name, unit) in quantities.into_iter().chain(metrics) {
        let mut values = vec![Vec::new(); providers.len()];
        let mut had_base = vec![false; providers.len()];
        for pair in pairs(base, new) {
            let [before, now] =
                [0, 1].map(|at| mean(pair[at], |row| quantity.of(at, sides[at], row)));
            let Some(provider) = pair[1].first().map(|row| new.table.provider(row.trial)) else {
                continue;
            };
            had_base[provider] |= before.is_some();
            if let (Some(before), Some(now)) = (before, now) {
                values[provider].push([before as f32, now as f32]);
            }
        }
        let has_none = values.iter().all(Vec::is_empty);
        match quantity {
            Quantity::Metric(_) => {}
            Quantity::Passes | Quantity::Duration if has_none => {
                lost.push(LostMeasure { provider: None, name: name.clone() });
            }
            _ => {
                for (provider, (values, had_base)) in
                    iter::zip(providers, iter::zip(&values, had_base))
                {
                    if values.is_empty() && had_base {
                        lost.push(LostMeasure { provider: provider.clone(), name: name.clone() });
                    }
                }
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
    for family in 0..FAMILIES {
        let members = measures.iter_mut().filter(|(_, of, _)| *of == family);
        let p_values: Vec<_> = members.filter_map(|(.., measure)| measure.p.as_mut()).collect();
        let corrected = holm(&p_values.iter().map(|p| **p).collect::<Vec<_>>());
        iter::zip(p_values, corrected).for_each(|(p, corrected)| *p = corrected);
    }
    let mut measures: Vec<_> = measures.into_iter().map(|(.., measure)| measure).collect();
    measures.iter_mut().for_each(|measure| measure.worse &= measure.is_significant());
    (measures, lost)
}

impl Quantity {
    /// Returns the number of its family, below [`FAMILIES`], whose p-values are corrected together: pass rates and scores for
    /// `--fail-on significant`, durations for `--fail-on slower`, and metrics, which are never worse. Otherwise the number of metrics
    /// that a plugin reports would decide whether its failures are significant.
    fn family(self) -> u8 {
        match self {
            Self::Passes | Self::Score => 0,
            Self::Duration => 1,
            Self::Metric(_) => 2,
        }
    }

    /// Returns a trial's value. `at` is 0 for a trial of the base and 1 for one of the new run.
    fn of(self, at: usize, side: &Side, row: &TableRow) -> Option<f64> {
        match self {
            Self::Passes => is_judged(row.outcome)
                .then(|| if row.outcome == Outcome::Passed { 100.0 } else { 0.0 }),
            Self::Score => row.score,
            Self::Duration => matches!(row.outcome, Outcome::Passed | Outcome::Failed)
                .then(|| row.duration_ms.into()),
            Self::Metric(places) => side.metric(places[at], row),
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
    if values.is_empty() {
        return None;
    }
    let is_rate = matches!(quantity, Quantity::Passes);
    let [base, new] = [0, 1].map(|at| {
        let value = values.iter().map(|pair| f64::from(pair[at])).sum::<f64>() / tests;
        let interval = is_rate.then(|| wilson_of_rate(value / 100.0, tests));
        Estimate { value, interval: interval.map(|(low, high)| (100.0 * low, 100.0 * high)) }
    });
    let differences: Vec<_> =
        values.iter().map(|[base, new]| f64::from(*new) - f64::from(*base)).collect();
    let bootstrap = paired_bootstrap(&differences, seed);
    let p = if is_rate {
        let fallen = differences.iter().filter(|change| **change < 0.0).count();
        let risen = differences.iter().filter(|change| **change > 0.0).count();
        Some(sign_test(fallen as u64, risen as u64))
    } else {
        bootstrap.map(|bootstrap| bootstrap.p)
    };
    // Resamples of equal differences are equal, which proves nothing about other tests.
    let is_varied = differences.windows(2).any(|pair| pair[0] != pair[1]);
    let change_unit = if is_rate { Some("pp".to_owned()) } else { unit.clone() };
    Some(Measure {
        provider,
        name,
        unit,
        base,
        new,
        change: new.value - base.value,
        change_unit,
        interval: bootstrap.filter(|_| is_varied).map(|bootstrap| bootstrap.interval),
        p: p.filter(|_| differences.iter().any(|change| *change != 0.0)),
        tests: values.len() as u64,
        worse: false,
    })
}

impl Measure {
    /// Returns whether chance alone makes a change like this one improbable.
    pub fn is_significant(&self) -> bool {
        self.p.is_some_and(|p| p < SIGNIFICANT)
    }

    /// The measure's name. Costs are those of 1,000 trials: those of one are too small to read.
    pub fn title(&self) -> String {
        let factor = if self.unit.as_deref() == Some(phrases::USD) { " per 1,000" } else { "" };
        self.name.clone() + factor
    }

    /// Formats base and new: `1 of 4`, `25.0 %`, `12 ms`. Both have the same form.
    pub(crate) fn values(&self) -> [String; 2] {
        let values = [self.base, self.new];
        // Tests with repeats have parts of passes.
        let mut shares = values.iter().filter_map(|one| one.share());
        let has_hits = shares.all(|(share, all)| few_hits(share, self.tests, all).is_some());
        values.map(|value| match value.share() {
            None => amount(value.value, &self.name, self.unit.as_deref()),
            Some((share, _)) if has_hits => {
                format!("{:.0} of {}", share * self.tests as f64, self.tests)
            }
            Some((share, _)) => show_percent(share),
        })
    }

    /// Formats base, new, change, its interval, p and the number of tests. A significant change is marked with `*`.
    pub fn cells(&self) -> [String; 6] {
        let [base, new] = self.values();
        let interval = self
            .interval
            .map(|(low, high)| format!("{} to {}", self.signed(low), self.signed(high)));
        let p = self.p.map(|p| match p {
            ..0.001 => "<0.001".to_owned(),
            0.99.. => ">0.99".to_owned(),
            _ => format!("{p:.3}"),
        });
        let mark = if self.is_significant() { " *" } else { "" };
        [
            self.base.with_interval(base),
            self.new.with_interval(new),
            self.signed(self.change) + mark,
            interval.unwrap_or_default(),
            p.unwrap_or_default(),
            grouped(self.tests),
        ]
    }

    /// Formats a change with its sign.
    fn signed(&self, change: f64) -> String {
        let text = amount(rounded(change.abs()), &self.name, self.change_unit.as_deref());
        // The unit may have digits, too.
        let number = text.split(' ').next().unwrap_or_default();
        match number.contains(|digit: char| digit.is_ascii_digit() && digit != '0') {
            true if change < 0.0 => format!("−{text}"),
            true => format!("+{text}"),
            false => text,
        }
    }
}

/// Rounds a positive change to three digits, but not to more than a whole number.
fn rounded(value: f64) -> f64 {
    if value > 1e3 { value.round() } else { format!("{value:.2e}").parse().unwrap_or(value) }
}

/// Formats a positive value of a measure with its unit.
fn amount(value: f64, name: &str, unit: Option<&str>) -> String {
    match unit {
        Some("ms") => show_duration(Duration::try_from_secs_f64(value / 1e3).unwrap_or_default()),
        Some("%") => show_percent(value / 100.0),
        Some("pp") => format!("{value:.1} pp"),
        Some(phrases::USD) => phrases::cost(1e3 * value),
        unit => phrases::amount(value, name, unit),
    }
}

#[cfg(test)]
#[path = "../tests/measures.rs"]
mod tests;
