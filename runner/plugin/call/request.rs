//! [`Call`]: what goes into one call of a plugin.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::{
    model::Limits,
    plugin::{access::Access, listener::Listener},
};

/// Everything that one attempt hands to a plugin.
#[derive(Clone)]
pub struct Call<'a> {
    /// The trial's id.
    pub trial: &'a str,
    /// The test's id.
    pub test: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// Which of the test's repeats this is, from 1.
    pub repeat: u32,
    /// Which execution of the trial this is, from 1.
    pub attempt: u32,
    /// The run's seed.
    pub seed: u32,
    /// The test's input as JSON.
    pub input: Arc<str>,
    /// The provider's configuration as JSON.
    pub config: Arc<str>,
    /// The test's tags.
    pub tags: Arc<[String]>,
    /// The test's attachments.
    pub files: Arc<[AttachmentSource]>,
    /// How to call a command by the plain protocol; without it a command is called by the JSON protocol. Components
    /// have no use for it.
    pub invocation: Option<Invocation>,
    /// What the attempt may use.
    pub limits: Limits,
    /// What the attempt may touch.
    pub access: &'a Access,
    /// Environment variables, with every template filled in.
    pub env: Vec<(String, String)>,
    /// Who hears what the guest says while it runs.
    pub listener: Option<Listener>,
}

/// Leaves out the environment, in which secrets may be.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("trial", &self.trial)
            .field("attempt", &self.attempt)
            .field("limits", &self.limits)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Arguments and standard input of a command, with every template filled in.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What follows `argv[0]`.
    pub args: Vec<String>,
    /// Standard input, whole.
    pub stdin: Vec<u8>,
    /// What becomes of standard output.
    pub output: StdoutForm,
}

/// How a command is called. Components have their own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandProtocol {
    /// The scenario says what to pass and what to read.
    Plain,
    /// One JSON object in, one out.
    Json,
}

/// What a plain command's standard output becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdoutForm {
    /// A string, exactly.
    Text,
    /// A string without white space at its ends.
    Trimmed,
    /// The JSON value that it is.
    Json,
}

/// An attachment that a guest may read.
#[derive(Clone, Debug)]
pub struct AttachmentSource {
    /// The name by which the guest knows it.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where its content is.
    pub path: PathBuf,
}
