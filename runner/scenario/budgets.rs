//! [`Budgets`]: how much of what providers measure may be used up.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

use super::form::{Form, Key, Name, required};

/// The keys of a `budget`.
pub(super) const BUDGET: &[Key] = &[required(
    "metrics",
    Form::Map(
        &Form::Number {
            min: LEAST,
            max: f64::MAX,
        },
        Name::Metric,
    ),
    "How much there is of each metric, over all attempts of all sessions. Once one is used up, no further attempt begins.",
)];

/// The smallest budget; one of nothing would let nothing begin.
const LEAST: f64 = 1e-9;
/// What takes a budget away.
const OFF: &str = "off";

/// How much of what providers measure may be used up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budgets(BTreeMap<BudgetName, Option<f64>>);

/// What a budget is of: a metric, of one provider or of all of them together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetName {
    /// Whose, if not that of all.
    pub provider: Option<String>,
    /// The metric.
    pub metric: String,
}

impl Budgets {
    /// Reads the `budget` of a provider, which has been checked, if there is one.
    pub(super) fn of_provider(name: &str, budget: Option<&Value>) -> Self {
        budget.map_or_else(Self::default, |budget| Self::of_table(budget, Some(name)))
    }

    /// Reads a `budget` of a scenario, which has been checked.
    pub(super) fn of_table(table: &Value, provider: Option<&str>) -> Self {
        let metrics = table.get("metrics").and_then(Value::as_object);
        let metrics = metrics.into_iter().flatten();
        let named = metrics.map(|(metric, most)| {
            let name = BudgetName {
                provider: provider.map(str::to_owned),
                metric: metric.clone(),
            };
            (name, most.as_f64())
        });
        Self(named.collect())
    }

    /// Reads `tokens=2000000`, `gpt:tokens=5e5` for one provider, or `tokens=off`.
    ///
    /// # Errors
    ///
    /// Fails with what was expected instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "expected a metric with its budget, such as `tokens=2000000` or `PROVIDER:tokens=off`";
        let (name, most) = text.rsplit_once('=').ok_or_else(wanted)?;
        let most = match most {
            OFF => None,
            digits => {
                let most = digits.replace('_', "").parse::<f64>().ok();
                Some(
                    most.filter(|most| (LEAST..=f64::MAX).contains(most))
                        .ok_or_else(wanted)?,
                )
            }
        };
        let name = BudgetName::of(name);
        if name.metric.is_empty() {
            return Err(wanted().to_owned());
        }
        Ok(Self(BTreeMap::from([(name, most)])))
    }

    /// Writes them for a manifest.
    pub(super) fn to_stored(&self) -> Option<Value> {
        let stored = self.0.iter().map(|(name, most)| {
            let most = most.map_or_else(|| json!(OFF), |most| json!(most));
            (name.to_string(), most)
        });
        (!self.0.is_empty()).then(|| Value::Object(stored.collect::<Map<_, _>>()))
    }

    /// Reads back what [`to_stored`](Self::to_stored) has written.
    pub(super) fn of_stored(stored: &Value) -> Option<Self> {
        let stored = stored.as_object()?.iter();
        let stored = stored.map(|(name, most)| (BudgetName::of(name), most.as_f64()));
        Some(Self(stored.collect()))
    }

    /// These, and where `newer` says something of the same, that instead.
    #[must_use]
    pub fn with(mut self, newer: &Self) -> Self {
        let newer = newer.0.iter();
        self.0
            .extend(newer.map(|(name, most)| (name.clone(), *most)));
        self
    }

    /// What each is of, and how much there is; budgets that were taken away have none.
    pub fn iter(&self) -> impl Iterator<Item = (&BudgetName, Option<f64>)> {
        self.0.iter().map(|(name, most)| (name, *most))
    }
}

impl BudgetName {
    /// Reads `METRIC` or `PROVIDER:METRIC`: no provider has a colon in its name.
    fn of(text: &str) -> Self {
        let (provider, metric) = match text.split_once(':') {
            Some((provider, metric)) => (Some(provider.to_owned()), metric),
            None => (None, text),
        };
        Self {
            provider,
            metric: metric.to_owned(),
        }
    }
}

impl fmt::Display for BudgetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Some(provider) => write!(formatter, "{provider}:{}", self.metric),
            None => formatter.write_str(&self.metric),
        }
    }
}

/// Tells why `name` cannot name a metric.
pub(super) fn metric_error(name: &str) -> Option<String> {
    name.is_empty().then(|| "it is empty".to_owned())
}
