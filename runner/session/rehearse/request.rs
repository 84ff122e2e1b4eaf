//! [`Rehearse`]: what is asked for, as plain values.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use crate::{
    model::{Grants, Limits},
    plugin::{CommandProtocol, StdoutForm},
    run::Protected,
};

/// What is asked for: that a plugin is called, outside of any run.
#[derive(Clone, Debug)]
pub struct Rehearse {
    /// A `.wasm` file, or the folder of a plugin that is built.
    pub plugin: PathBuf,
    /// The test's input; `null` where none is given.
    pub input: Option<Value>,
    /// The provider's configuration; empty where none is given.
    pub config: Option<Map<String, Value>>,
    /// The test's attachments.
    pub attachments: Vec<GivenFile>,
    /// The number that the plugin may take its randomness from.
    pub seed: u32,
    /// How long a call may take.
    pub timeout: Duration,
    /// How often it is called, each time in a fresh sandbox. It is not called again after a call that ended badly.
    pub repeat: NonZeroU32,
    /// How a command is called; without it as JSON if its `describe` answers so, else plain.
    pub protocol: Option<CommandProtocol>,
    /// Standard input of a plain command.
    pub stdin: Option<PlainStdin>,
    /// What a plain command's standard output is taken for; without it a text.
    pub output: Option<StdoutForm>,
    /// The arguments of a plain command: templates such as `{{input.code}}`.
    pub args: Vec<String>,
    /// What it is granted.
    pub grants: Grants,
    /// Files of secrets, which count before the environment.
    pub secret_files: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Whether what it executes is counted; it is compiled anew for that, and runs slower.
    pub fuel: bool,
    /// How its reply is read as a grader's, if it is to be.
    pub grading: Option<RehearsedGrading>,
    /// The folder that the last call's artifacts are written into.
    pub artifacts: Option<PathBuf>,
    /// The results root of whoever asks: no guest may write to what is kept there.
    pub results: PathBuf,
    /// Files that the values above were read from: no guest may write to them either.
    pub read: Vec<Protected>,
}

/// How a reply is read as a grader's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RehearsedGrading {
    /// The least score that passes.
    pub min_score: Option<f64>,
}

impl From<Option<f64>> for RehearsedGrading {
    fn from(min_score: Option<f64>) -> Self {
        Self { min_score }
    }
}

/// A file by the name that a plugin finds it by.
#[derive(Clone, Debug)]
pub struct GivenFile {
    /// The name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// Standard input of a plain command.
#[derive(Clone, Debug)]
pub enum PlainStdin {
    /// A template such as `{{input.code}}`.
    Template(String),
    /// These bytes.
    Bytes(Vec<u8>),
}
