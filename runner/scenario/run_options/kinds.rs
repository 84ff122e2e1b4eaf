//! The kinds of values that options have: how scenarios, command lines and manifests write them.

use std::{num::NonZeroUsize, time::Duration};

use serde_json::{Value, json};

use crate::scenario::{
    Budgets, FailFast,
    units::{self, MAX_DURATION},
};

/// The most attempts that run at once.
pub(super) const MAX_JOBS: i64 = 4096;

/// A kind of value.
pub(super) trait OptionKind {
    /// What it is here.
    type Value: Clone;

    /// Reads what a scenario has, which has been checked.
    fn of_scenario(value: &Value) -> Option<Self::Value>;

    /// Reads what follows a flag; fails with what was expected instead.
    fn of_text(text: &str) -> Result<Self::Value, String>;

    /// Writes it for a manifest; `None` leaves it out.
    fn to_stored(value: &Self::Value) -> Option<Value>;

    /// Reads it back. A manifest may be anybody's, so it may be anything.
    fn of_stored(value: &Value) -> Option<Self::Value> {
        Self::of_scenario(value)
    }

    /// What holds where a nearer source says something, too: that.
    fn over(_: Self::Value, nearer: &Self::Value) -> Self::Value {
        nearer.clone()
    }

    /// What holds where it is given once more: the last one.
    fn again(_: Self::Value, new: Self::Value) -> Self::Value {
        new
    }

    /// Reads the default of an option.
    fn of_default(default: &str) -> Self::Value {
        Self::of_scenario(&json(default)).expect("the defaults of options are valid")
    }
}

/// Reads a default.
pub(super) fn json(default: &str) -> Value {
    serde_json::from_str(default).expect("the defaults of options are JSON")
}

/// How many attempts run at once.
pub(super) struct Jobs;

impl OptionKind for Jobs {
    type Value = NonZeroUsize;

    fn of_scenario(value: &Value) -> Option<NonZeroUsize> {
        NonZeroUsize::new(value.as_u64()?.try_into().ok()?)
    }

    fn of_text(text: &str) -> Result<NonZeroUsize, String> {
        let jobs = text.parse::<NonZeroUsize>().ok();
        jobs.filter(|jobs| i64::try_from(jobs.get()).is_ok_and(|jobs| jobs <= MAX_JOBS))
            .ok_or_else(|| format!("expected a number from 1 to {MAX_JOBS}"))
    }

    fn to_stored(value: &NonZeroUsize) -> Option<Value> {
        Some(value.get().into())
    }
}

/// A number that is nothing but that.
pub(super) struct Number;

impl OptionKind for Number {
    type Value = u32;

    fn of_scenario(value: &Value) -> Option<u32> {
        value.as_u64()?.try_into().ok()
    }

    fn of_text(text: &str) -> Result<u32, String> {
        text.parse()
            .map_err(|_| format!("expected a number from 0 to {}", u32::MAX))
    }

    fn to_stored(value: &u32) -> Option<Value> {
        Some((*value).into())
    }
}

/// A number of bytes.
pub(super) struct Size;

impl OptionKind for Size {
    type Value = u64;

    fn of_scenario(value: &Value) -> Option<u64> {
        units::size_of(value)
    }

    fn of_text(text: &str) -> Result<u64, String> {
        units::parse_size(text).ok_or_else(|| units::EXPECTED_SIZE.to_owned())
    }

    fn to_stored(value: &u64) -> Option<Value> {
        Some((*value).into())
    }
}

/// A duration in minutes, or in parts of them.
pub(super) struct Minutes;

impl Minutes {
    fn of(minutes: f64) -> Option<Duration> {
        Duration::try_from_secs_f64(minutes * 60.0).ok()
    }
}

impl OptionKind for Minutes {
    type Value = Duration;

    fn of_scenario(value: &Value) -> Option<Duration> {
        Self::of(value.as_f64()?)
    }

    fn of_text(text: &str) -> Result<Duration, String> {
        let minutes = text.parse().map_err(|_| "expected a number of minutes")?;
        match Self::of(minutes) {
            Some(duration) if !duration.is_zero() && duration <= MAX_DURATION => Ok(duration),
            _ => Err("expected a number of minutes, above 0 and at most a year".into()),
        }
    }

    fn to_stored(value: &Duration) -> Option<Value> {
        Some((value.as_secs_f64() / 60.0).into())
    }
}

/// A duration as people write it; manifests have it in milliseconds.
pub(super) struct Time;

impl OptionKind for Time {
    type Value = Duration;

    fn of_scenario(value: &Value) -> Option<Duration> {
        units::parse_duration(value.as_str()?).ok()
    }

    fn of_text(text: &str) -> Result<Duration, String> {
        units::parse_duration(text).map_err(Into::into)
    }

    fn to_stored(value: &Duration) -> Option<Value> {
        u64::try_from(value.as_millis()).ok().map(Into::into)
    }

    fn of_stored(value: &Value) -> Option<Duration> {
        value.as_u64().map(Duration::from_millis)
    }
}

/// When a session gives up.
pub(super) struct GiveUp;

impl OptionKind for GiveUp {
    type Value = FailFast;

    fn of_scenario(value: &Value) -> Option<FailFast> {
        FailFast::of_json(value)
    }

    fn of_text(text: &str) -> Result<FailFast, String> {
        let wanted =
            || "expected a count such as `3`, a fraction such as `0.25` or `1.0`, or `off`".into();
        FailFast::parse(text).ok_or_else(wanted)
    }

    fn to_stored(value: &FailFast) -> Option<Value> {
        Some(value.to_json())
    }
}

/// Ceilings of limits, as typed; what they mean, the plan knows.
pub(super) struct Ceilings;

impl OptionKind for Ceilings {
    type Value = Vec<String>;

    fn of_scenario(value: &Value) -> Option<Vec<String>> {
        let texts = value.as_array()?.iter().filter_map(Value::as_str);
        Some(texts.map(str::to_owned).collect())
    }

    fn of_text(text: &str) -> Result<Vec<String>, String> {
        Ok(vec![text.to_owned()])
    }

    fn to_stored(value: &Vec<String>) -> Option<Value> {
        (!value.is_empty()).then(|| json!(value))
    }

    fn again(mut old: Vec<String>, new: Vec<String>) -> Vec<String> {
        old.extend(new);
        old
    }
}

/// Budgets, of which a nearer source says some anew.
pub(super) struct Spendable;

impl OptionKind for Spendable {
    type Value = Budgets;

    fn of_scenario(value: &Value) -> Option<Budgets> {
        Some(Budgets::of_table(value, None))
    }

    fn of_text(text: &str) -> Result<Budgets, String> {
        Budgets::parse(text)
    }

    fn to_stored(value: &Budgets) -> Option<Value> {
        value.to_stored()
    }

    fn of_stored(value: &Value) -> Option<Budgets> {
        Budgets::of_stored(value)
    }

    fn over(old: Budgets, nearer: &Budgets) -> Budgets {
        old.with(nearer)
    }

    fn again(old: Budgets, new: Budgets) -> Budgets {
        old.with(&new)
    }
}
