//! [`Ceiling`]: what the command line caps every provider's limits at.

use std::time::Duration;

use serde_json::json;

use super::error::PlanError;
use crate::{model::Limits, scenario};

/// The command line's ceilings.
pub(super) struct Ceiling {
    limits: Vec<(String, u64)>,
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
    for (key, value) in &ceiling.limits {
        if let Some(limit) = field(&mut limits, key) {
            *limit = *value;
        }
    }
    Ok(limits)
}

impl Ceiling {
    pub(super) fn parse(texts: &[String]) -> Result<Self, PlanError> {
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
        let bytes = value
            .parse::<u64>()
            .map_or_else(|_| json!(value), |number| json!(number));
        let most =
            scenario::size_of(&bytes).ok_or("expected a number, or a size such as `64MiB`")?;
        if field(&mut Limits::default(), key).is_none() {
            return Err(format!(
                "there is no limit `{key}`; known are {}",
                LIMITS.join(", ")
            ));
        }
        self.limits.push((key.into(), most));
        Ok(())
    }

    pub(super) fn cap(&self, limits: Limits) -> Limits {
        let mut capped = limits;
        for (key, most) in &self.limits {
            if let Some(limit) = field(&mut capped, key) {
                *limit = (*limit).min(*most);
            }
        }
        capped
    }
}

/// The limits that `--limit` knows, `time` first.
const LIMITS: [&str; 14] = [
    "time",
    "input",
    "memory",
    "table_elements",
    "file",
    "reply",
    "log",
    "log_records",
    "stdio",
    "artifacts",
    "artifact_files",
    "http_requests",
    "http_response",
    "scratch",
];

fn field<'a>(limits: &'a mut Limits, key: &str) -> Option<&'a mut u64> {
    Some(match key {
        "input" => &mut limits.input,
        "memory" => &mut limits.memory,
        "table_elements" => &mut limits.table_elements,
        "file" => &mut limits.file,
        "reply" => &mut limits.reply,
        "log" => &mut limits.log,
        "log_records" => &mut limits.log_records,
        "stdio" => &mut limits.stdio,
        "artifacts" => &mut limits.artifacts,
        "artifact_files" => &mut limits.artifact_files,
        "http_requests" => &mut limits.http_requests,
        "http_response" => &mut limits.http_response,
        "scratch" => &mut limits.scratch,
        _ => return None,
    })
}
