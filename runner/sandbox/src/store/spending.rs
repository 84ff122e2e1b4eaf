//! [`Spending`]: the metrics that a guest has reported during its attempt, and the limits that they use up.

use std::collections::BTreeMap;
use std::sync::Arc;

use runner_model::provider::{COST, cost_of};
use runner_model::row::{Metric, MetricSums};
use runner_model::{Limits, units::grouped};

use crate::contract::runner::provider::types;

/// Different names of metrics in an attempt.
const MAX_NAMES: usize = 100;
/// Bytes of a name or unit.
const MAX_TEXT: usize = 128;

/// The metrics that a guest has reported, and those of its tools.
#[derive(Default)]
pub(crate) struct Spending {
    /// The sum of each metric, by its first report. Not redacted.
    pub(crate) sums: Vec<Metric<'static>>,
    /// As the keys of `Limits`.
    total_tokens: Option<u64>,
    cost_usd: Option<f64>,
    prices: Arc<BTreeMap<String, f64>>,
}

impl Spending {
    pub(crate) fn new(limits: &Limits, prices: Arc<BTreeMap<String, f64>>) -> Self {
        let cost_usd = limits.cost_usd.map(|dollars| dollars.0);
        Self { sums: Vec::new(), total_tokens: limits.total_tokens, cost_usd, prices }
    }

    /// Adds a metric. Returns whether it counts: a report cannot free what earlier ones have used.
    pub(crate) fn add(&mut self, metric: Metric<'static>) -> bool {
        let is_number = metric.value.is_finite() && metric.value >= 0.0;
        let is_long = metric.name.len() > MAX_TEXT
            || metric.unit.as_ref().is_some_and(|unit| unit.len() > MAX_TEXT);
        if !is_number || is_long {
            return false;
        }
        let is_full = self.sums.len() == MAX_NAMES;
        match self.sums.iter_mut().find(|sum| sum.name == metric.name) {
            // JSON has no infinite numbers.
            Some(sum) => sum.value = (sum.value + metric.value).min(f64::MAX),
            None if is_full => return false,
            None => self.sums.push(metric),
        }
        true
    }

    /// Returns the key of the first limit that is used up, and the reason for refused requests.
    pub(crate) fn used_up(&self) -> Option<(&'static str, String)> {
        let sums = MetricSums::of(&self.sums);
        let tokens = self.total_tokens.filter(|most| sums.tokens >= Some(*most as f64));
        if let Some(most) = tokens {
            let most = grouped(most);
            return Some((
                "total_tokens",
                format!("the attempt has used the {most} tokens of `limits.total_tokens`"),
            ));
        }
        let most = self.cost_usd?;
        let cost =
            sums.cost_usd.or_else(|| cost_of(&self.prices, &self.sums).map(|cost| cost.value));
        (cost >= Some(most)).then(|| {
            (COST, format!("the attempt has spent the {most} dollars of `limits.cost_usd`"))
        })
    }
}

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

    use super::{MAX_NAMES, Spending};

    fn metric(name: &str, value: f64) -> Metric<'static> {
        Metric { name: name.to_owned().into(), value, unit: None }
    }

    #[test]
    fn reports_add_up_within_bounds() {
        let mut spending = Spending::default();
        for value in [2.0, 3.0, f64::NAN, f64::INFINITY, -4.0] {
            assert_eq!(spending.add(metric("total_tokens", value)), value == 2.0 || value == 3.0);
        }
        assert!(!spending.add(metric(&"a".repeat(129), 1.0)));
        for number in 1..MAX_NAMES {
            assert!(spending.add(metric(&number.to_string(), 1.0)));
        }
        assert!(!spending.add(metric("more", 1.0)));
        assert!(spending.add(metric("1", f64::MAX)) && spending.add(metric("1", f64::MAX)));
        let values: Vec<_> = spending.sums.iter().take(2).map(|sum| sum.value).collect();
        assert_eq!(values, [5.0, f64::MAX]);
    }

    #[test]
    fn limits_are_used_up_by_tokens_or_cost() {
        let limits =
            Limits { total_tokens: Some(1000), cost_usd: Some(Dollars(0.5)), ..Limits::default() };
        let prices = Arc::new([("in_tokens".to_owned(), 1000.0)].into());
        let used_up = |metrics: &[(&str, f64)]| {
            let mut spending = Spending::new(&limits, Arc::clone(&prices));
            metrics.iter().for_each(|(name, value)| assert!(spending.add(metric(name, *value))));
            spending.used_up().map(|(key, _)| key)
        };
        assert_eq!(used_up(&[]), None);
        assert_eq!(used_up(&[("total_tokens", 999.0), ("cost_usd", 0.49)]), None);
        assert_eq!(used_up(&[("total_tokens", 1000.0)]), Some("total_tokens"));
        // Without a total, all names that end with `tokens` count.
        assert_eq!(used_up(&[("out_tokens", 600.0), ("x_tokens", 400.0)]), Some("total_tokens"));
        assert_eq!(used_up(&[("in_tokens", 499.0)]), None);
        assert_eq!(used_up(&[("in_tokens", 500.0)]), Some("cost_usd"));
        // A reported cost has precedence over prices.
        assert_eq!(used_up(&[("in_tokens", 500.0), ("cost_usd", 0.1)]), None);
    }
}
