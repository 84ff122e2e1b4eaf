//! [`ScenarioOverrides`]: values of a command line that replace those of a scenario.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::enum_text::{as_text, is_default};
use crate::{Limits, visible::quoted};

/// The largest number of repeats of a test.
pub const MAX_REPEAT: u32 = 1_000_000;
/// The largest number of retries of a trial.
pub const MAX_RETRIES: u32 = 1000;

/// Values of `--set`, as text or JSON, by the names of variables.
pub type SetVars = BTreeMap<String, String>;

/// Values of a command line that replace those of a scenario. Stored with a run, for all of its sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScenarioOverrides {
    /// Trials of each test on each provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Most retries of each trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The seed that providers receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u32>,
    /// Bounds of all providers' limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitBound>,
    /// Whether the attempts have a journal, and are deterministic.
    #[serde(skip_serializing_if = "is_default")]
    pub journal: bool,
    /// Values of variables, as text or JSON.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: SetVars,
}

/// The most that a limit may be, as an argument such as `memory=64MiB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitBound(String);

impl LimitBound {
    /// Parses the argument.
    ///
    /// # Errors
    ///
    /// The fault of the argument.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.parse::<u64>().is_ok() {
            return Err(format!(
                "expected a limit of attempts, such as `memory=64MiB`; for the first {text} tests: `--first {text}`"
            ));
        }
        Limits::default().set(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Lowers the limit. A lower one stays. Returns whether it was higher.
    pub fn lower(&self, limits: &mut Limits) -> bool {
        let before = limits.clone();
        let mut bound = limits.clone();
        // `parse` has checked the argument.
        if bound.set(&self.0).is_err() {
            return false;
        }
        for limit in Limits::TABLE {
            let most = (limit.get)(&bound);
            let limit = (limit.get_mut)(limits);
            *limit = most.min(*limit);
        }
        limits.time = limits.time.into_iter().chain(bound.time).min();
        limits.total_tokens = limits.total_tokens.into_iter().chain(bound.total_tokens).min();
        let costs = limits.cost_usd.into_iter().chain(bound.cost_usd);
        limits.cost_usd = costs.reduce(|one, other| if other < one { other } else { one });
        *limits != before
    }
}

impl fmt::Display for LimitBound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

as_text!(LimitBound, LimitBound::parse);

/// Formats the flags that set the values.
impl fmt::Display for ScenarioOverrides {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers =
            [("--repeat", self.repeat), ("--retries", self.retries), ("--seed", self.seed)];
        let numbers = numbers.into_iter().filter_map(|(flag, number)| Some((flag, number?)));
        let flags = numbers.map(|(flag, number)| format!("{flag} {number}"));
        let limits = self.limits.iter().map(|bound| format!("--limit {bound}"));
        let journal = self.journal.then(|| "--journal".to_owned());
        let vars = self
            .vars
            .iter()
            .map(|(name, value)| format!("--set {}", quoted(&format!("{name}={value}"))));
        formatter.write_str(
            &flags.chain(limits).chain(journal).chain(vars).collect::<Vec<_>>().join(" "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::LimitBound;
    use crate::{Limits, Micros};

    #[test]
    fn bounds_lower_limits_and_never_raise_them() {
        let mut limits = Limits { memory: 1000, ..Limits::default() };
        let bounds = ["memory=2000", "memory=1MiB", "http_requests=5", "time=3s", "time=4s"];
        for bound in bounds {
            LimitBound::parse(bound).unwrap().lower(&mut limits);
        }
        let expected = Limits {
            memory: 1000,
            http_requests: 5,
            time: Some(Micros(3_000_000)),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert!(LimitBound::parse("memory").is_err() && LimitBound::parse("x=1").is_err());
    }
}
