//! [`LogLineRecord`]: a record of a guest's log, as it is written.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::LogRecord;

/// A record of a provider's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLineRecord<'a> {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: Cow<'a, str>,
    /// The text.
    pub message: Cow<'a, str>,
    /// Named values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl<'a> LogLineRecord<'a> {
    pub(in crate::record) fn of(record: &'a LogRecord) -> Self {
        let fields = record.fields.iter();
        Self {
            level: record.level.into(),
            message: record.message.as_str().into(),
            fields: fields
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }
}

impl LogLineRecord<'_> {
    /// The record that this says; a level that nobody knows is `info`.
    pub(in crate::record) fn to_record(&self) -> LogRecord {
        let levels = ["trace", "debug", "info", "warn", "error"];
        let level = levels.into_iter().find(|level| *level == self.level);
        let fields = self.fields.iter();
        LogRecord {
            level: level.unwrap_or("info"),
            message: self.message.to_string(),
            fields: fields
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }
}
