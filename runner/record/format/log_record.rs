//! [`LogLineRecord`]: a record of a guest's log, as it is written.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{self, InstantSchema};
use crate::model::LogRecord;

/// A record of a provider's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLineRecord<'a> {
    /// When the runner got it from the guest; absent where it is not known, as in what earlier versions have written.
    #[serde(
        default,
        with = "words::optional_instant",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<InstantSchema>")]
    pub at: Option<Timestamp>,
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
            at: record.at,
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
            at: self.at,
            level: level.unwrap_or("info"),
            message: self.message.to_string(),
            fields: fields
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }
}
