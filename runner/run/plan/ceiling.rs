//! [`Ceiling`]: what the command line caps every provider's limits at.

use std::time::Duration;

use super::error::PlanError;
use crate::{
    model::{Limit, Limits},
    scenario::{self, RunOptions},
};

/// The command line's ceilings.
pub(super) struct Ceiling {
    limits: Vec<(&'static Limit, u64)>,
    /// `time`, which caps attempts and decides no result.
    pub(super) time: Option<Duration>,
}

/// Sets limits by texts such as `memory=64MiB`; what is not named has its default.
///
/// # Errors
///
/// Fails on a text that is no limit.
pub fn set_limits(texts: &[String]) -> Result<Limits, PlanError> {
    let ceiling = Ceiling::parse(texts)?;
    let mut limits = Limits {
        time: ceiling.time,
        ..Limits::default()
    };
    for (limit, value) in &ceiling.limits {
        *limit.get_mut(&mut limits) = *value;
    }
    Ok(limits)
}

impl Ceiling {
    /// The ceilings among the options of a run.
    pub(super) fn of(options: &RunOptions) -> Result<Self, PlanError> {
        Self::parse(options.limits.as_deref().unwrap_or_default())
    }

    fn parse(texts: &[String]) -> Result<Self, PlanError> {
        let mut ceiling = Self {
            limits: Vec::new(),
            time: None,
        };
        for text in texts {
            ceiling.add(text).map_err(|reason| PlanError::Limit {
                text: text.clone(),
                reason,
            })?;
        }
        Ok(ceiling)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').ok_or("it has no `=`")?;
        if key == "time" {
            let time = scenario::parse_duration(value)?;
            if time.is_zero() {
                return Err("expected a duration above 0".into());
            }
            self.time = Some(self.time.map_or(time, |least| least.min(time)));
            return Ok(());
        }
        let most = scenario::parse_size(value).ok_or(scenario::EXPECTED_SIZE)?;
        let limit = Limits::find(key).ok_or_else(|| {
            let known: Vec<_> = Limits::TABLE.iter().map(|limit| limit.key).collect();
            format!(
                "there is no limit `{key}`; known are time, {}",
                known.join(", ")
            )
        })?;
        self.limits.push((limit, most));
        Ok(())
    }

    pub(super) fn cap(&self, limits: Limits) -> Limits {
        let mut capped = limits;
        for (limit, most) in &self.limits {
            let value = limit.get_mut(&mut capped);
            *value = (*value).min(*most);
        }
        capped
    }
}
