//! [`Provider`]: a plugin as a scenario uses it.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use super::{Budgets, Template, settings, units};
use crate::model::{Digest, Grants, Limits, PluginRole, ProviderId};

/// A plugin as a scenario uses it.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub id: ProviderId,
    /// Whether tests run on it, or it judges what came of them.
    pub role: PluginRole,
    /// The plugin's file or folder, resolved against the scenario's directory. It exists.
    pub plugin: PathBuf,
    /// What the plugin's file must hash to.
    pub sha256: Option<Digest>,
    /// The provider's configuration.
    pub config: Value,
    /// How a command is called; `None` leaves it to the plugin's kind.
    pub protocol: Option<Protocol>,
    /// The arguments of a plain command.
    pub args: Vec<Template>,
    /// The standard input of a plain command.
    pub stdin: Option<Stdin>,
    /// What a plain command's standard output is taken for.
    pub output: OutputForm,
    /// What serves more than one attempt; `None` for nothing.
    pub reuse: Option<Reuse>,
    /// What one attempt may use.
    pub limits: Limits,
    /// What of the world outside its sandbox it may touch.
    pub grants: Grants,
    /// How much of what it measures it may use up.
    pub budgets: Budgets,
    /// How many attempts may run at once.
    pub concurrency: Option<NonZeroUsize>,
    /// How many attempts may start in which time.
    pub rate: Option<Rate>,
}

/// How a command is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Arguments, standard input and standard output as the scenario says.
    Plain,
    /// One JSON object in, one out.
    Json,
}

impl Protocol {
    /// The word for it in scenarios and digests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Json => "json",
        }
    }

    /// Reads a word that has been checked.
    pub(super) fn read(word: &str) -> Self {
        match word {
            "json" => Self::Json,
            _ => Self::Plain,
        }
    }
}

/// The standard input of a plain command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// A text, filled in from the test.
    Text(Template),
    /// The bytes of the attachment of this name.
    File(String),
}

impl Stdin {
    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Template::parse(text).ok().map(Self::Text),
            Value::Object(table) => Some(Self::File(table.get("file")?.as_str()?.to_owned())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        }
    }
}

/// What a plain command's standard output is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputForm {
    /// The exact text.
    #[default]
    Text,
    /// The text without white space around it.
    Trimmed,
    /// One JSON value.
    Json,
}

impl OutputForm {
    /// The word for it in scenarios and digests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Trimmed => "trimmed",
            Self::Json => "json",
        }
    }

    /// Reads a word that has been checked.
    pub(super) fn read(word: &str) -> Self {
        match word {
            "json" => Self::Json,
            "trimmed" => Self::Trimmed,
            _ => Self::Text,
        }
    }
}

/// What of a provider serves more than one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// An instance of its component, for attempts that follow one another.
    Instance,
}

impl Reuse {
    /// The word for it in scenarios and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
        }
    }

    /// Reads a word.
    pub(super) fn read(word: &str) -> Option<Self> {
        (word == Self::Instance.as_str()).then_some(Self::Instance)
    }
}

/// How many attempts may start in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// Reads `60/min`, `5/s` or `100/h`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return None,
        };
        Some(Self {
            count: count.trim().parse().ok().filter(|count| *count > 0)?,
            per: Duration::from_secs(seconds),
        })
    }
}

/// Reads limits that have been checked, over the defaults.
pub(super) fn read_limits(table: &Map<String, Value>) -> Limits {
    let mut limits = Limits {
        time: settings::duration(table, "time"),
        ..Limits::default()
    };
    for limit in Limits::TABLE {
        if let Some(size) = table.get(limit.key).and_then(units::size_of) {
            *limit.get_mut(&mut limits) = size;
        }
    }
    limits
}
