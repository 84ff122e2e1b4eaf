//! [`SessionSettings`]: the settings of a session, among them limits that end it early. Below it, those of reports, gates and
//! shards, and [`ScenarioOverrides`].

mod form;
mod gate;
mod overrides;
mod selected;
mod shard;
pub mod tree;

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::enum_text::as_text;

pub use self::form::{Form, media_type};
pub use self::gate::{Gate, GateCondition, GateResult, GateRule, GateScope, MAX_WEIGHT};
pub use self::overrides::{LimitBound, MAX_REPEAT, MAX_RETRIES, ScenarioOverrides, SetVars};
pub use self::selected::Selected;
pub use self::shard::{MAX_SHARDS, Shard};

/// The largest number of attempts that run at once.
pub const MAX_JOBS: u32 = 4096;

/// Settings of a session, merged from the command line, the run's last session and the scenario, in this order of
/// precedence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionSettings {
    /// Attempts that run at once, at least 1.
    pub jobs: u32,
    /// Bound of the session's run time. In JSON in milliseconds.
    #[serde(rename = "timeout_ms", with = "millis")]
    #[schemars(with = "u64")]
    pub timeout: Duration,
    /// Time for guests to end by themselves after a stop. In JSON in milliseconds.
    #[serde(rename = "grace_ms", default, with = "millis")]
    #[schemars(with = "u64")]
    pub grace: Duration,
    /// Bad trials after which no further trial starts: a count, or a part of all planned trials.
    #[serde(default, skip_serializing_if = "FailFast::is_off")]
    #[schemars(with = "f64")]
    pub fail_fast: FailFast,
    /// Budgets of the command line, of this session and earlier ones. The scenario's own are not included.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
}

/// The part of [`SessionSettings`] that a command line sets. `None` keeps the setting.
#[derive(Clone, Debug, Default)]
pub struct SessionOverrides {
    pub jobs: Option<u32>,
    pub timeout: Option<Duration>,
    pub grace: Option<Duration>,
    pub fail_fast: Option<FailFast>,
    /// Budgets that replace those of the same name.
    pub budgets: Budgets,
}

impl SessionSettings {
    pub fn apply(&mut self, overrides: &SessionOverrides) {
        self.jobs = overrides.jobs.unwrap_or(self.jobs).max(1);
        self.timeout = overrides.timeout.unwrap_or(self.timeout);
        self.grace = overrides.grace.unwrap_or(self.grace);
        self.fail_fast = overrides.fail_fast.unwrap_or(self.fail_fast);
        self.budgets.extend(&overrides.budgets);
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_millis() as u64)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Bad trials after which a session starts no further trial. Scenarios write `true` for a count of 1, and `false` to turn it off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum FailFast {
    #[default]
    Off,
    /// This many bad trials, at least 1.
    Count(u64),
    /// More than this part of all planned trials, above 0 and at most 1.
    Fraction(f64),
}

impl FailFast {
    /// Parses a count such as `3`, a fraction such as `0.25`, or `0` or `off`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        if let Ok(count) = text.parse() {
            return Some(if count == 0 { Self::Off } else { Self::Count(count) });
        }
        let part: f64 = text.parse().ok()?;
        (0.0 < part && part <= 1.0).then_some(Self::Fraction(part))
    }

    /// Reads the boolean or number of a scenario or manifest.
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(is_on) => Some(if *is_on { Self::Count(1) } else { Self::Off }),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// Returns the number of bad trials that ends a session with `planned` trials. `None` if no number does.
    pub fn most(self, planned: u64) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Count(count) => Some(count),
            // A session may have exactly the fraction of bad trials, but not one more.
            Self::Fraction(part) => Some((planned as f64 * part).floor() as u64 + 1),
        }
    }
}

impl From<FailFast> for Value {
    fn from(fail_fast: FailFast) -> Self {
        match fail_fast {
            FailFast::Off => false.into(),
            FailFast::Count(count) => count.into(),
            FailFast::Fraction(part) => part.into(),
        }
    }
}

impl TryFrom<Value> for FailFast {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        Self::of_json(&value).ok_or("expected a boolean, a count or a fraction")
    }
}

/// Budgets of a run: most of a metric that its attempts may use together. Without a number, a budget is removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Budgets(pub BTreeMap<BudgetName, Option<f64>>);

/// The scope of a budget, written `METRIC` or `PROVIDER:METRIC`. Names of providers have no colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetName {
    /// `None` for all providers together.
    pub provider: Option<String>,
    pub metric: String,
}

impl Budgets {
    /// The smallest budget. With a budget of 0 no trial could start.
    pub const LEAST: f64 = 1e-9;

    /// Adds `tokens=2000000`, `shout:tokens=5e5` for one provider, or `tokens=off`.
    ///
    /// # Errors
    ///
    /// A description of the expected form.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let expected =
            "expected a metric with its budget, such as `tokens=2000000` or `PROVIDER:tokens=off`";
        // The last `=`, because a matrix puts others into names of providers: `gpt[size=small]:tokens=5`.
        let (name, budget) = text.rsplit_once('=').ok_or(expected)?;
        let budget = if budget == "off" {
            None
        } else {
            let budget: f64 = budget.replace('_', "").parse().map_err(|_| expected)?;
            let is_budget = (Self::LEAST..=f64::MAX).contains(&budget);
            Some(is_budget.then_some(budget).ok_or("a budget is a number above 0")?)
        };
        let name = BudgetName::parse(name);
        if name.metric.is_empty() {
            return Err(expected.to_owned());
        }
        self.0.insert(name, budget);
        Ok(())
    }

    /// Adds the budgets of `newer`, replacing those of the same name.
    pub fn extend(&mut self, newer: &Self) {
        self.0.extend(newer.0.clone());
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl BudgetName {
    fn parse(text: &str) -> Self {
        let (provider, metric) = match text.split_once(':') {
            Some((provider, metric)) => (Some(provider.to_owned()), metric),
            None => (None, text),
        };
        Self { provider, metric: metric.to_owned() }
    }
}

impl fmt::Display for BudgetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.provider {
            write!(formatter, "{provider}:")?;
        }
        formatter.write_str(&self.metric)
    }
}

as_text!(BudgetName, |text| Ok::<_, fmt::Error>(BudgetName::parse(text)));

#[cfg(test)]
mod tests {
    use super::{Budgets, FailFast};

    #[test]
    fn counts_and_fractions_bound_bad_trials() {
        for (text, most) in [
            ("off", None),
            ("0", None),
            ("1", Some(1)),
            ("3", Some(3)),
            ("0.1", Some(2)),
            ("0.25", Some(3)),
            ("1.0", Some(11)),
        ] {
            let fail_fast = FailFast::parse(text).unwrap();
            assert_eq!(fail_fast.most(10), most, "{text}");
            let json = serde_json::to_string(&fail_fast).unwrap();
            assert_eq!(serde_json::from_str::<FailFast>(&json).unwrap(), fail_fast);
        }
        for text in ["-1", "1.5", "0.0", "", "NaN", "all"] {
            assert_eq!(FailFast::parse(text), None, "{text}");
        }
    }

    #[test]
    fn budgets_are_read_as_they_are_written() {
        let mut budgets = Budgets::default();
        for text in ["tokens=2_000_000", "a:cost=0.5", "tokens=10", "b:x=off"] {
            budgets.add(text).unwrap();
        }
        let json = serde_json::to_string(&budgets).unwrap();
        assert_eq!(json, r#"{"tokens":10.0,"a:cost":0.5,"b:x":null}"#);
        assert_eq!(serde_json::from_str::<Budgets>(&json).unwrap(), budgets);
        for text in ["tokens", "tokens=", "tokens=0", "tokens=-1", "=5", "a:=5", "x=inf"] {
            assert!(budgets.add(text).is_err(), "{text}");
        }
    }
}
