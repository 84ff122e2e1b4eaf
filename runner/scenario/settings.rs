//! [`Settings`]: what may stand in `[defaults]`, on a test list and on a test.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{ExpectedError, Retries, meta, units};

/// An attempt's timeout where nobody set one, in seconds; a macro, because texts are made of it.
macro_rules! default_timeout {
    () => {
        60
    };
}

/// An attempt's timeout where nobody set one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(default_timeout!());
/// The same as people write it.
pub const DEFAULT_TIMEOUT_TEXT: &str = concat!(default_timeout!(), "s");
/// The same as JSON.
pub(super) const DEFAULT_TIMEOUT_JSON: &str = concat!("\"", default_timeout!(), "s\"");

/// What may stand in `[defaults]`, on a test list and on a test.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) timeout: Option<Duration>,
    pub(super) trial_timeout: Option<Duration>,
    pub(super) retries: Option<Retries>,
    pub(super) repeat: Option<u32>,
    pub(super) tags: Vec<String>,
    pub(super) meta: Map<String, Value>,
}

impl Settings {
    /// Reads the settings among the keys of a checked table.
    pub(super) fn read(map: &Map<String, Value>) -> Self {
        Self {
            timeout: duration(map, "timeout"),
            trial_timeout: duration(map, "trial_timeout"),
            retries: map.get("retries").and_then(Value::as_object).map(retries),
            repeat: integer(map, "repeat"),
            tags: strings(map, "tags").map(str::to_owned).collect(),
            meta: match map.get("meta") {
                Some(Value::Object(meta)) => meta.clone(),
                _ => Map::new(),
            },
        }
    }

    /// Puts these in front of `base`: the nearer one wins, and tags and what tests say of themselves add up.
    pub(super) fn over(self, base: &Self) -> Self {
        let mut tags = self.tags;
        if !base.tags.is_empty() {
            tags.extend_from_slice(&base.tags);
        }
        tags.sort_unstable();
        tags.dedup();
        Self {
            timeout: self.timeout.or(base.timeout),
            trial_timeout: self.trial_timeout.or(base.trial_timeout),
            retries: self.retries.or_else(|| base.retries.clone()),
            repeat: self.repeat.or(base.repeat),
            tags,
            meta: meta::over(self.meta, &base.meta),
        }
    }
}

pub(super) fn duration(map: &Map<String, Value>, key: &str) -> Option<Duration> {
    units::parse_duration(map.get(key)?.as_str()?).ok()
}

pub(super) fn integer<T: TryFrom<i64>>(map: &Map<String, Value>, key: &str) -> Option<T> {
    map.get(key)?.as_i64()?.try_into().ok()
}

/// The strings of an array; nothing where there is none.
pub(super) fn strings<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a str> {
    map.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn retries(map: &Map<String, Value>) -> Retries {
    let on: Vec<_> = strings(map, "on")
        .filter_map(ExpectedError::parse)
        .collect();
    Retries {
        max: integer(map, "max").unwrap_or_default(),
        backoff: duration(map, "backoff").unwrap_or_default(),
        on: if map.contains_key("on") {
            on
        } else {
            Retries::transient()
        },
    }
}
