//! [`Prepare`]: all that a worker is told before its first task, once a process.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    ErrorClass, Micros,
    provider::{Description, PreparedProvider},
};

/// All that a worker is told before its first task. Sent as JSON; spawning a worker does not wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// The run's name, for messages.
    pub run: String,
    /// The session's number, from 1.
    pub session: u32,
    /// The folder of compiled plugins, absolute. The worker only reads it.
    pub cache: String,
    /// The folder of contents by digest that belong to this session, absolute. The worker only reads it.
    pub blobs: String,
    /// A folder of the worker's own, absolute, made by its supervisor.
    pub scratch: String,
    /// How many tasks run at once.
    pub slots: u32,
    /// Bytes that the memories of all running guests may have together.
    pub memory: u64,
    /// How long guests may go on after a stop before they are interrupted.
    pub grace: Micros,
    /// Whether plugins are called to describe themselves: true for the first worker of a session alone.
    pub describe: bool,
    /// The providers; a task names one by its index.
    pub providers: Vec<PreparedProvider>,
    /// The values of all secrets that a provider is granted, by name. One without a value is absent.
    #[serde(default)]
    pub secrets: SecretValues,
}

/// Secrets by name. Its debug text has the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValues(pub BTreeMap<String, String>);

impl fmt::Debug for SecretValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// What stands of the second wall in a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallStatus {
    /// The effective version of Landlock; 0 if the kernel has none.
    pub landlock: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl fmt::Display for WallStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.landlock, self.seccomp) {
            (0, false) => formatter.write_str("none"),
            (0, true) => formatter.write_str("seccomp"),
            (version, false) => write!(formatter, "Landlock {version}"),
            (version, true) => write!(formatter, "Landlock {version}, seccomp"),
        }
    }
}

/// A worker's answer to [`Prepare`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// What it found out about each provider.
    pub providers: Vec<Described>,
    /// What stands of the second wall.
    pub standing: WallStatus,
}

/// What a worker found out about a provider while it prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// The provider's index in [`Prepare::providers`].
    pub provider: u16,
    /// What the plugin says of itself; none of plain commands, or if it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// Why the provider cannot be used. The session then fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What is wrong with a plugin, its configuration or an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The class of the error.
    pub class: ErrorClass,
    /// A stable word.
    pub code: String,
    /// For people.
    pub message: String,
}
