//! [`FailFast`]: when a session gives up.

use serde_json::Value;

/// How many trials may end badly before a session gives up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FailFast {
    /// It never gives up.
    Off,
    /// It gives up at this many; at least 1.
    Count(u64),
    /// It gives up once more than this part of the planned trials has ended badly; above 0, and 1 for never.
    Fraction(f64),
}

impl FailFast {
    /// Reads a count such as `3`, a fraction such as `0.25` or `1.0`, or `0` or `off` for never.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        if let Ok(count) = text.parse() {
            return Some(match count {
                0 => Self::Off,
                _ => Self::Count(count),
            });
        }
        let fraction: f64 = text.parse().ok()?;
        (0.0 < fraction && fraction <= 1.0).then_some(Self::Fraction(fraction))
    }

    /// Reads what scenarios and manifests write: `true` for the first bad trial, `false` for never, else a number.
    pub(super) fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(false) => Some(Self::Off),
            Value::Bool(true) => Some(Self::Count(1)),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Writes it for a manifest. Versions that do not know `false` there take the scenario's.
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Off => false.into(),
            Self::Count(count) => count.into(),
            Self::Fraction(part) => part.into(),
        }
    }
}
