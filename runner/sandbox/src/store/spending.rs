//! [`Spending`]: the metrics that a guest has reported during its attempt, and the limits that they use up.

use std::collections::BTreeMap;
use std::sync::Arc;

use runner_model::provider::{COST, cost_of, without_noise};
use runner_model::row::{Metric, MetricSums};
use runner_model::{Limits, units::grouped};

use crate::contract::runner::provider::types;

/// Different names of metrics in an attempt.
const MAX_NAMES: usize = 100;
/// Bytes of a name or unit.
const MAX_TEXT: usize = 128;

/// The metrics that a guest has reported, and those of its tools. Only its own have prices, and replace those of its reply.
#[derive(Default)]
pub(crate) struct Spending {
    /// Not redacted.
    pub(crate) own: Sums,
    /// As `own`, with the cost of each tool.
    pub(crate) of_tools: Sums,
    /// As the keys of `Limits`.
    total_tokens: Option<u64>,
    cost_usd: Option<f64>,
    prices: Arc<BTreeMap<String, f64>>,
}

/// The sum of each metric, in the order of their first reports.
#[derive(Debug, Default)]
pub(crate) struct Sums(pub(crate) Vec<Metric<'static>>);

impl Sums {
    /// Adds a metric. Returns whether it counts: a report cannot free what earlier ones have used.
    pub(crate) fn add(&mut self, metric: Metric<'static>) -> bool {
        let is_number = metric.value.is_finite() && metric.value >= 0.0;
        let is_long = metric.name.len() > MAX_TEXT
            || metric.unit.as_ref().is_some_and(|unit| unit.len() > MAX_TEXT);
        if !is_number || is_long {
            return false;
        }
        // Other names cannot keep those out that limits count.
        let is_counted = *metric.name == *COST || *metric.name == *"total_tokens";
        let is_full = self.0.len() >= MAX_NAMES && !is_counted;
        match self.0.iter_mut().find(|sum| sum.name == metric.name) {
            // JSON has no infinite numbers.
            Some(sum) => sum.value = without_noise(sum.value + metric.value).min(f64::MAX),
            None if is_full => return false,
            None => self.0.push(metric),
        }
        true
    }
}

impl Spending {
    pub(crate) fn new(limits: &Limits, prices: Arc<BTreeMap<String, f64>>) -> Self {
        let cost_usd = limits.cost_usd.map(|dollars| dollars.0);
        Self { total_tokens: limits.total_tokens, cost_usd, prices, ..Self::default() }
    }

    /// Returns the key of the first limit that is used up, and the reason for refused requests.
    pub(crate) fn used_up(&self) -> Option<UsedUpLimit> {
        let cost = cost_of(&self.prices, &self.own.0);
        let own = MetricSums::of(self.own.0.iter().chain(&cost));
        let sums = own.plus(MetricSums::of(&self.of_tools.0));
        let tokens = self.total_tokens.filter(|most| sums.tokens >= Some(*most as f64));
        if let Some(most) = tokens {
            let most = grouped(most);
            return Some(("total_tokens", format!("`limits.total_tokens` is used up: {most}")));
        }
        let most = self.cost_usd.filter(|most| sums.cost_usd >= Some(*most))?;
        Some((COST, format!("`limits.cost_usd` is used up: {most} dollars")))
    }
}

/// The key of a limit, and the reason for refused requests.
pub(crate) type UsedUpLimit = (&'static str, String);

impl From<types::Metric> for Metric<'static> {
    fn from(metric: types::Metric) -> Self {
        let types::Metric { name, value, unit } = metric;
        Self { name: name.into(), value, unit: unit.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runner_model::row::Metric;
    use runner_model::{Dollars, Limits};

    use super::{MAX_NAMES, Spending, Sums};

    fn metric(name: &str, value: f64) -> Metric<'static> {
        Metric { name: name.to_owned().into(), value, unit: None }
    }

    #[test]
    fn reports_add_up_within_bounds() {
        let mut sums = Sums::default();
        for value in [0.1, 0.2, f64::NAN, f64::INFINITY, -4.0] {
            assert_eq!(sums.add(metric("a", value)), value == 0.1 || value == 0.2);
        }
        assert!(!sums.add(metric(&"a".repeat(129), 1.0)));
        for number in 1..MAX_NAMES {
            assert!(sums.add(metric(&number.to_string(), 1.0)));
        }
        assert!(!sums.add(metric("more", 1.0)));
        assert!(sums.add(metric("total_tokens", 1.0)));
        assert!(sums.add(metric("1", f64::MAX)) && sums.add(metric("1", f64::MAX)));
        let values: Vec<_> = sums.0.iter().take(2).map(|sum| sum.value).collect();
        assert_eq!(values, [0.3, f64::MAX]);
    }

    #[test]
    fn limits_are_used_up_by_tokens_or_cost() {
        let limits =
            Limits { total_tokens: Some(1000), cost_usd: Some(Dollars(0.5)), ..Limits::default() };
        let prices = Arc::new([("in_tokens".to_owned(), 1000.0)].into());
        let used_up = |metrics: &[(&str, f64)]| {
            let mut spending = Spending::new(&limits, Arc::clone(&prices));
            metrics
                .iter()
                .for_each(|(name, value)| assert!(spending.own.add(metric(name, *value))));
            assert!(spending.of_tools.add(metric("total_tokens", 100.0)));
            assert!(spending.of_tools.add(metric("cost_usd", 0.1)));
            spending.used_up().map(|(key, _)| key)
        };
        assert_eq!(used_up(&[]), None);
        assert_eq!(used_up(&[("total_tokens", 899.0), ("cost_usd", 0.39)]), None);
        assert_eq!(used_up(&[("total_tokens", 900.0)]), Some("total_tokens"));
        // Without a total, all names that end with `tokens` count.
        assert_eq!(used_up(&[("out_tokens", 600.0), ("x_tokens", 300.0)]), Some("total_tokens"));
        assert_eq!(used_up(&[("in_tokens", 399.0)]), None);
        assert_eq!(used_up(&[("in_tokens", 400.0)]), Some("cost_usd"));
        // A reported cost has precedence over prices.
        assert_eq!(used_up(&[("in_tokens", 500.0), ("cost_usd", 0.1)]), None);
    }
}
