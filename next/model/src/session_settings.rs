//! [`SessionSettings`]: how a session runs and what ends it early.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::enum_text::as_text;

/// How a session runs. Merged from the command line, the run's last session and the scenario, in this order of precedence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSettings {
    /// Attempts that run at once, at least 1.
    pub jobs: u32,
    /// Bound of the session's run time. In JSON in milliseconds.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// Time for guests to end by themselves after a stop. In JSON in milliseconds.
    #[serde(rename = "grace_ms", default, with = "millis")]
    pub grace: Duration,
    /// Bad trials after which no further trial starts.
    #[serde(default, skip_serializing_if = "FailFast::is_off")]
    pub fail_fast: FailFast,
    /// Budgets of the command line, of this session and earlier ones. The scenario's own are not included.
    #[serde(default, skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
}

/// The part of [`SessionSettings`] that a command line sets. `None` keeps the setting.
#[derive(Clone, Debug, Default)]
pub struct SessionOverrides {
    /// Attempts that run at once.
    pub jobs: Option<u32>,
    /// Bound of the session's run time.
    pub timeout: Option<Duration>,
    /// Time for guests to end by themselves after a stop.
    pub grace: Option<Duration>,
    /// Bad trials after which no further trial starts.
    pub fail_fast: Option<FailFast>,
    /// Budgets that replace those of the same name.
    pub budgets: Budgets,
}

impl SessionSettings {
    /// Replaces what `overrides` sets.
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

/// How many trials may end badly before a session begins no more. One bad trial is enough for `true` in a scenario, and
/// `false` is [`FailFast::Off`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FailFast {
    /// As many as there are.
    #[default]
    Off,
    /// At this many it begins no more; at least 1.
    Count(u64),
    /// Once more than this part of all planned trials has ended badly; above 0, at most 1.
    Fraction(f64),
}

impl FailFast {
    /// Reads a count such as `3`, a fraction such as `0.25`, or `0` or `off` for never.
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

    /// Reads what scenarios and manifests have: a boolean or a number.
    pub fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(is_on) => Some(if *is_on { Self::Count(1) } else { Self::Off }),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Tells whether a session never gives up.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// At how many bad trials a session begins no more, of so many planned ones.
    pub fn most(self, planned: u64) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Count(count) => Some(count),
            Self::Fraction(part) => Some((planned as f64 * part).floor() as u64 + 1),
        }
    }
}

impl Serialize for FailFast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Fraction(part) => serializer.serialize_f64(*part),
        }
    }
}

impl<'de> Deserialize<'de> for FailFast {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let problem = || serde::de::Error::custom("expected a boolean, a count or a fraction");
        Self::of_json(&value).ok_or_else(problem)
    }
}

/// How much of what providers measure a run may use up; none where a budget was taken away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budgets(pub BTreeMap<BudgetName, Option<f64>>);

/// What a budget is of. Its text is `METRIC` or `PROVIDER:METRIC`; no provider has a colon in its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetName {
    /// Of this provider alone; else of all together.
    pub provider: Option<String>,
    /// The metric.
    pub metric: String,
}

impl Budgets {
    /// The smallest budget; one of nothing would let nothing begin.
    pub const LEAST: f64 = 1e-9;

    /// Adds `tokens=2000000`, `shout:tokens=5e5` for one provider, or `tokens=off`.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let wanted =
            "expected a metric with its budget, such as `tokens=2000000` or `PROVIDER:tokens=off`";
        let (name, most) = text.rsplit_once('=').ok_or(wanted)?;
        let most = if most == "off" {
            None
        } else {
            let most = most.replace('_', "").parse().ok();
            Some(most.filter(Self::is_budget).ok_or(wanted)?)
        };
        let name = BudgetName::parse(name);
        if name.metric.is_empty() {
            return Err(wanted.to_owned());
        }
        self.0.insert(name, most);
        Ok(())
    }

    /// Puts `newer` in front of these.
    pub fn extend(&mut self, newer: &Self) {
        self.0.extend(newer.0.clone());
    }

    /// Tells whether there are no words on any budget.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_budget(most: &f64) -> bool {
        (Self::LEAST..=f64::MAX).contains(most)
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
    fn counts_and_fractions_say_how_many_may_be_bad() {
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
