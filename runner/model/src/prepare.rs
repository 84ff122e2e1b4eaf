//! [`Prepare`] and [`Ready`]: a worker's setup and its answer, once a process.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::provider::{Description, PreparedProvider};
use crate::{ErrorClass, Micros};

/// The setup of a worker. Sent as JSON. Spawning a worker does not wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// The run's id. Calls outside of a run have a word.
    pub run: String,
    /// The session, from 1.
    pub session: u32,
    /// The folder of compiled plugins, absolute. The worker only reads it.
    pub cache: String,
    /// The session's folder of contents by digest, absolute. The worker only reads it.
    pub blobs: String,
    /// The worker's own folder, absolute. The supervisor creates it.
    pub scratch: String,
    /// Attempts of providers that run at once.
    pub slots: u32,
    /// Tasks of graders that run at once, in further slots.
    pub grader_slots: u32,
    /// Bytes for the memories of all guests together.
    pub memory: u64,
    /// Time for guests to end by themselves after a stop.
    pub grace: Micros,
    /// Whether to call `describe` of each plugin. True only for the first worker of a session.
    pub describe: bool,
    /// Whether plugins may be compiled without optimization. True only for a single call outside of a run.
    pub quick: bool,
    /// Tasks refer to a provider by its index.
    pub providers: Vec<PreparedProvider>,
    /// The granted secrets of all providers. A secret without a value is absent.
    #[serde(default)]
    pub secrets: SecretValues,
}

/// Secrets by name. The debug text has only the names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValues(pub BTreeMap<String, String>);

impl fmt::Debug for SecretValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The active layers of the sandbox around a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallStatus {
    /// The effective version of Landlock. 0 if the kernel does not support it.
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
    pub providers: Vec<Described>,
    /// The active layers of the sandbox around the worker.
    pub wall: WallStatus,
}

/// The result of preparing a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// The provider's index in [`Prepare::providers`].
    pub provider: u16,
    /// `None` for plain commands and without [`Prepare::describe`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// If set, the provider cannot be used, and the session fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// A fault of a plugin, its configuration or an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub class: ErrorClass,
    /// A stable word.
    pub code: String,
    /// An explanation for people.
    pub message: String,
    /// The part of the configuration or the input that is refused, if a schema refuses one.
    pub refused: RefusedPart,
}

/// A part of a value that a schema refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPart {
    pub path: Vec<PathStep>,
    /// The known keys if `path` ends with an unknown one.
    pub known: Vec<String>,
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathStep {
    Key(String),
    Item(usize),
}
