//! [`MetricSums`]: tokens and cost of a call, read without a list of its metrics.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::parts::Metric;
use crate::provider::COST;

/// Tokens and cost of one or more calls. `None` if no call has reported any.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MetricSums {
    /// The metric `total_tokens` of a call, or else the sum of those whose names end with `tokens`.
    pub tokens: Option<f64>,
    /// The metric `cost_usd`, in dollars.
    pub cost_usd: Option<f64>,
}

impl MetricSums {
    /// Sums the metrics of a call.
    pub fn of<'a>(metrics: impl IntoIterator<Item = &'a Metric<'a>>) -> Self {
        let mut call = CallSums::default();
        metrics.into_iter().for_each(|metric| call.add(metric));
        call.finish()
    }

    /// Returns the sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: add(self.tokens, other.tokens),
            cost_usd: add(self.cost_usd, other.cost_usd),
        }
    }
}

/// The metrics of a call so far.
#[derive(Default)]
struct CallSums {
    total: Option<f64>,
    parts: Option<f64>,
    cost_usd: Option<f64>,
}

impl CallSums {
    fn add(&mut self, metric: &Metric<'_>) {
        let value = Some(metric.value);
        match &*metric.name {
            "total_tokens" => self.total = self.total.or(value),
            COST => self.cost_usd = add(self.cost_usd, value),
            name if name.ends_with("tokens") => self.parts = add(self.parts, value),
            _ => {}
        }
    }

    fn finish(self) -> MetricSums {
        MetricSums { tokens: self.total.or(self.parts), cost_usd: self.cost_usd }
    }
}

fn add(sum: Option<f64>, more: Option<f64>) -> Option<f64> {
    sum.into_iter().chain(more).reduce(|sum, more| sum + more)
}

impl<'de> Deserialize<'de> for MetricSums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Metrics;
        impl<'de> Visitor<'de> for Metrics {
            type Value = MetricSums;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of metrics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut metrics: A) -> Result<MetricSums, A::Error> {
                let mut call = CallSums::default();
                while let Some(metric) = metrics.next_element::<Metric<'de>>()? {
                    call.add(&metric);
                }
                Ok(call.finish())
            }
        }
        deserializer.deserialize_seq(Metrics)
    }
}
